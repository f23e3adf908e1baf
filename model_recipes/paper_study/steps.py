"""The published five steps: the adapter's schedule, measured after every step instead of at its end.

It is `model_recipes.adapter` with a schedule, step by step: same rows, same seeds, same weights after each step.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from dataset_builder.alphabets import check_alphabet
from dataset_builder.corpus import load_codec
from dataset_builder.manifest import Manifest, write_text
from dataset_builder.prompts import load_style
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import Stage, find_finished, open_stage
from model_recipes.adapter import tokenize_rows
from model_recipes.checkpoint import load_model, quiet_transformers, read_base_facts
from model_recipes.device import pick_device
from model_recipes.evaluate import EvaluateRecipe, choose_rows, divide_protocols
from model_recipes.evaluation.metrics import measure_answers
from model_recipes.evaluation.readers import HFReader
from model_recipes.rows import load_rows
from model_recipes.training.adapter_lessons import Course, choose_asked, find_rows, put_adapter
from model_recipes.training.adapter_recipe import AdapterRecipe, check_trainer_keys

ANSWERS_FILE = "answers.json"


class StepsRecipe(StrictModel):
    """The schedule, and on whom each step is measured.

    Parameters
    ----------
    adapter : AdapterRecipe
        With a schedule.
    evaluate : EvaluateRecipe
        Its ``split``, ``held_out_fold``, ``max_rows`` and ``seed`` count.
    """

    adapter: AdapterRecipe
    evaluate: EvaluateRecipe = EvaluateRecipe()


def train_in_steps(
    recipe: StepsRecipe, model_dir: str | Path, corpus_dir: str | Path, out_dir: str | Path, device: str = "auto"
) -> Manifest:
    """Train the schedule and measure the model after each of its steps.

    An interrupted run goes on after its last finished step.

    Parameters
    ----------
    recipe : StepsRecipe
    model_dir, corpus_dir : str or Path
        Folders of a finished model and of a finished corpus.
    out_dir : str or Path
        Folder to write: ``answers.json``, what the model answered to the same rows after each step.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    Manifest
        Facts: ``steps``, of each step whose rows, losses and answers. Metrics: accuracy and its relatives with reader
        ``step 1``, ``step 2`` and so on, under both protocols.

    Raises
    ------
    InputError
        If a step has no row, or there is nobody to measure on.
    StageError
        If a conversation is too long.
    """
    check_trainer_keys(recipe.adapter.trainer)
    known: dict[str, Any] = {"parents": [model_dir, corpus_dir]}
    if finished := find_finished("paper-steps", out_dir, recipe, **known):
        return finished
    rows = load_rows(corpus_dir, "train", recipe.adapter.held_out_fold)
    for number, lesson in enumerate(recipe.adapter.schedule, start=1):
        find_rows(rows, lesson, number)
    with open_stage("paper-steps", out_dir, recipe, **known, seed=recipe.adapter.seed) as stage:
        model, tokenizer = load_model(model_dir, pick_device(device))
        check_alphabet(load_codec(corpus_dir), tokenizer)
        stage.facts["base"] = read_base_facts(model_dir)
        with quiet_transformers(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            course = _plan_course(stage, recipe, model, tokenizer, corpus_dir)
            stage.facts["steps"] = _take_steps(stage, recipe, course, rows, corpus_dir)
        write_text(stage.folder / ANSWERS_FILE, json.dumps([s["answers"] for s in stage.facts["steps"]], indent=2))
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def _plan_course(
    stage: Stage, recipe: StepsRecipe, model: Any, tokenizer: PreTrainedTokenizerBase, corpus_dir: str | Path
) -> Course:
    validated = load_rows(corpus_dir, "validation", recipe.adapter.held_out_fold)
    validated = validated.select(range(min(recipe.adapter.eval_rows, len(validated))))
    return Course(
        recipe=recipe.adapter,
        model=put_adapter(model, recipe.adapter),
        tokenizer=tokenizer,
        validated=tokenize_rows(validated, tokenizer, recipe.adapter.max_length),
        asked=choose_asked(validated),
        checkpoints=stage.folder / "checkpoints",
        device=model.device.type,
        answer_prefix=load_style(corpus_dir).answer_prefix,
    )


def _take_steps(
    stage: Stage, recipe: StepsRecipe, course: Course, rows: Dataset, corpus_dir: str | Path
) -> list[dict[str, Any]]:
    """Train one step more each time; finished ones are only loaded, so the last result is that of a single training."""
    trained = tokenize_rows(rows, course.tokenizer, recipe.adapter.max_length)
    split, asked = choose_rows(recipe.evaluate, corpus_dir)
    protocols = divide_protocols(asked, recipe.evaluate.held_out_fold, corpus_dir)
    style, results = load_style(corpus_dir), []
    for number in range(1, len(recipe.adapter.schedule) + 1):
        so_far = recipe.adapter.model_copy(update={"schedule": recipe.adapter.schedule[:number]})
        results = replace(course, recipe=so_far).train_lessons(rows, trained)
        reader = HFReader(course.model.eval(), course.tokenizer, style=style, name=f"step {number}")
        _measure(stage, reader, asked, split, protocols, recipe.evaluate.seed)
    return results


def _measure(
    stage: Stage,
    reader: HFReader,
    rows: Sequence[dict[str, Any]],
    split: str,
    protocols: dict[str, np.ndarray],
    seed: int,
) -> None:
    scores = reader.score(rows)
    for protocol, chosen in protocols.items():
        emotions, subjects = ([rows[i][key] for i in chosen.tolist()] for key in ("emotion", "subject"))
        where = {"split": split, "protocol": protocol, "reader": reader.name}
        stage.metrics += measure_answers(scores[chosen], emotions, subjects, seed=seed, **where)

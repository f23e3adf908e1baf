"""Train a LoRA adapter on the corpus: this is where the model learns what codes say of emotions."""

import json
import warnings
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from dataset_builder.alphabets import check_alphabet
from dataset_builder.corpus import load_codec, load_split
from dataset_builder.errors import InputError, StageError
from dataset_builder.manifest import Manifest, read_manifest, write_text
from dataset_builder.prompts import load_style
from model_recipes.bases.qwen2 import TURN_END
from model_recipes.checkpoint import load_model, quiet_transformers, read_base_facts
from model_recipes.device import pick_device, pick_precision
from model_recipes.rows import load_rows
from model_recipes.training.adapter_lessons import Course, choose_asked, list_losses, make_trainer, put_adapter
from model_recipes.training.adapter_recipe import TARGETS, AdapterRecipe, check_trainer_keys
from model_recipes.training.distributed import find_shared, is_sharded, join_processes, open_shared_stage, read_shared


def train_adapter(
    recipe: AdapterRecipe,
    model_dir: str | Path,
    corpus_dir: str | Path,
    out_dir: str | Path,
    device: str = "auto",
) -> Manifest:
    """Train a LoRA adapter (Hu et al. 2022, arXiv:2106.09685) with TRL on the training subjects' seen clips.

    Only the answer is trained, the end of the turn included; this is checked on every row before training. An
    interrupted run goes on from its last checkpoint. Started by ``accelerate launch``, several processes share every
    batch; the training is the same, and so are its checkpoints.

    Parameters
    ----------
    recipe : AdapterRecipe
    model_dir, corpus_dir : str or Path
        Folders of a finished model and of a finished corpus.
    out_dir : str or Path
        Folder to write: PEFT's adapter files, tokenizer, manifest.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    Manifest
        Facts: rows, trainable parameters, loss curve, loss on validation rows before and after; of a schedule also the
        losses and a few answers after each lesson.

    Raises
    ------
    RecipeError
        If `trainer` holds a key that TRL does not know or that this stage sets itself.
    InputError
        If the tokenizer splits or merges symbols of the corpus's codes, or a lesson of the schedule has no row.
    StageError
        If a conversation is too long, or other tokens than the answer's would be trained.
    """
    check_trainer_keys(recipe.trainer)
    if is_sharded() and recipe.schedule:
        raise InputError("adapter: a schedule cannot be trained with FSDP; accepted: DDP, or steps")
    processes = join_processes(device)
    known: dict[str, Any] = {"parents": [model_dir, corpus_dir]}
    if finished := find_shared(processes, "adapter", out_dir, recipe, **known):
        return finished
    rows = load_rows(corpus_dir, "train", recipe.held_out_fold)
    with open_shared_stage(processes, "adapter", out_dir, recipe, **known, seed=recipe.seed) as stage:
        where = pick_device(device)
        model, tokenizer = load_model(model_dir, where)
        check_alphabet(load_codec(corpus_dir), tokenizer)
        name = str(read_base_facts(model_dir).get("name", Path(model_dir).name))
        model.config._name_or_path = name  # PEFT writes it into the adapter's config; the folder would be a local path
        validated = None if is_sharded() else _read_validation(recipe, corpus_dir)
        with quiet_transformers(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            course = Course(
                recipe=recipe,
                model=put_adapter(model, recipe),
                tokenizer=tokenizer,
                validated=None if validated is None else tokenize_rows(validated, tokenizer, recipe.max_length),
                asked=None if validated is None else choose_asked(validated),
                checkpoints=stage.folder / "checkpoints",
                device=where.type,
                answer_prefix=load_style(corpus_dir).answer_prefix,
                processes=processes,
            )
            facts, weights = _train(course, rows, tokenize_rows(rows, tokenizer, recipe.max_length))
            stage.facts |= facts
            if processes.is_main:
                course.model.save_pretrained(stage.folder, state_dict=weights)
                tokenizer.save_pretrained(stage.folder)
                _check_saved(stage.folder, name)
        stage.facts |= _collect_facts(course, rows, model_dir)
    return read_shared(processes, stage, out_dir)


def tokenize_rows(rows: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Dataset:
    """Turn chat rows into token ids and labels; only the answer and the end of its turn have labels.

    Parameters
    ----------
    rows : Dataset
        With a column ``messages`` of system, user and assistant turn.
    tokenizer : PreTrainedTokenizerBase
    max_length : int

    Returns
    -------
    Dataset
        Columns ``input_ids`` and ``labels`` (-100 where nothing is trained).

    Raises
    ------
    StageError
        If a row is longer than `max_length`, or its labels are not exactly answer and end of turn.
    """
    ids_labels = [_tokenize_row(messages, tokenizer) for messages in rows["messages"]]
    for row_id, messages, (ids, labels) in zip(rows["row_id"], rows["messages"], ids_labels, strict=True):
        if len(ids) > max_length:
            raise StageError(f"row {row_id}: {len(ids)} tokens with its answer; max_length is {max_length}")
        text = tokenizer.decode([token for token in labels if token != -100])
        if text != messages[-1]["content"] + TURN_END:
            raise StageError(f"row {row_id}: what would be trained is not its answer and the end of its turn")
    return Dataset.from_dict({"input_ids": [i for i, _ in ids_labels], "labels": [x for _, x in ids_labels]})


def _tokenize_row(messages: list[dict[str, str]], tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return ids and labels of one conversation. Prompt and answer meet after a line end, where tokens never merge."""
    prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(messages, tokenize=False).removesuffix("\n")
    start = len(tokenizer.encode(prompt, add_special_tokens=False))
    ids = tokenizer.encode(whole, add_special_tokens=False)
    return ids, [-100] * start + ids[start:]


def _read_validation(recipe: AdapterRecipe, corpus_dir: str | Path) -> Dataset | None:
    """Return the first validation rows of seen clips, or None where the corpus has no validation subject."""
    if not len(load_split(corpus_dir, "validation")):
        return None
    rows = load_rows(corpus_dir, "validation", recipe.held_out_fold)
    return rows.select(range(min(recipe.eval_rows, len(rows))))


def _train(course: Course, rows: Dataset, trained: Dataset) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Train; return what the manifest tells of it, and the weights where the model in memory has only a share."""
    facts: dict[str, Any] = {}
    weights = None
    looker = make_trainer(course, trained, 1, course.checkpoints, course.recipe.seed)
    before = looker.evaluate() if course.validated else {}
    if course.recipe.schedule:
        lessons = course.train_lessons(rows, trained)
        facts["schedule"], loss = lessons, _join_curves(lessons)
        passes = sum(lesson["rows"] * lesson["epochs"] for lesson in lessons) / len(rows)
    else:
        trainer = course.train_once(trained)
        loss = list_losses(trainer)
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if is_sharded() else None
        passes = (course.recipe.steps or 0) * course.recipe.batch_size / len(rows)
    after = looker.evaluate() if course.validated else {}
    facts |= {
        "passes_over_rows": round(passes, 2),
        "loss": loss,
        **_compare("validation_loss", "eval_loss", "nats per answer token, label weighted", before, after),
        **_compare("label_loss", "eval_label_loss", "nats per label", before, after),
    }
    return facts, weights


def _join_curves(lessons: list[dict[str, Any]]) -> list[list[float]]:
    """Return the loss curves of all lessons as one, steps counted on."""
    curve, done = [], 0
    for lesson in lessons:
        curve += [[done + step, loss] for step, loss in lesson["loss"]]
        done += lesson["steps"]
    return curve


def _check_saved(folder: Path, name: str) -> None:
    """Write PEFT's config anew without anything of this machine, and refuse it if the embedding got an adapter."""
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's own card is a form with empty fields
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = name
    if config.get("modules_to_save") or not set(config["target_modules"]) <= set(TARGETS):
        raise StageError("adapter: changes the embedding or the output layer, which are tied")
    config["target_modules"] = sorted(config["target_modules"])
    write_text(path, json.dumps(config, indent=2, sort_keys=True) + "\n")


def _collect_facts(course: Course, rows: Dataset, model_dir: str | Path) -> dict[str, Any]:
    weights = {item.name: item.sha256 for item in read_manifest(model_dir).outputs}
    return {
        "base": read_base_facts(model_dir),
        "trained_on_sha256": weights.get("model.safetensors"),
        "rows": len(rows),
        "subjects": len(set(rows["subject"])),
        "trainable_parameters": sum(p.numel() for p in course.model.parameters() if p.requires_grad),
        "precision": pick_precision(course.recipe.precision, pick_device(course.device)),
    }


def _compare(
    name: str, key: str, unit: str, before: dict[str, float], after: dict[str, float]
) -> dict[str, dict[str, float | str]]:
    """Return a value before and after training under `name`; nothing where it was not measured."""
    if key not in before or key not in after:
        return {}
    return {name: {"before": round(before[key], 4), "after": round(after[key], 4), "unit": unit}}

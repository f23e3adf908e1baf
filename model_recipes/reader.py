"""The reader stage: train all of a base on a corpus whose code states what the EEG tells of each emotion.

An adapter that learns answers token by token seldom finds the few tokens that depend on the EEG. Here the label has a
loss of its own, aimed at nine probabilities instead of one name, and the code is read by itself before any text is
learned. What comes out is a plain model folder with the codec in it, so that it can read people of another folder.
"""

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from dataset_builder.alphabets import check_alphabet
from dataset_builder.codecs import Codec, dump_codec
from dataset_builder.corpus import CODEC_FILE, load_codec, load_split
from dataset_builder.errors import RecipeError
from dataset_builder.manifest import Manifest, read_manifest, write_bytes, write_text
from dataset_builder.prompts import load_style
from dataset_builder.recipe import StrictModel
from dataset_builder.seeds import make_rng
from dataset_builder.stage import Stage, find_finished, open_stage
from model_recipes.checkpoint import load_model, read_base_facts, save_checked
from model_recipes.device import autocast, pick_device, pick_precision
from model_recipes.pruning.vocabulary import read_kept_ids, write_kept_ids
from model_recipes.reading.batches import BatchMaker
from model_recipes.reading.draws import LabelTarget, Lessons, RowDrawer
from model_recipes.reading.judge import Judge
from model_recipes.reading.loop import Parts, Progress, Watch, train_reader_steps
from model_recipes.reading.loss import compute_losses
from model_recipes.reading.symbol_embedding import order_symbols
from model_recipes.rows import load_rows
from model_recipes.training.distributed import refuse_company
from model_recipes.training.loop import LoopConfig, thin_curve

#: How the prompts of the model are worded; beside the codec, all that is needed to ask it.
PROMPT_FILE = "prompt.json"


class ReaderRecipe(StrictModel):
    """How a reader is trained.

    Parameters
    ----------
    label_target : {"code", "probe", "kernel", "hard"}
        What the label is to get: the probabilities that the code states, those of cross-fitted linear or kernel probes,
        or 1 for the intended emotion; see `model_recipes.reading.draws.make_targets`.
    mixed_rows : float
        Share of each batch that mixes two people who saw the same clip; for codecs with ``make_code``.
    running_weight : float
        Weight of the running answer, until the text begins: at each letter of the code the model already tells what the
        letters so far say. For codes of nine letters; 0 leaves it out.
    symbol_init : {"none", "ordered"}
        ``"ordered"`` puts the embeddings of the code's symbols on a smooth curve before training, see
        `model_recipes.reading.symbol_embedding.order_symbols`; for codecs with an alphabet.
    simulated_share : float
        Share of the steps, the first ones, that see made-up codes; for codecs with ``make_code``.
    curriculum_share : float
        Share of the steps, after those, over which harder rows are let in; see `model_recipes.reading.draws.Lessons`.
    text_from : float
        Share of the steps that are read before the answers' text is trained; those steps take a third of the time.
    text_weight : float
        Weight of the text's loss beside the label's.
    train : LoopConfig
        Steps, rows per step, rate and so on; ``window`` is the longest conversation in tokens, none is cut.
    held_out_fold : int or None
        Clips of this fold are not trained on.
    precision : {"auto", "fp32", "bf16"}
    check_every : int
        Steps between looks at the label loss of validation rows.
    patience : int or None
        After the text begins: end after so many looks without a new best, and keep the best weights. None trains all
        steps and keeps the last, so that nothing is chosen on the validation subjects.
    check_rows : int
        At most so many validation rows are looked at, drawn at random.
    seed : int
    """

    label_target: LabelTarget = "code"
    mixed_rows: float = Field(default=0.5, ge=0, le=1)
    running_weight: float = Field(default=1.0, ge=0)
    symbol_init: Literal["none", "ordered"] = "none"
    simulated_share: float = Field(default=0.0, ge=0, le=1)
    curriculum_share: float = Field(default=0.0, ge=0, le=1)
    text_from: float = Field(default=0.8, ge=0, le=1)
    text_weight: float = Field(default=1.0, ge=0)
    train: LoopConfig
    held_out_fold: int | None = Field(default=None, ge=0, le=2)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    check_every: int = Field(default=50, ge=1)
    patience: int | None = Field(default=None, ge=1)
    check_rows: int = Field(default=280, ge=1)
    seed: int = 17

    @property
    def text_start(self) -> int:
        """First step, 0-based, whose rows have an answer."""
        return round(self.text_from * self.train.steps)

    @property
    def lessons(self) -> Lessons:
        """What comes before all rows take their turn."""
        steps = self.train.steps
        return Lessons(round(self.simulated_share * steps), round(self.curriculum_share * steps))


def train_reader(
    recipe: ReaderRecipe,
    base_dir: str | Path,
    corpus_dir: str | Path,
    out_dir: str | Path,
    device: str = "auto",
) -> Manifest:
    """Train every weight of a base to read the codes of the training subjects.

    An interrupted run goes on from its last checkpoint and ends with the same weights.

    Parameters
    ----------
    recipe : ReaderRecipe
    base_dir, corpus_dir : str or Path
        Folders of a finished model and of a finished corpus.
    out_dir : str or Path
        Folder to write: a plain Transformers model, ``codec.safetensors``, ``prompt.json``, manifest.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    Manifest
        Facts: rows, loss curves, looks at validation rows, time, tokens per second. Metrics: how often the label is
        right on all validation rows, see `model_recipes.evaluation.metrics.measure_answers`, and its loss.

    Raises
    ------
    RecipeError
        If the codec cannot do what the recipe asks: state probabilities, mix, make codes up, or be read letter by
        letter; or has no alphabet to order.
    InputError
        If there is no training row, or the tokenizer splits or merges symbols of the corpus's codes; or if a launcher
        started several processes.
    StageError
        If a conversation is too long, or the saved model does not read back as it was.
    """
    refuse_company("reader")
    known: dict[str, Any] = {"parents": [base_dir, corpus_dir]}
    if finished := find_finished("reader", out_dir, recipe, **known):
        return finished
    rows = load_rows(corpus_dir, "train", recipe.held_out_fold).to_list()
    codec, style = load_codec(corpus_dir), load_style(corpus_dir)
    with open_stage("reader", out_dir, recipe, **known, seed=recipe.seed) as stage:
        where = pick_device(device)
        model, tokenizer = load_model(base_dir, where)
        check_alphabet(codec, tokenizer)
        if recipe.symbol_init == "ordered":
            _order_alphabet(model, tokenizer, codec, recipe.seed)
        drawer = RowDrawer(rows, codec, recipe.label_target, recipe.mixed_rows, recipe.seed, recipe.lessons)
        options: dict[str, Any] = {"tokenizer": tokenizer, "style": style, "codec": codec}
        maker = BatchMaker(**options, max_length=recipe.train.window, running=recipe.running_weight > 0)
        judge = Judge(
            model, BatchMaker(**options, max_length=recipe.train.window), load_split(corpus_dir, "validation")
        )
        precision = pick_precision(recipe.precision, where)
        progress = _train(recipe, model, maker, drawer, judge, stage, precision)
        stage.facts |= _collect_facts(recipe, progress, rows, base_dir, precision)
        stage.facts["trained_people"] = read_manifest(corpus_dir).facts.get("trained_people")
        stage.metrics += judge.measure({row["clip"] for row in rows}, recipe.seed)
        if judge.rows and recipe.patience is not None:
            stage.notes.append("the weights were chosen by their label loss on validation subjects")
        write_kept_ids(stage.folder, read_kept_ids(base_dir))
        stage.facts["model"] = save_checked(model, tokenizer, stage.folder)
        write_bytes(stage.folder / CODEC_FILE, dump_codec(codec))
        write_text(stage.folder / PROMPT_FILE, style.config.model_dump_json(indent=2) + "\n")
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def _order_alphabet(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, codec: Codec, seed: int) -> None:
    """Give the symbols of a codec ordered embeddings; each is one token, as `check_alphabet` has made sure."""
    if not codec.alphabet:
        raise RecipeError(f"symbol_init ordered: codec {codec.name} has no alphabet; accepted: none")
    ids = [tokenizer.encode(symbol, add_special_tokens=False)[0] for symbol in codec.alphabet]
    order_symbols(model, ids, seed)


def _train(
    recipe: ReaderRecipe,
    model: Qwen2ForCausalLM,
    maker: BatchMaker,
    drawer: RowDrawer,
    judge: Judge,
    stage: Stage,
    precision: str,
) -> Progress:
    def make_parts(step: int) -> tuple[torch.Tensor, Parts, int]:
        with_text = step >= recipe.text_start and recipe.text_weight > 0
        items = drawer.draw(step, recipe.train.batch_size)
        batch = maker.make(items, with_text).to(model.device)
        losses = compute_losses(model, batch)
        running = losses.running * (0.0 if with_text else recipe.running_weight)
        total = losses.label + running + recipe.text_weight * losses.text
        return total, dict(vars(losses)), batch.n_tokens

    def watch_loss() -> float:
        with autocast(model.device, precision):
            return judge.measure_loss(watched)

    watched = _draw_rows(judge.rows, recipe.check_rows, recipe.seed)
    watch = Watch(watch_loss, recipe.check_every, recipe.text_start, recipe.patience) if watched else None
    folder = stage.folder / "checkpoints"
    return train_reader_steps(model, make_parts, recipe.train, watch, precision=precision, checkpoints=folder)


def _draw_rows(rows: list[dict[str, Any]], count: int, seed: int) -> list[dict[str, Any]]:
    if len(rows) <= count:
        return rows
    chosen = make_rng(seed, "reader", "check rows").choice(len(rows), count, replace=False)
    return [rows[i] for i in sorted(chosen)]


def _collect_facts(
    recipe: ReaderRecipe, progress: Progress, rows: list[dict[str, Any]], base_dir: str | Path, precision: str
) -> dict[str, Any]:
    weights = {item.name: item.sha256 for item in read_manifest(base_dir).outputs}
    done = progress.steps
    curves = {"loss": "label", "running_loss": "running", "text_loss": "text"}
    return {
        "base": read_base_facts(base_dir),
        "trained_on_sha256": weights.get("model.safetensors"),
        "rows": len(rows),
        "subjects": len({row["subject"] for row in rows}),
        "steps": done,
        "kept_step": int(progress.best[0]) if progress.best else done,
        "passes_over_rows": round(done * recipe.train.batch_size / len(rows), 2),
        "precision": precision,
        "seconds_training": round(progress.seconds, 2),
        "tokens": progress.tokens,
        "tokens_per_second": round(progress.tokens / progress.seconds, 1) if progress.seconds else None,
        "validation_label_loss": [[int(step), round(loss, 4)] for step, loss in progress.checks],
        **{name: thin_curve(progress.losses.get(part, [])) for name, part in curves.items()},
    }

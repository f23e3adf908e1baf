"""Tokens per second of the reader's training against TRL's defaults: same model, same rows in the same order, one run.

Both minimise the same loss, the mean over all answer tokens, with the same optimiser, rate and rows per update; every
setting of TRL's that bears on speed is its default (`SFTConfig` as it comes, told to stay on the CPU), and its rows are
tokenised before the clock starts, while ours are rendered anew at each step. Tokens are those of the rows seen, prompt
and answer; filling is not counted, and what rows share counts in each of them. After the same rows both tell the loss
of the same held-out rows. Ours is also timed while it reads codes before it learns text, as the recipe does for 80 % of
its steps: those rows end before their label, and only tokens that were read count.

Without ``--faced`` the people are made up; ``--base smollm2`` takes the real SmolLM2-135M (``--batch 8 --steps 6``).
As it comes it takes some ten minutes on a quiet machine.
"""

import argparse
import contextlib
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import write_result
from torch import Tensor
from transformers import Qwen2ForCausalLM, TrainerCallback
from trl import SFTConfig, SFTTrainer

from dataset_builder.corpus import CorpusRecipe, build_corpus, load_codec, load_split
from dataset_builder.prompts import load_style
from dataset_builder.recipe import load_recipe
from dataset_builder.seeds import make_rng
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.types import EMOTIONS
from model_recipes.adapter import tokenize_rows
from model_recipes.base import BaseRecipe, make_base
from model_recipes.checkpoint import load_model
from model_recipes.device import autocast, pick_precision
from model_recipes.reading.batches import Batch, BatchMaker
from model_recipes.reading.draws import Item
from model_recipes.reading.loop import Watch, train_reader_steps
from model_recipes.reading.loss import compute_losses
from model_recipes.training.loop import LoopConfig

CORPUS = Path(__file__).parents[1] / "dataset_builder" / "recipes" / "faced-reader.yaml"
MODELS = Path(__file__).parents[1] / "model_recipes" / "recipes"
BASES = {"tiny": "tiny/base-reader.yaml", "smollm2": "smollm2/base.yaml"}
MADE_UP = "split={protocol: ranges, train: [0, 7], validation: [8, 9], test: [10, 11]}"
RATES = {"tiny": 3e-3, "smollm2": 2e-4}
LONGEST = 1024


@dataclass
class Run:
    """What one way of training did: time of its steps, tokens of its rows, and the loss of held-out rows on the way."""

    tokens: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    curve: list[list[float]] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds

    @contextlib.contextmanager
    def timing(self, sign: int = 1) -> Iterator[None]:
        """Add what happens inside; with -1 take it out again."""
        clocks = time.perf_counter(), time.process_time()
        yield
        self.seconds += sign * (time.perf_counter() - clocks[0])
        self.processor_seconds += sign * (time.process_time() - clocks[1])

    def look(self, step: int, measure: Callable[[], float]) -> float:
        """Take a look at held-out rows off the clock."""
        with self.timing(-1):
            self.curve.append([step, measure()])
        return self.curve[-1][1]


class Looker(TrainerCallback):
    """Let a trainer's run look at held-out rows."""

    def __init__(self, run: Run, measure: Callable[[], float], every: int) -> None:
        self.run, self.measure, self.every = run, measure, every

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.every == 0 or state.global_step == args.max_steps:
            self.run.look(state.global_step, self.measure)


class Question:
    """The rows and the model that both ways are given."""

    def __init__(self, base: Path, corpus: Path, config: LoopConfig, every: int, seed: int = 17) -> None:
        self.base, self.config, self.every, self.seed = base, config, every, seed
        self.codec, style = load_codec(corpus), load_style(corpus)
        _, self.tokenizer = load_model(base)
        self.maker = BatchMaker(self.tokenizer, style, self.codec, config.window)
        rows, wanted = load_split(corpus, "train"), config.steps * config.batch_size
        order = np.concatenate(
            [make_rng(seed, "bench", i).permutation(len(rows)) for i in range(-(-wanted // len(rows)))]
        )
        self.order = order[:wanted].tolist()
        self.rows = rows
        held = load_split(corpus, "validation")
        self.held = [self.make_item(row) for row in held.select(range(min(len(held), 2 * config.batch_size)))]
        self.precision = pick_precision("auto", torch.device("cpu"))

    def make_item(self, row: dict[str, Any]) -> Item:
        """Return a row as it is, its label the intended emotion."""
        target = np.eye(len(EMOTIONS))[EMOTIONS.index(row["emotion"])]
        return Item(row, self.codec.from_text(row["code"]), target, row["emotion"])

    def draw(self, step: int) -> list[Item]:
        size = self.config.batch_size
        return [self.make_item(self.rows[i]) for i in self.order[step * size : (step + 1) * size]]

    @torch.no_grad()
    def look(self, model: Qwen2ForCausalLM) -> float:
        """Return the mean loss of the held-out rows' answer tokens, nats."""
        was, size = model.training, self.config.batch_size
        model.eval()
        with autocast(model.device, self.precision):
            batches = [self.maker.make(self.held[i : i + size], True) for i in range(0, len(self.held), size)]
            sums = [sum_losses(model, batch) for batch in batches]
        model.train(was)
        return float(sum(loss for loss, _ in sums) / sum(count for _, count in sums))


def sum_losses(model: Qwen2ForCausalLM, batch: Batch) -> tuple[Tensor, int]:
    """Return the summed loss of all answer tokens, and how many there are."""
    found, words = compute_losses(model, batch), int((batch.text[:, 1:] != -100).sum())
    names = int((batch.label_weights.sum(dim=-1) > 0).sum())
    return found.label * len(batch.ids) + found.text * words, words + names


def train_ours(asked: Question, precision: str, *, with_text: bool = True) -> Run:
    """Train as the reader stage does."""
    model, _ = load_model(asked.base)
    run = Run()
    steps = 0

    def make_parts(step: int) -> tuple[Tensor, dict[str, Tensor], int]:
        nonlocal steps
        steps = step + 1
        batch = asked.maker.make(asked.draw(step), with_text)
        loss, count = sum_losses(model, batch)
        return loss / count, {"label": loss.detach() / count}, batch.n_tokens

    watch = Watch(lambda: run.look(steps, partial(asked.look, model)), asked.every, 0, None) if with_text else None
    with tempfile.TemporaryDirectory() as folder, run.timing():
        done = train_reader_steps(model, make_parts, asked.config, watch, precision=precision, checkpoints=Path(folder))
    run.tokens = done.tokens
    return run


def train_trl(asked: Question) -> Run:
    """Train with TRL's trainer: optimiser and rate as ours, all else as it comes."""
    model, _ = load_model(asked.base)
    config, run = asked.config, Run()
    rows = tokenize_rows(asked.rows.select(asked.order), asked.tokenizer, config.window)
    run.tokens = sum(map(len, rows["input_ids"]))
    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            output_dir=folder, use_cpu=True, report_to="none", disable_tqdm=True, save_strategy="no",
            max_steps=config.steps, per_device_train_batch_size=config.batch_size, train_sampling_strategy="sequential",
            learning_rate=config.learning_rate, warmup_steps=config.warmup_steps, weight_decay=config.weight_decay,
            adam_beta2=0.95, lr_scheduler_type="cosine_with_min_lr", lr_scheduler_kwargs={"min_lr_rate": 0.1},
        )  # fmt: skip
        looker = Looker(run, partial(asked.look, model), asked.every)
        trainer = SFTTrainer(
            model=model, args=settings, train_dataset=rows, processing_class=asked.tokenizer, callbacks=[looker]
        )
        with run.timing():
            trainer.train()
    return run


def prepare(folder: Path, base: str, faced: Path | None) -> tuple[Path, Path]:
    """Return the folders of the base and of the corpus, made if need be."""
    changes = [] if faced else [MADE_UP]
    if faced is None:
        faced = folder / "cohort"
        write_cohort(SynthRecipe(subjects=12, signals=0), faced)
    build_corpus(load_recipe(CORPUS, CorpusRecipe, changes), faced, folder / "corpus")
    steps = ["tiny.train.steps=60"] if base == "tiny" else []
    made = load_recipe(MODELS / BASES[base], BaseRecipe, [*steps, "perplexity_windows=2"])
    make_base(made, folder / "base", folder / "corpus")
    return folder / "base", folder / "corpus"


def compare(asked: Question, repeats: int, limit_s: float) -> dict[str, Run]:
    """Return the fastest of several runs of each way; they take turns, so that a busy spell meets both.

    No round begins after `limit_s` that would not end in time, by the time of the one before; one round is always made.
    """
    ways: dict[str, Callable[[], Run]] = {
        "TRL's defaults": lambda: train_trl(asked),
        "ours, same loss": lambda: train_ours(asked, asked.precision),
        "ours, fp32": lambda: train_ours(asked, "fp32"),
        "ours, before the text": lambda: train_ours(asked, asked.precision, with_text=False),
    }
    best: dict[str, Run] = {}
    begun = round_began = time.monotonic()
    for _ in range(repeats):
        if best and 2 * time.monotonic() - round_began - begun > limit_s:
            print("no time for another round", flush=True)
            break
        round_began = time.monotonic()
        for name, train in ways.items():
            run = train()
            spent = f"{run.speed:,.0f} tokens per second, {run.processor_seconds:.1f} s of processor"
            print(f"{name}: {spent}; held-out loss {tell(run.curve)}", flush=True)
            if name not in best or run.speed > best[name].speed:
                best[name] = run
    return best


def tell(curve: list[list[float]]) -> str:
    return ", ".join(f"{loss:.3f} after {step:.0f}" for step, loss in curve) or "not measured"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faced", type=Path, help="folder of FACED; without it the people are made up")
    parser.add_argument("--base", choices=BASES, default="tiny")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=32, help="rows per update")
    parser.add_argument("--repeats", type=int, default=2, help="rounds at most, the fastest of each way counts")
    parser.add_argument("--minutes", type=float, default=8.0, help="no further round begins that would end later")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="default: first one, then two")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    config = LoopConfig(
        steps=args.steps, batch_size=args.batch, window=LONGEST, learning_rate=RATES[args.base], warmup_steps=0
    )
    with tempfile.TemporaryDirectory() as folder:
        base, corpus = prepare(Path(folder), args.base, args.faced)
        asked = Question(base, corpus, config, max(1, args.steps // 4))
        parameters = load_model(base)[0].num_parameters()
        found = {}
        for threads in args.threads:
            torch.set_num_threads(threads)
            found[threads] = compare(asked, args.repeats, 60 * args.minutes)
    ratios = [tell_ratios(threads, runs) for threads, runs in found.items()]
    for told in ratios:
        print(f"reader, {args.base}: " + ", ".join(f"{name} {value:.3g}" for name, value in told.items()))
    write_result(
        "reader" if args.base == "tiny" else f"reader_{args.base}",
        question="tokens per second of the reader's training against TRL's defaults, same loss on the same rows",
        ratios=ratios,
        parameters=parameters,
        rows_per_update=args.batch,
        steps=args.steps,
        synthetic=args.faced is None,
        precision=asked.precision,
        runs=[
            {"threads": threads, "way": name} | vars(run) | {"tokens_per_second": run.speed}
            for threads, runs in found.items()
            for name, run in runs.items()
        ],
    )


def tell_ratios(threads: int, runs: dict[str, Run]) -> dict[str, float]:
    """Return how many times TRL's tokens per second ours reads, and how far the losses of held-out rows lie apart."""
    theirs, ours, whole = (runs[name] for name in ("TRL's defaults", "ours, same loss", "ours, fp32"))
    return {
        "threads": threads,
        "ratio": ours.speed / theirs.speed,
        "ratio_in_fp32": whole.speed / theirs.speed,
        "ratio_by_processor_time": theirs.processor_seconds / ours.processor_seconds,
        "largest_gap_of_held_out_loss_nats": max(
            abs(a[1] - b[1]) for a, b in zip(theirs.curve, ours.curve, strict=True)
        ),
    }


if __name__ == "__main__":
    main()

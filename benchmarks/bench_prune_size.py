"""Prune a model of Qwen2-0.5B's size (494 million random weights): time and memory of plan, surgery, proof and save.

The base is made first and not timed: random weights, and a made-up vocabulary of 151,646 tokens as the real one has.
``--recipe`` takes another recipe, ``--keep`` a folder to leave the models in.
"""

import argparse
import itertools
import shutil
import string
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import torch
from harness import write_result
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

from dataset_builder.manifest import read_manifest
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import open_stage
from model_recipes.bases.qwen2 import (
    END_OF_TEXT,
    TURN_END,
    TURN_START,
    Shape,
    make_config,
    make_tokenizer,
    set_generation,
)

SHAPE = Shape(hidden=896, heads=14, kv_heads=2, head_dim=64, ffn=4864, layers=24, vocab=151_936)
TOKENS = 151_646
LIMIT_S, LIMIT_BYTES = 180, 6e9
RECIPE = "model_recipes/recipes/qwen2-0.5b/prune.yaml"

#: What cannot be downloaded here, and what the recipe of a real run would spend on calibration and measurement.
OFFLINE = ("text={source: python-docs}",)


class Nothing(StrictModel):
    """The recipe of a base that has none."""


def make_long_tokenizer() -> Qwen2Tokenizer:
    """Return a byte-level BPE of as many tokens as Qwen2: bytes, then pairs, triples ... of lower-case letters."""
    special = [END_OF_TEXT, TURN_START, TURN_END]
    vocab = {byte: number for number, byte in enumerate(sorted(ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    level, letters = list(string.ascii_lowercase), string.ascii_lowercase
    while len(vocab) < TOKENS - len(special):
        pairs = list(itertools.islice(itertools.product(level, letters), TOKENS - len(special) - len(vocab)))
        merges += pairs
        level = [left + right for left, right in pairs]
        vocab |= {piece: len(vocab) + number for number, piece in enumerate(level)}
    vocab |= {token: len(vocab) + number for number, token in enumerate(special)}
    return make_tokenizer(vocab, merges, special, 32_768)


def make_base(folder: Path) -> None:
    """Write a finished base folder with random weights."""
    tokenizer = make_long_tokenizer()
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(make_config(SHAPE, 32_768, 1e6, tokenizer))
    set_generation(model, tokenizer)
    with open_stage("base", folder, Nothing()) as stage:
        model.save_pretrained(stage.folder)
        tokenizer.save_pretrained(stage.folder)
        stage.facts["base"] = {"name": "random Qwen2-0.5B"}


def prune(base: Path, out: Path, recipe: str, threads: int) -> tuple[float, float, int]:
    """Return wall time in seconds, processor time in seconds and peak memory in bytes of the command."""
    command = [sys.executable, "-m", "copilot.cli", "prune", "--base", str(base), "--out", str(out), "--recipe", recipe]
    command += [part for change in OFFLINE for part in ("--set", change)]
    environment = {**dict(psutil.Process().environ()), "OMP_NUM_THREADS": str(threads)}
    clock = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment) as process:
        peak: list[float] = [0.0, 0.0]
        watcher = threading.Thread(target=_watch, args=(psutil.Process(process.pid), peak))
        watcher.start()
        code = process.wait()
        elapsed = time.perf_counter() - clock
        watcher.join()
    assert code == 0, f"the command ended with {code}"
    return elapsed, peak[1], int(peak[0])


def _watch(process: psutil.Process, peak: list[float]) -> None:
    """Keep the highest resident memory and the last processor time, ten times a second."""
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        try:
            times = process.cpu_times()
            peak[:] = max(peak[0], process.memory_info().rss), times.user + times.system
        except psutil.Error:
            return
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("--keep", help="folder for base and pruned model; the base there is used again")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    root = Path(args.keep or tempfile.mkdtemp(prefix="bench-prune-"))
    base, out = root / "base", root / "pruned"
    if not (base / "manifest.json").exists():
        make_base(base)
    shutil.rmtree(out, ignore_errors=True)
    elapsed, processor, memory = prune(base, out, args.recipe, args.threads)
    facts = read_manifest(out).facts
    before, after = facts["before"]["parameters"], facts["model"]["parameters"]
    print(
        f"bench_prune_size: {before / 1e6:.0f} M -> {after / 1e6:.0f} M parameters in {elapsed:.0f} s "
        f"({processor:.0f} s of processor time), {memory / 1e9:.1f} GB; limits {LIMIT_S} s and {LIMIT_BYTES / 1e9:g} GB"
    )
    write_result(
        "prune_size",
        question="How long does pruning 494 million parameters to a half take, and how much memory?",
        seconds=elapsed,
        processor_seconds=processor,
        peak_bytes=memory,
        threads=args.threads,
        parameters=[before, after],
        plan=facts["plan"]["reason"],
        limits={"seconds": LIMIT_S, "bytes": LIMIT_BYTES},
    )
    if not args.keep:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()

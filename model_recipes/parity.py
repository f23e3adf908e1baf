"""Does a GGUF file answer like the model it was made from? Tokens, label scores and greedy text, side by side."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dataset_builder.corpus import load_split
from dataset_builder.errors import InputError, StageError
from dataset_builder.manifest import Metric
from dataset_builder.prompts import Style, load_style
from model_recipes.checkpoint import HARD_STRINGS
from model_recipes.engine import Engine, Messages
from model_recipes.readers import GgufReader, HFReader

#: Largest difference of a label's probability that a file without quantisation may show.
TOLERANCES = {"F32": 1e-3, "F16": 0.02}


@dataclass(frozen=True)
class Reference:
    """What the Transformers model says in fp32.

    Parameters
    ----------
    prompts : list of messages
        System and user turn each.
    split : str
        Where they come from.
    token_ids : list of list of int
        Of the rendered prompts, then of `HARD_STRINGS`.
    scores : ndarray of shape (n_prompts, 9)
    texts : list of str
        Greedy continuations.
    new_tokens : int
        Length of `texts`.
    style : Style
        How answers begin.
    """

    prompts: list[Messages]
    split: str
    token_ids: list[list[int]]
    scores: np.ndarray
    texts: list[str]
    new_tokens: int
    style: Style


def make_reference(model_dir: str | Path, corpus_dir: str | Path, n_prompts: int, new_tokens: int = 24) -> Reference:
    """Let the Transformers model read prompts spread over the validation split (training split if that is empty)."""
    style = load_style(corpus_dir)
    reader = HFReader(model_dir, style=style, device="cpu")
    prompts, split = _pick_prompts(corpus_dir, n_prompts)
    texts = [reader.tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in prompts]
    return Reference(
        prompts=prompts,
        split=split,
        token_ids=[reader.tokenizer.encode(text, add_special_tokens=False) for text in (*texts, *HARD_STRINGS)],
        scores=reader.score_prompts(prompts),
        texts=[_write_greedy(reader, text, new_tokens) for text in texts],
        new_tokens=new_tokens,
        style=style,
    )


def measure_parity(path: Path, file_type: str, reference: Reference) -> list[Metric]:
    """Ask a GGUF file the same.

    Parameters
    ----------
    path : Path
    file_type : str
        Decides which tolerance holds, see `TOLERANCES`.
    reference : Reference

    Returns
    -------
    list of Metric
        ``label_score_difference`` (largest), ``label_agreement`` and ``greedy_agreement`` (shares).

    Raises
    ------
    StageError
        If tokens differ, or a file that is not quantised scores differently.
    """
    with Engine(path, n_threads=1) as engine:
        texts = [*map(engine.render, reference.prompts), *HARD_STRINGS]
        if wrong := sum(engine.tokenize(t) != ids for t, ids in zip(texts, reference.token_ids, strict=True)):
            raise StageError(f"{path.name}: {wrong} of {len(texts)} texts become other tokens than in Transformers")
        scores = GgufReader(engine, reference.style, f"check {file_type}").score_prompts(reference.prompts)
        prefix, n_tokens = reference.style.answer_prefix, reference.new_tokens
        greedy = [engine.generate(prompt, prefix=prefix, max_tokens=n_tokens) for prompt in reference.prompts]
    difference = float(np.abs(scores - reference.scores).max())
    if difference >= TOLERANCES.get(file_type, np.inf):
        accepted = f"accepted: {TOLERANCES[file_type]:g}"
        raise StageError(f"{path.name}: label scores differ by {difference:.2g} from Transformers; {accepted}")
    shares = {
        "label_score_difference": difference,
        "label_agreement": float((scores.argmax(axis=1) == reference.scores.argmax(axis=1)).mean()),
        "greedy_agreement": float(np.mean([a == b for a, b in zip(greedy, reference.texts, strict=True)])),
    }
    return [_make_metric(name, value, file_type, reference) for name, value in shares.items()]


def _pick_prompts(corpus_dir: str | Path, n_prompts: int) -> tuple[list[Messages], str]:
    for split in ("validation", "train"):
        rows = load_split(corpus_dir, split)
        if len(rows):
            spread = np.unique(np.linspace(0, len(rows) - 1, n_prompts).round().astype(int))
            return [messages[:-1] for messages in rows.select(spread)["messages"]], split
    raise InputError(f"{Path(corpus_dir).name}: holds no rows to check a model with")


@torch.inference_mode()
def _write_greedy(reader: HFReader, text: str, new_tokens: int) -> str:
    prefix = reader.style.answer_prefix
    ids = reader.tokenizer(text + prefix, add_special_tokens=False, return_tensors="pt")
    out = reader.model.generate(**ids, max_new_tokens=new_tokens, do_sample=False)
    return prefix + str(reader.tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))


def _make_metric(name: str, value: float, file_type: str, reference: Reference) -> Metric:
    methods = {
        "label_score_difference": "largest absolute difference of nine label probabilities from Transformers in fp32",
        "label_agreement": "share of prompts with the same best label as Transformers in fp32",
        "greedy_agreement": f"share of prompts whose first {reference.new_tokens} greedy tokens give the same text",
    }
    return Metric(
        name=name,
        value=value,
        n=len(reference.prompts),
        unit="prompts",
        split=reference.split,
        reader=f"GGUF {file_type}",
        method=methods[name],
    )

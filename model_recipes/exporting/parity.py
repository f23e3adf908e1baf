"""Does a GGUF file answer like the model it was made from? Tokens, logits, label scores, greedy text, side by side."""

from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest

from dataset_builder.errors import StageError
from dataset_builder.manifest import Metric
from model_recipes.checkpoint import HARD_STRINGS
from model_recipes.engine import Engine
from model_recipes.evaluation.readers import GgufReader
from model_recipes.exporting.logits import GgufRuntime
from model_recipes.exporting.parity_reference import NEW_TOKENS, UNDECIDED, Conversation, Reference
from model_recipes.perplexity import measure_perplexity


def measure_parity(path: Path, file_type: str, reference: Reference) -> tuple[list[Metric], np.ndarray]:
    """Ask a GGUF file the same.

    Parameters
    ----------
    path : Path
    file_type : str
    reference : Reference

    Returns
    -------
    metrics : list of Metric
    scores : ndarray of shape (n_prompts, 9)
        Label probabilities.

    Raises
    ------
    StageError
        If a text becomes other tokens than in Transformers.
    """
    with Engine(path, n_threads=1) as engine:
        texts = [*map(engine.render, reference.prompts), *HARD_STRINGS]
        if wrong := sum(engine.tokenize(t) != ids for t, ids in zip(texts, reference.token_ids, strict=True)):
            raise StageError(f"{path.name}: {wrong} of {len(texts)} texts become other tokens than in Transformers")
        scores = GgufReader(engine, reference.style, f"check {file_type}").score_prompts(reference.prompts)
        prefix = reference.style.answer_prefix
        asked = reference.prompts[: len(reference.answers)]
        greedy = [engine.generate(prompt, prefix=prefix, max_tokens=NEW_TOKENS) for prompt in asked]
    alike = [answer.permits(text) for answer, text in zip(reference.answers, greedy, strict=True)]
    metrics = [
        *measure_runtime(path, file_type, reference),
        _make_metric("label_score_difference", float(np.abs(scores - reference.scores).max()), file_type, reference),
        compare_labels("label_agreement", scores, reference.scores, file_type, reference),
        _make_metric("greedy_agreement", float(np.mean(alike)), file_type, reference, n=len(alike)),
    ]
    return metrics, scores


def measure_runtime(path: Path, file_type: str, reference: Reference, adapter: Path | None = None) -> list[Metric]:
    """Compare log-probabilities and perplexity, all as llama.cpp computes them.

    Parameters
    ----------
    path : Path
    file_type : str
    reference : Reference
    adapter : Path, optional
        GGUF file of a LoRA adapter to put on the model.

    Returns
    -------
    list of Metric
        ``logit_difference``, ``kl_divergence``, ``top1_agreement``, ``perplexity`` and ``perplexity_change``.
    """
    length = max([512, *(len(chat.ids) for chat in reference.conversations)])
    with GgufRuntime(path, length + 8, adapter) as runtime:
        gaps = [_compare(chat, runtime.read(chat.ids)) for chat in reference.conversations]
        shortest = min(reference.conversations, key=lambda chat: len(chat.ids))
        asked = runtime.ask_last([shortest.ids[: int(shortest.positions[-1]) + 1]])[0]
        perplexity = measure_perplexity(runtime, reference.reader.tokenizer, reference.text, reference.windows)  # type: ignore[arg-type]
    last = float((asked - shortest.log_probabilities[-1]).abs().max())
    gaps_max, kl, top = np.concatenate(gaps, axis=1)
    n = len(kl)
    change = perplexity.value / reference.perplexity.value - 1
    values = {"logit_difference": max(last, float(gaps_max.max())), "kl_divergence": float(kl.mean())}
    return [
        *(_make_metric(name, value, file_type, reference, n, "positions") for name, value in values.items()),
        _make_metric("top1_agreement", float(top.mean()), file_type, reference, n, "positions"),
        perplexity.model_copy(update={"reader": f"GGUF {file_type}"}),
        _make_metric("perplexity_change", change, file_type, reference, perplexity.n, "tokens"),
    ]


def compare_labels(name: str, scores: np.ndarray, others: np.ndarray, file_type: str, reference: Reference) -> Metric:
    """Return the share of prompts with the same best label, with its 95 % interval."""
    same = scores.argmax(axis=1) == others.argmax(axis=1)
    span = binomtest(int(same.sum()), len(same)).proportion_ci(method="wilson")
    metric = _make_metric(name, float(same.mean()), file_type, reference)
    return metric.model_copy(update={"interval": [float(span.low), float(span.high)]})


def _compare(chat: Conversation, logits: torch.Tensor) -> np.ndarray:
    """Return largest difference, KL divergence and equality of the best token per position, shape (3, n_positions)."""
    ours = logits[chat.positions].double().log_softmax(dim=-1)
    theirs = chat.log_probabilities.double()
    gaps = (ours - theirs).abs().amax(dim=-1)
    kl = (theirs.exp() * (theirs - ours)).sum(dim=-1)
    top = (ours.argmax(dim=-1) == theirs.argmax(dim=-1)).double()
    return torch.stack([gaps, kl, top]).numpy()


_METHODS = {
    "logit_difference": "largest absolute difference of a log-probability from Transformers in fp32, whole vocabulary",
    "kl_divergence": "mean Kullback-Leibler divergence from Transformers in fp32, nats, over positions of corpus rows",
    "top1_agreement": "share of positions with the same most probable token as Transformers in fp32",
    "perplexity_change": "relative change of perplexity against Transformers in fp32 on the same windows",
    "label_score_difference": "largest absolute difference of nine label probabilities from Transformers in fp32",
    "label_agreement": "share of prompts with the same best label as Transformers in fp32; 95 % Wilson interval",
    "label_agreement_f16": "share of prompts with the same best label as the F16 file; 95 % Wilson interval",
    "greedy_agreement": f"share of prompts whose first {NEW_TOKENS} greedy tokens give the same text, or part where "
    f"the two best tokens in Transformers are within {UNDECIDED} nats",
}


def _make_metric(
    name: str, value: float, file_type: str, reference: Reference, n: int | None = None, unit: str = "prompts"
) -> Metric:
    split = reference.perplexity.split if name == "perplexity_change" else reference.split
    n = len(reference.prompts) if n is None else n
    return Metric(
        name=name, value=value, n=n, unit=unit, split=split, reader=f"GGUF {file_type}", method=_METHODS[name]
    )

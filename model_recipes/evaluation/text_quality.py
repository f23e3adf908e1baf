"""Free answers: what a model writes when nothing holds it to a form."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from dataset_builder.errors import InputError
from dataset_builder.manifest import Metric
from dataset_builder.prompts import LIBRARY, SUGGESTIONS, Style
from dataset_builder.types import EMOTIONS
from model_recipes.checkpoint import quiet_transformers
from model_recipes.evaluation.bootstrap import bootstrap_mean
from model_recipes.evaluation.readers import GgufReader, HFReader

#: The longest answer that is waited for; a trained one takes about 70 tokens.
MAX_TOKENS = 256


def write_answers(reader: HFReader | GgufReader, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what a model writes to each row's prompt: always the likeliest next token, nothing given or forbidden."""
    prompts = [row["messages"][:-1] for row in rows]
    show = tqdm(prompts, desc=f"{reader.name} writes", unit="row", disable=None)
    if isinstance(reader, GgufReader):
        return [reader.engine.generate(prompt, max_tokens=MAX_TOKENS) for prompt in show]
    return [_write_answer(reader, prompt) for prompt in show]


def measure_text(
    texts: Sequence[str], rows: Sequence[dict[str, Any]], scores: np.ndarray, style: Style, seed: int, **where: Any
) -> list[Metric]:
    """Measure free answers.

    Parameters
    ----------
    texts : sequence of str
        See `write_answers`.
    rows : sequence of rows
    scores : ndarray of shape (n_rows, 9)
        By likelihood, for the same rows.
    style : Style
        Reads an answer.
    seed : int
    **where : str
        ``split``, ``protocol`` and ``reader``.

    Returns
    -------
    list of Metric
        ``text_valid`` (has the form of an answer), ``text_accuracy`` (what cannot be read counts as wrong),
        ``text_agreement`` (names the likeliest label), ``text_resolved`` (its suggestions are in the library and fit
        the emotion it names, the age and the sex).
    """
    read = [_read_answer(text, style) for text in texts]
    likeliest = [EMOTIONS[best] for best in scores.argmax(axis=1).tolist()]
    named = [answer.emotion if answer else None for answer in read]
    pairs = list(zip(read, rows, strict=True))
    values = {
        "text_valid": ([answer is not None for answer in read], "free answers of the right form"),
        "text_accuracy": (
            [name == row["emotion"] for name, row in zip(named, rows, strict=True)],
            "free answers that name the intended emotion; what cannot be read is wrong",
        ),
        "text_agreement": (
            [name == best for name, best in zip(named, likeliest, strict=True)],
            "free answers that name the label of highest likelihood",
        ),
        "text_resolved": (
            [answer is not None and _resolves(answer, row, style) for answer, row in pairs],
            "free answers whose suggestions are all in the library and meant for the named emotion, age and sex",
        ),
    }
    subjects = [row["subject"] for row in rows]
    metrics = []
    for name, (found, method) in values.items():
        value, interval = bootstrap_mean(np.array(found, dtype=float), subjects, seed)
        told: dict[str, Any] = {"n": len(rows), "unit": "answers", "interval": interval, "method": method}
        metrics.append(Metric(name=name, value=value, **told, **where))
    return metrics


def _write_answer(reader: HFReader, prompt: list[dict[str, str]]) -> str:
    tokenizer, model = reader.tokenizer, reader.model
    text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").to(model.device)
    with torch.inference_mode(), quiet_transformers():
        written = model.generate(
            **ids, max_new_tokens=MAX_TOKENS, do_sample=False, temperature=None, top_p=None, top_k=None
        )
    return str(tokenizer.decode(written[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))


def _read_answer(text: str, style: Style) -> Any:
    try:
        return style.parse_answer(text.strip())
    except InputError:
        return None


def _resolves(answer: Any, row: dict[str, Any], style: Style) -> bool:
    """Tell whether each suggestion exists and is meant for this emotion, age and sex."""
    told = style.config.demographics
    age, sex = (row["age"], row["sex"]) if told else (None, None)
    fitting = {item.id for item in LIBRARY.list_suggestions(answer.emotion, age, sex)}
    return all(item in SUGGESTIONS and item in fitting for item in answer.suggestions)

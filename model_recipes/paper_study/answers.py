"""The same questions put to models that read different codes, and how far their answers are from the true ones.

The paper compares answers by Euclidean distance and cosine similarity without saying of which vectors. Here they are of
two kinds: counts of words and word pairs weighted by rarity (scikit-learn's TF-IDF, fitted on the true answers of
training rows), and mean last hidden states of the base model. Answers of one form resemble each other whatever they
say, so each number stands beside the true answers of *other* trials: what is not better than those says nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import paired_cosine_distances, paired_euclidean_distances

from dataset_builder.errors import InputError
from dataset_builder.manifest import Manifest, Metric, write_text
from dataset_builder.prompts import Style, load_style
from dataset_builder.recipe import StrictModel
from dataset_builder.seeds import make_rng
from dataset_builder.stage import find_finished, open_stage
from model_recipes.checkpoint import load_model
from model_recipes.device import pick_device
from model_recipes.evaluate import EvaluateRecipe, choose_rows
from model_recipes.evaluation.bootstrap import bootstrap_mean
from model_recipes.evaluation.readers import HFReader
from model_recipes.evaluation.text_quality import write_answers
from model_recipes.rows import load_rows

ANSWERS_FILE = "answers.json"

#: What answers are compared with: the corpus' own answers, and those of the first model.
TRUTH, CONTROL = "true answer", "answer of the control"

#: Reader that gives the true answer to another question: what the form of an answer alone reaches.
FLOOR = "true answers of other trials"

#: What a vector is made of, as metrics say it.
EMBEDDINGS = {
    "tfidf": "TF-IDF of words and word pairs, fitted on the true answers of training rows",
    "states": "mean of the base model's last hidden states",
}


class AnswersRecipe(StrictModel):
    """Who is asked how much.

    Parameters
    ----------
    questions : int
        Trials that every model is asked about.
    held_out_fold : int or None
        Clips of this fold were kept from training; TF-IDF is not fitted on them either.
    seed : int
    """

    questions: int = Field(default=27, ge=2)
    held_out_fold: int | None = Field(default=0, ge=0, le=2)
    seed: int = 17


@dataclass(frozen=True)
class Asked:
    """A model and the corpus in whose code it is asked.

    Parameters
    ----------
    name : str
        How metrics call it.
    corpus, model, adapter : Path
        Finished folders.
    """

    name: str
    corpus: Path
    model: Path
    adapter: Path


def compare_answers(
    recipe: AnswersRecipe, asked: Sequence[Asked], base_dir: str | Path, out_dir: str | Path, device: str = "auto"
) -> Manifest:
    """Ask every model the same questions and compare the answers with the true ones.

    Parameters
    ----------
    recipe : AnswersRecipe
    asked : sequence of Asked
        The first is the control that the others are compared with as well.
    base_dir : str or Path
        Base model whose hidden states are one of the two embeddings.
    out_dir : str or Path
        Folder to write: ``answers.json`` with every question, the true answer and all answers.
    device : str

    Returns
    -------
    Manifest
        Metrics per reader, with protocol ``true answer`` or ``answer of the control``: ``euclidean_tfidf``,
        ``cosine_tfidf``, ``euclidean_states``, ``cosine_states`` and ``label_agreement``; ``text_valid`` besides.

    Raises
    ------
    InputError
        If the corpora have no trial in common.
    """
    parents = [base_dir, *dict.fromkeys(path for one in asked for path in (one.corpus, one.model, one.adapter))]
    if finished := find_finished("paper-answers", out_dir, recipe, parents=parents):
        return finished
    questions = _choose_questions(recipe, asked)
    with open_stage("paper-answers", out_dir, recipe, parents=parents, seed=recipe.seed) as stage:
        rows = questions[asked[0].name]
        told = {TRUTH: [row["messages"][-1]["content"] for row in rows]}
        told |= {one.name: _ask(one, questions[one.name], device) for one in asked}
        told[FLOOR] = _exchange(told[TRUTH], recipe.seed)
        vectors = _embed(told, recipe, asked[0].corpus, base_dir, device)
        panel = _Panel([row["subject"] for row in rows], load_style(asked[0].corpus), recipe.seed)
        for protocol, goal in ((TRUTH, TRUTH), (CONTROL, asked[0].name)):
            stage.metrics += _compare(protocol, goal, told, vectors, panel)
        stage.facts |= {"questions": len(rows), "embeddings": EMBEDDINGS, "control": asked[0].name}
        table = [
            {"row": row["row_id"], "emotion": row["emotion"]} | {name: texts[i] for name, texts in told.items()}
            for i, row in enumerate(rows)
        ]
        write_text(stage.folder / ANSWERS_FILE, json.dumps(table, indent=2))
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def _choose_questions(recipe: AnswersRecipe, asked: Sequence[Asked]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the same trials from each corpus."""
    evaluated = EvaluateRecipe(held_out_fold=recipe.held_out_fold)
    rows = {one.name: {row["row_id"]: row for row in choose_rows(evaluated, one.corpus)[1]} for one in asked}
    shared = sorted(set.intersection(*map(set, rows.values())))
    if len(shared) < recipe.questions:
        raise InputError(f"questions: {recipe.questions} are wanted, but the corpora share {len(shared)} trials")
    drawn = make_rng(recipe.seed, "paper", "questions").choice(len(shared), recipe.questions, replace=False)
    return {name: [of_corpus[shared[i]] for i in sorted(drawn)] for name, of_corpus in rows.items()}


def _ask(one: Asked, rows: Sequence[dict[str, Any]], device: str) -> list[str]:
    style = load_style(one.corpus)
    return write_answers(HFReader.open(one.model, one.adapter, style=style, name=one.name, device=device), rows)


def _exchange(truth: list[str], seed: int) -> list[str]:
    """Return for each question the true answer to another one, drawn at random."""
    order = make_rng(seed, "paper", "exchange").permutation(len(truth)).tolist()
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    return [truth[following[place]] for place in range(len(truth))]


def _embed(
    told: dict[str, list[str]], recipe: AnswersRecipe, corpus: Path, base_dir: str | Path, device: str
) -> dict[str, dict[str, np.ndarray]]:
    """Return vectors by embedding and by who wrote the texts, each of shape (n_questions, n_dimensions)."""
    trained = load_rows(corpus, "train", recipe.held_out_fold)
    words = TfidfVectorizer(ngram_range=(1, 2), norm=None).fit(m[-1]["content"] for m in trained["messages"])
    texts = [text for answers in told.values() for text in answers]
    whole = {"tfidf": words.transform(texts).toarray(), "states": embed_states(texts, base_dir, device)}
    return {kind: dict(zip(told, np.split(vectors, len(told)), strict=True)) for kind, vectors in whole.items()}


@torch.no_grad()
def embed_states(texts: Sequence[str], model_dir: str | Path, device: str = "auto") -> np.ndarray:
    """Return the mean last hidden state of each text, shape (n_texts, hidden), float64; zeros for an empty text."""
    model, tokenizer = load_model(model_dir, pick_device(device))
    vectors = np.zeros((len(texts), model.config.hidden_size))
    for place, text in enumerate(texts):
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"].to(model.device)
        if ids.shape[1]:
            vectors[place] = model.model(ids, use_cache=False).last_hidden_state[0].double().mean(dim=0).cpu().numpy()
    return vectors


@dataclass(frozen=True)
class _Panel:
    """What all metrics of the stage share: who was asked, in which form, and the seed of the bootstrap."""

    subjects: list[str]
    style: Style
    seed: int

    def make_metric(self, name: str, values: np.ndarray, protocol: str, reader: str) -> Metric:
        """Return the mean of one value per answer, with its interval over subjects."""
        value, interval = bootstrap_mean(values.astype(float), self.subjects, self.seed)
        how = EMBEDDINGS.get(name.partition("_")[2], "of free answers; what cannot be read agrees with nothing")
        return Metric(
            name=name,
            value=value,
            n=len(values),
            unit="answers",
            split="questions",
            protocol=protocol,
            interval=interval,
            reader=reader,
            method=f"{how}; 95 % bootstrap over subjects",
        )

    def read_labels(self, texts: Sequence[str]) -> list[str | None]:
        """Return the emotion that each answer names; None where it has not the form of an answer."""
        return [self._read_label(text.strip()) for text in texts]

    def _read_label(self, text: str) -> str | None:
        try:
            return str(self.style.parse_answer(text).emotion)
        except InputError:
            return None


def _compare(
    protocol: str, goal: str, told: dict[str, list[str]], vectors: dict[str, dict[str, np.ndarray]], panel: _Panel
) -> list[Metric]:
    """Return the metrics of all readers against the answers of `goal`."""
    wanted = panel.read_labels(told[goal])
    metrics = []
    for reader in told:
        labels = panel.read_labels(told[reader])
        found = {"label_agreement": np.array([a is not None and a == b for a, b in zip(labels, wanted, strict=True)])}
        for kind, of in vectors.items():
            found[f"euclidean_{kind}"] = paired_euclidean_distances(of[reader], of[goal])
            found[f"cosine_{kind}"] = 1 - paired_cosine_distances(of[reader], of[goal])
        if goal == TRUTH:
            found["text_valid"] = np.array([label is not None for label in labels])
        metrics += [panel.make_metric(name, values, protocol, reader) for name, values in found.items()]
    return metrics

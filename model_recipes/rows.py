"""Corpus rows as the model sees them: which rows may be trained on, and their text in the chat template."""

from pathlib import Path

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from dataset_builder.corpus import load_codec, load_split
from dataset_builder.errors import InputError
from dataset_builder.manifest import read_manifest
from dataset_builder.prompts import PromptFacts, load_style
from dataset_builder.seeds import make_rng
from dataset_builder.types import EMOTIONS


def load_rows(corpus_dir: str | Path, split: str, held_out_fold: int | None) -> Dataset:
    """Read the rows of a split whose clip is not held out.

    Parameters
    ----------
    corpus_dir : str or Path
        Folder of a finished corpus.
    split : str
    held_out_fold : int or None
        Clips of this fold are left out, so that accuracy on unseen clips can be told; None keeps all.

    Raises
    ------
    InputError
        If no row is left.
    """
    read_manifest(corpus_dir)
    rows = load_split(corpus_dir, split)
    if held_out_fold is not None:
        rows = rows.select([i for i, fold in enumerate(rows["clip_fold"]) if fold != held_out_fold])
    if not len(rows):
        raise InputError(
            f"{Path(corpus_dir).name}: no row of split {split!r} is left without clip fold {held_out_fold}"
        )
    return rows


def render_prompts(rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return system and user turn of each row in the chat template, ending where the answer would start."""
    prompts = [messages[:-1] for messages in rows["messages"]]
    return [tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in prompts]


def render_unlabelled(
    corpus_dir: str | Path, rows: Dataset, tokenizer: PreTrainedTokenizerBase, seed: int
) -> list[str]:
    """Return each row as a whole conversation whose emotion is drawn at random.

    What is true in them is the form of an answer and what it says of the code itself; nothing can be learned about
    emotions. So the text may be shown to a base model or during recovery, and whatever the model later knows of
    emotions it learned from the adapter's training rows.
    """
    codec, style = load_codec(corpus_dir), load_style(corpus_dir)
    rng = make_rng(seed, "unlabelled", "emotion")
    texts = []
    for prompt, row in zip(render_prompts(rows, tokenizer), rows, strict=True):
        emotion = EMOTIONS[int(rng.integers(len(EMOTIONS)))]
        person = PromptFacts(age=row["age"], sex=row["sex"])
        answer = style.render_answer(emotion, person, codec, codec.from_text(row["code"]))
        texts.append(f"{prompt}{answer}<|im_end|>\n")
    return texts

"""Prune a vocabulary: fewer rows in the embedding, the largest matrix of a small model, and a tokenizer to match.

Kept are all bytes (so that any text can still be written), all added tokens, the symbols of every code alphabet, the
tokens of the texts at hand and, up to the wanted size, the tokens that were most common where the tokenizer was made.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import AutoTokenizer, GenerationConfig, PretrainedConfig, PreTrainedTokenizerBase, Qwen2ForCausalLM

from dataset_builder.alphabets import ALPHABETS, find_fault
from dataset_builder.corpus import load_split
from dataset_builder.errors import InputError, RecipeError, StageError
from dataset_builder.manifest import MANIFEST, hash_file, read_manifest, write_text
from dataset_builder.recipe import StrictModel
from model_recipes.pruning.merge_tree import MergeTree, find_reachable, read_merge_tree, rebuild_tokenizer
from model_recipes.text import Text, TextConfig, load_text

KEPT_FILE = "kept_tokens.json"

#: Tokens that are asked at once whether the tokenizer can produce them.
_BATCH = 4096

#: Ids of tokens in the configs of a model.
_ID_KEYS = ("bos_token_id", "eos_token_id", "pad_token_id")


class VocabularyConfig(StrictModel):
    """How many tokens are kept, and what text tells which.

    Parameters
    ----------
    size : int
        Tokens to keep, rows of the embedding; a multiple of 256 suits every hardware.
    texts : list of TextConfig
        Their first 80 % is read. Default: the stage's own text.
    rows : bool
        Whether prompts and answers of the corpus' training split are read as well; needs a corpus.
    """

    size: int = Field(ge=256)
    texts: list[TextConfig] = []
    rows: bool = True


def prune_vocabulary(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    config: VocabularyConfig,
    text: Text,
    corpus_dir: str | Path | None = None,
) -> tuple[PreTrainedTokenizerBase, list[int], dict[str, Any]]:
    """Cut a model and its tokenizer to the tokens that matter most.

    Parameters
    ----------
    model : Qwen2ForCausalLM
        Changed in place.
    tokenizer : PreTrainedTokenizerBase
    config : VocabularyConfig
    text : Text
        Read if the config names no texts; its last part is what the cost in tokens is measured on.
    corpus_dir : str or Path, optional

    Returns
    -------
    tokenizer : PreTrainedTokenizerBase
    kept : list of int
        Former id of each token, to be written with `write_kept_ids`.
    facts : dict
        ``size``, ``of`` (rows before), ``tokens_before`` and ``tokens_after`` of the measured text.
    """
    rows_before = model.config.vocab_size
    kept = choose_vocabulary(tokenizer, config, read_texts(config, text, corpus_dir))
    cut = cut_vocabulary(model, tokenizer, kept)
    cost = count_cost(tokenizer, cut, text.measure)
    return cut, kept, {"size": len(kept), "of": rows_before, "text": text.name} | cost


def read_texts(config: VocabularyConfig, text: Text, corpus_dir: str | Path | None = None) -> Iterator[str]:
    """Yield the texts that a config names: the fitted part of each, and each turn of the corpus' training split.

    Raises
    ------
    InputError
        If a text cannot be read.
    """
    yield from (load_text(each).fit for each in config.texts) if config.texts else [text.fit]
    if config.rows and corpus_dir is not None:
        for messages in load_split(corpus_dir, "train")["messages"]:
            yield from (turn["content"] for turn in messages)


def choose_vocabulary(tokenizer: PreTrainedTokenizerBase, config: VocabularyConfig, texts: Iterable[str]) -> list[int]:
    """Choose which tokens to keep.

    Bytes, added tokens, code alphabets and the words of the chat template always; then the tokens of `texts`, most
    frequent first; then the tokens of lowest merge rank. Each comes with all that it is merged from.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    config : VocabularyConfig
    texts : iterable of str

    Returns
    -------
    list of int, length config.size
        Ids in ascending order: the place of an id in the list is its new id.

    Raises
    ------
    RecipeError
        If the size is smaller than what must be kept or larger than what there is.
    """
    tree = read_merge_tree(tokenizer)
    kept = _list_required(tokenizer, tree)
    if not len(kept) <= config.size <= len(tree.ids):
        raise RecipeError(
            f"vocabulary.size: {config.size} found; accepted: {len(kept)} (bytes, special tokens, code alphabets, chat "
            f"format) to {len(tree.ids)} (all tokens)"
        )
    for token in _rank_others(tokenizer, tree, count_ids(tokenizer, texts)):
        needed = tree.close({token}, kept)
        if len(kept) + len(needed) <= config.size:
            kept |= needed
        if len(kept) == config.size:
            break
    return sorted(kept)


def cut_vocabulary(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, kept: list[int]
) -> PreTrainedTokenizerBase:
    """Cut the embedding, the output layer and every token id in the configs to some tokens.

    Parameters
    ----------
    model : Qwen2ForCausalLM
        Changed in place; a tie is kept. May have more rows than the tokenizer has tokens.
    tokenizer : PreTrainedTokenizerBase
        Left as it is.
    kept : list of int
        As `choose_vocabulary` returns it.

    Returns
    -------
    PreTrainedTokenizerBase
        Its token ``i`` is the former token ``kept[i]``.

    Raises
    ------
    StageError
        If a code alphabet that the tokenizer kept whole would be split.
    """
    cut = rebuild_tokenizer(tokenizer, kept)
    for name, symbols in ALPHABETS.items():
        if not find_fault(symbols, tokenizer) and (fault := find_fault(symbols, cut)):
            raise StageError(f"vocabulary: the cut tokenizer {fault}, which breaks alphabet {name}")
    inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
    tied = inner.weight is outer.weight
    _cut_rows(inner, kept)
    if tied:
        outer.weight = inner.weight
    else:
        _cut_rows(outer, kept)
    new_ids = {old: new for new, old in enumerate(kept)}
    for config in (model.config, model.generation_config):
        _renumber_ids(config, new_ids)
    inner.num_embeddings = outer.out_features = model.vocab_size = model.model.vocab_size = len(kept)
    inner.padding_idx = model.model.padding_idx = model.config.pad_token_id
    model.config.vocab_size = len(kept)
    return cut


def count_ids(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> Counter[int]:
    """Return how often each token occurs in some texts."""
    counts: Counter[int] = Counter()
    for text in texts:
        counts.update(_encode(tokenizer, text))
    return counts


def count_cost(before: PreTrainedTokenizerBase, after: PreTrainedTokenizerBase, text: str) -> dict[str, int]:
    """Return how many tokens a text takes before and after a cut."""
    return {"tokens_before": len(_encode(before, text)), "tokens_after": len(_encode(after, text))}


def write_kept_ids(folder: str | Path, kept: list[int] | None) -> None:
    """Write ``kept_tokens.json``: for each token of a model, its id before the vocabulary was cut; None writes none."""
    if kept is not None:
        write_text(Path(folder) / KEPT_FILE, json.dumps(kept) + "\n")


def read_kept_ids(folder: str | Path) -> list[int] | None:
    """Return for each token of a model its id before the vocabulary was cut, or None if it is whole.

    Raises
    ------
    InputError
        If the file is not a list of whole numbers.
    """
    path = Path(folder) / KEPT_FILE
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path.parent.name}/{KEPT_FILE}: cannot be read ({type(error).__name__})") from None
    if not isinstance(kept, list) or not all(type(token) is int and token >= 0 for token in kept):
        raise InputError(f"{path.parent.name}/{KEPT_FILE}: is not a list of token ids")
    return kept


def load_whole_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer that a model had before its vocabulary was cut, so that perplexities can be compared.

    Returns
    -------
    PreTrainedTokenizerBase or None
        None if the vocabulary is whole, or the folder that it was cut from is gone or was changed since.
    """
    if read_kept_ids(folder) is None:
        return None
    for parent in read_manifest(folder).parents:
        path = Path(folder) / parent.folder
        if not (path / MANIFEST).is_file() or hash_file(path / MANIFEST) != parent.sha256:
            continue
        if read_kept_ids(path) is None and (path / "tokenizer.json").is_file():
            return AutoTokenizer.from_pretrained(path, local_files_only=True)
        if (found := load_whole_tokenizer(path)) is not None:
            return found
    return None


def _list_required(tokenizer: PreTrainedTokenizerBase, tree: MergeTree) -> set[int]:
    """Return the closed set without which the project could not work."""
    symbols = [symbol for alphabet in ALPHABETS.values() for symbol in alphabet]
    turns = [{"role": role, "content": "."} for role in ("system", "user", "assistant")]
    chat = str(tokenizer.apply_chat_template(turns, tokenize=False)) if tokenizer.chat_template else ""
    tokens = set(count_ids(tokenizer, [*symbols, chat])) | set(tree.bytes) | set(tree.added.values())
    return tree.close(tokens, set())


def _rank_others(tokenizer: PreTrainedTokenizerBase, tree: MergeTree, counts: Mapping[int, int]) -> Iterator[int]:
    """Yield the seen tokens by frequency, the unseen by merge rank, and last those that can never be produced."""
    yield from sorted(counts, key=lambda token: (-counts[token], tree.ranks.get(token, -1)))
    unseen = sorted((token for token in tree.ranks if token not in counts), key=tree.ranks.__getitem__)
    dead: list[int] = []
    for start in range(0, len(unseen), _BATCH):
        batch = unseen[start : start + _BATCH]
        reachable = find_reachable(tokenizer, tree, batch)
        dead += set(batch).difference(reachable)
        yield from reachable
    yield from sorted(dead)


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


@torch.no_grad()
def _cut_rows(module: nn.Module, kept: list[int]) -> None:
    old: Tensor = module.weight  # type: ignore[assignment]
    rows = old[torch.tensor(kept, device=old.device)].clone()
    module.weight = nn.Parameter(rows, requires_grad=old.requires_grad)


def _renumber_ids(config: PretrainedConfig | GenerationConfig | None, new_ids: Mapping[int, int]) -> None:
    for key in _ID_KEYS:
        value = getattr(config, key, None)
        if isinstance(value, int):
            setattr(config, key, new_ids.get(value))
        elif isinstance(value, list):
            setattr(config, key, [new_ids[token] for token in value if token in new_ids])

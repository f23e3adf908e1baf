"""Which merges of a byte-level BPE tokenizer make which tokens, and a tokenizer with fewer of both.

A token comes about by merging two shorter ones, these by merging shorter ones still, down to single bytes. If a
vocabulary is closed (with a token it keeps both parents), every text that needed only kept tokens is cut as before:
byte pair encoding always takes the best-ranked pair at hand, and the pairs that are gone were never taken.
"""

import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import decoders, pre_tokenizers
from transformers import PreTrainedTokenizerBase

from dataset_builder.errors import RecipeError, StageError


@dataclass(frozen=True)
class MergeTree:
    """The tokens and merges of a byte-level BPE tokenizer.

    Parameters
    ----------
    ids : dict of str to int
        Token, in byte-level letters -> id; added tokens stand in it as they are written.
    merges : list of (str, str)
        In order of rank.
    added : dict of str to int
        Tokens that no merge makes: those of the chat format and their like.
    """

    ids: dict[str, int]
    merges: list[tuple[str, str]]
    added: dict[str, int]

    @cached_property
    def parents(self) -> dict[int, set[int]]:
        """Id of a token -> ids of what it is merged from; of all pairs, should several merges make it."""
        found: dict[int, set[int]] = {}
        for left, right in self.merges:
            found.setdefault(self.ids[left + right], set()).update((self.ids[left], self.ids[right]))
        return found

    @cached_property
    def ranks(self) -> dict[int, int]:
        """Id of a merged token -> rank of its first merge. The lower, the more common where the merges were learned."""
        found: dict[int, int] = {}
        for rank, (left, right) in enumerate(self.merges):
            found.setdefault(self.ids[left + right], rank)
        return found

    @cached_property
    def bytes(self) -> list[int]:
        """Ids of the single bytes; there are 256 unless the tokenizer was made without some of them."""
        return [self.ids[letter] for letter in sorted(pre_tokenizers.ByteLevel.alphabet()) if letter in self.ids]

    def close(self, tokens: set[int], kept: set[int]) -> set[int]:
        """Return `tokens` with all tokens that they are merged from, without those already in the closed set `kept`."""
        needed: set[int] = set()
        waiting = [token for token in tokens if token not in kept]
        while waiting:
            token = waiting.pop()
            needed.add(token)
            waiting += [p for p in self.parents.get(token, ()) if p not in needed and p not in kept]
        return needed


def read_merge_tree(tokenizer: PreTrainedTokenizerBase) -> MergeTree:
    """Read tokens and merges of a tokenizer.

    Raises
    ------
    RecipeError
        If it is not a byte-level BPE.
    """
    serialised = json.loads(_backend(tokenizer).to_str())
    model = serialised["model"]
    if model["type"] != "BPE" or model.get("byte_fallback") or model.get("ignore_merges"):
        raise RecipeError(f"vocabulary: found a {model['type']} tokenizer; accepted: byte-level BPE, as Qwen2's")
    added = {token["content"]: token["id"] for token in serialised["added_tokens"]}
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    return MergeTree(model["vocab"] | added, [(left, right) for left, right in pairs], added)


def find_reachable(tokenizer: PreTrainedTokenizerBase, tree: MergeTree, tokens: list[int]) -> list[int]:
    """Return those of some tokens that the tokenizer can produce at all, in the same order.

    Some tokens are dead: the rule that cuts text before merging keeps their parts asunder (a number of several digits
    under Qwen2's rule), or other merges come first.
    """
    backend, letters = _backend(tokenizer), {i: token for token, i in tree.ids.items()}
    decoder = decoders.ByteLevel()
    texts = [decoder.decode([letters[token]]) for token in tokens]
    encoded = backend.encode_batch(texts, add_special_tokens=False)
    reachable = []
    for token, text, found in zip(tokens, texts, encoded, strict=True):
        # Part of a character has no text of its own: only the merges can be asked.
        ids = [part.id for part in backend.model.tokenize(letters[token])] if "\ufffd" in text else found.ids
        if ids == [token]:
            reachable.append(token)
    return reachable


def rebuild_tokenizer(tokenizer: PreTrainedTokenizerBase, kept: list[int]) -> PreTrainedTokenizerBase:
    """Return a tokenizer of the same class and settings with only some tokens.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    kept : list of int
        Ids to keep; the place in the list is the new id. Must be closed under merges and hold all added tokens.

    Raises
    ------
    StageError
        If the result does not give the kept tokens their new ids.
    """
    new_ids = {old: new for new, old in enumerate(kept)}
    tree = read_merge_tree(tokenizer)
    vocab = {token: new_ids[i] for token, i in tree.ids.items() if i in new_ids}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save_pretrained(folder)
        path = folder / "tokenizer.json"
        serialised = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(_renumber(serialised, vocab, tree), ensure_ascii=False), encoding="utf-8")
        cut = type(tokenizer).from_pretrained(folder, local_files_only=True)
    cut.name_or_path = cut.init_kwargs["name_or_path"] = tokenizer.name_or_path
    if cut.get_vocab() != vocab:
        raise StageError("vocabulary: the cut tokenizer numbers its tokens in another way than wanted")
    return cut


def _renumber(serialised: dict[str, Any], vocab: dict[str, int], tree: MergeTree) -> dict[str, Any]:
    """Return the content of a ``tokenizer.json`` with the tokens and ids of `vocab` alone."""
    model = serialised["model"]
    model["vocab"] = vocab
    model["merges"] = [[a, b] for a, b in tree.merges if a in vocab and b in vocab and a + b in vocab]
    for token in serialised["added_tokens"]:
        token["id"] = vocab[token["content"]]
    for special in ((serialised.get("post_processor") or {}).get("special_tokens") or {}).values():
        special["ids"] = [vocab[token] for token in special["tokens"]]
    serialised["added_tokens"].sort(key=lambda token: token["id"])
    return serialised


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise RecipeError(f"vocabulary: {type(tokenizer).__name__} has no fast tokenizer; accepted: byte-level BPE")
    return backend

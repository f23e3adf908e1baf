"""Alphabets of codes: symbols that cost a language model exactly one token each and never merge with a neighbour.

A tokenizer that obeys Qwen2's rule cuts text before it merges anything: every digit stands alone, and a letter run
takes at most one mark or space before it. So a digit, or a space with one letter, is one token wherever it stands.
Other tokenizers may obey other rules, and a vocabulary may lack a symbol: `check_alphabet` asks the tokenizer at hand.
"""

import string
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dataset_builder.errors import DependencyError, InputError
from dataset_builder.seeds import make_rng

if TYPE_CHECKING:
    from dataset_builder.codecs.base import Codec

#: Name -> symbols from low to high. ``letters52`` is sign and size: capitals below zero, Z furthest; small ones above.
ALPHABETS: dict[str, tuple[str, ...]] = {
    "digits": tuple(string.digits),
    "letters26": tuple(f" {letter}" for letter in string.ascii_lowercase),
    "letters52": tuple(f" {letter}" for letter in string.ascii_uppercase[::-1] + string.ascii_lowercase),
}

#: How Qwen2 cuts text before merging: words with one leading mark, single digits, runs of marks, line ends, spaces.
QWEN2_RULE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: What may stand before and after a symbol in a prompt.
_BEFORE = ("", "EEG", "delta", "Fz", "O1", "C1", "\n", ":", ": ", "|", " |", "-", "[", "<|im_start|>user\n", "信号：")
_AFTER = ("", "\n", " |", " ", "-", ".", "]", "\nFz", "<|im_end|>", "。")

_RANDOM_TEXTS, _RANDOM_LENGTH = 20, 300


class Tokenizer(Protocol):
    """What is needed of a tokenizer; those of the libraries ``tokenizers`` and ``transformers`` have it."""

    def encode(self, text: str, *, add_special_tokens: bool) -> Any:
        """Return token ids, or an object that has them as ``ids``."""


def choose_symbols(levels: int) -> tuple[str, ...]:
    """Return `levels` symbols, from low to high, of the smallest alphabet that has enough.

    Parameters
    ----------
    levels : int
        2 to 52. Of ``letters52`` the middle is taken, so that case still tells the sign.
    """
    symbols = next(alphabet for alphabet in ALPHABETS.values() if len(alphabet) >= levels)
    first = (len(symbols) - levels) // 2 if symbols is ALPHABETS["letters52"] else 0
    return symbols[first : first + levels]


def check_alphabet(codec: "Codec", tokenizer: Tokenizer, name: str = "") -> None:
    """Make sure that every symbol of a codec is one token, alone, in every pair, in random rows and in its contexts.

    Parameters
    ----------
    codec : Codec
        One without an alphabet (decimals) promises nothing and passes.
    tokenizer : Tokenizer
        The one of the model that will read the code.
    name : str, optional
        What an error calls the tokenizer. Default: the last part of its own name.

    Raises
    ------
    InputError
        Names the symbol, the tokenizer, what became of the symbol, and which alphabets hold.
    """
    fault = find_fault(codec.alphabet, tokenizer)
    if fault:
        kept = [known for known, symbols in ALPHABETS.items() if not find_fault(symbols, tokenizer)]
        name = name or Path(str(getattr(tokenizer, "name_or_path", ""))).name or type(tokenizer).__name__
        raise InputError(
            f"codec {codec.name}: tokenizer {name} {fault}; alphabets that hold: {', '.join(kept) or 'none'}"
        )


def find_fault(symbols: Sequence[str], tokenizer: Tokenizer) -> str:
    """Return what breaks an alphabet under a tokenizer, such as ``"merges or splits symbols in '12'"``, or ``""``."""
    encode = _make_encoder(tokenizer)
    ids: dict[str, int] = {}
    for symbol in symbols:
        found = encode(symbol)
        if len(found) != 1:
            return f"needs {len(found)} tokens for {symbol!r}, not 1"
        ids[symbol] = found[0]
    if len(set(ids.values())) < len(ids):
        return "gives two symbols the same token"
    for before, row, after in _list_probes(symbols):
        text = before + "".join(row) + after
        if encode(text) != [*encode(before), *(ids[symbol] for symbol in row), *encode(after)]:
            shown = text if len(text) <= 40 else text[:40] + "..."
            return f"merges or splits symbols in {shown!r}"
    return ""


def count_tokens(tokenizer: Tokenizer, text: str) -> int:
    """Return how many tokens a text costs, without those that a chat template adds."""
    return len(_make_encoder(tokenizer)(text))


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Read a tokenizer from disk with the library ``tokenizers``.

    Parameters
    ----------
    path : str or Path
        A ``tokenizer.json``, or the folder of a model that holds one.

    Raises
    ------
    InputError
        If the file is missing or is not a tokenizer.
    """
    path = Path(path)
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"tokenizer {path.name}: not found; accepted: a tokenizer.json or a model's folder with one")
    try:
        found: Tokenizer = _import_tokenizers().Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"tokenizer {path.name}: is not a tokenizer.json ({type(error).__name__})") from None
    return found


def split_like_qwen2(text: str) -> list[str]:
    """Cut a text as Qwen2 does before it merges: no token reaches over a cut, so each piece is at least one token."""
    pieces = _make_splitter().pre_tokenize_str(text)
    return [piece for piece, _ in pieces]


@cache
def _make_splitter() -> Any:
    tokenizers = _import_tokenizers()
    return tokenizers.pre_tokenizers.Split(tokenizers.Regex(QWEN2_RULE), behavior="isolated")


def _list_probes(symbols: Sequence[str]) -> Iterator[tuple[str, Sequence[str], str]]:
    """Yield (text before, symbols, text after); texts before end where a symbol may follow."""
    glue = "" if symbols and symbols[0].startswith(" ") else " "
    for symbol in symbols:
        yield from ((before + (glue if before[-1:].isalnum() else ""), [symbol], "") for before in _BEFORE)
        yield from (("", [symbol], after) for after in _AFTER)
    yield from (("", [left, right], "") for left in symbols for right in symbols)
    if symbols:
        rng = make_rng(0, "alphabet")
        for _ in range(_RANDOM_TEXTS):
            yield "", [symbols[index] for index in rng.integers(len(symbols), size=_RANDOM_LENGTH)], ""


def _make_encoder(tokenizer: Tokenizer) -> Callable[[str], list[int]]:
    def encode(text: str) -> list[int]:
        found = tokenizer.encode(text, add_special_tokens=False)
        return list(getattr(found, "ids", found))

    return encode


def _import_tokenizers() -> Any:
    try:
        import tokenizers
    except ModuleNotFoundError:
        raise DependencyError("package tokenizers is missing; pip install 'eeg-emotion-copilot[corpus]'") from None
    return tokenizers

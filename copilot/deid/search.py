"""The last check: none of the removed texts is in what was written, in any common encoding."""

import re
from collections.abc import Sequence
from pathlib import Path

from copilot.deid.words import is_known
from dataset_builder.errors import StageError

#: Shorter texts occur by chance among samples.
_MIN_LENGTH = 6

_ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")

_CHUNK_BYTES = 2**22

#: Words of six letters and more that every file of a kind holds.
_FORMAT_WORDS = {
    ".edf": "Startdate Annotations -32768",
    ".bdf": "Startdate Annotations BIOSEMI -8388608 8388607",
    ".vhdr": """Brain Data File Infos Info Binary Version 1.0 Channel Vision Exchange Header Common BINARY MULTIPLEXED
    VECTORIZED DataFile MarkerFile Codepage Resolution Coordinates Number Channels NumberOfChannels Sampling Interval
    SamplingInterval DataFormat Format DataOrientation Orientation DataPoints Points BinaryFormat""",
    ".vmrk": "Infos New Stimulus Response Segment Vision Exchange Marker Common Comment",
    ".set": """MATLAB 5.0 MAT-file setname filename filepath datfile nbchan trials chanlocs urevent icaact icaweights
    icasphere icawinv icachansind latency duration labels radius sph_theta sph_phi sph_radius common""",
}


def search_texts(texts: Sequence[str], paths: Sequence[Path], name: str) -> int:
    """Search files for texts and for their words.

    Parameters
    ----------
    texts : sequence of str
        What was removed.
    paths : sequence of Path
        What was written.
    name : str
        How the recording is called now; where it was called so before, that is no text to remove.

    Returns
    -------
    int
        How many different texts of at least six characters were searched for.

    Raises
    ------
    StageError
        If one is found; it is not told.
    """
    wanted = {part for text in texts for part in (text, *re.split(r"\s+", text)) if len(part) >= _MIN_LENGTH}
    allowed = _list_words(paths)
    wanted = {text for text in wanted - {name} if not is_known(text) and not _is_allowed(text, allowed)}
    # A longer text is found with a shorter one in it.
    short = [text for text in wanted if not any(other in text for other in wanted if other != text)]
    patterns = {data for text in short for data in _encode(text)}
    if patterns and any(_contains(path, patterns) for path in paths):
        raise StageError(f"{name}: a text that was to be removed is still there; nothing was kept")
    return len(wanted)


def _is_allowed(text: str, allowed: set[str]) -> bool:
    return all(word.strip("'\";,.()[]{}=") in allowed for word in text.split())


def _list_words(paths: Sequence[Path]) -> set[str]:
    """Return words that the formats themselves write."""
    suffixes = {path.suffix.lower() for path in paths}
    return {word for suffix in suffixes for word in _FORMAT_WORDS.get(suffix, "").split()}


def _encode(text: str) -> set[bytes]:
    if text.isascii():  # UTF-8 and Latin-1 are the same; what both orders of UTF-16 have in common is enough
        return {text.encode("ascii"), text.encode("utf-16-le")[:-1]}
    return {data for encoding in _ENCODINGS if len(data := text.encode(encoding, "ignore")) >= _MIN_LENGTH}


def _contains(path: Path, patterns: set[bytes]) -> bool:
    """Tell whether a file holds one of the byte strings, also across two pieces of it."""
    overlap = max(map(len, patterns)) - 1
    expression = re.compile(b"|".join(map(re.escape, sorted(patterns))))
    tail = b""
    with path.open("rb") as stream:
        while data := stream.read(_CHUNK_BYTES):
            if expression.search(tail + data):
                return True
            tail = (tail + data)[-overlap:] if overlap else b""
    return False

"""Header preview: what a file says of its signal, and that it says more, which is not shown."""

from collections.abc import Callable
from pathlib import Path

from copilot.deid.brainvision import clean_brainvision
from copilot.deid.edf import clean_edf
from copilot.deid.eeglab import clean_eeglab
from copilot.deid.fif import clean_fif
from copilot.deid.findings import Cleaned, HeaderField, damaged
from dataset_builder.errors import InputError

_CLEANERS: dict[str, Callable[[Path, frozenset[str]], Cleaned]] = {
    ".edf": clean_edf,
    ".bdf": clean_edf,
    ".fif": clean_fif,
    ".vhdr": clean_brainvision,
    ".set": clean_eeglab,
}

#: File types that can be de-identified.
SUFFIXES: tuple[str, ...] = tuple(_CLEANERS)

_HIDDEN = "hidden"


def open_cleaned(path: Path, keep: frozenset[str] = frozenset()) -> Cleaned:
    """Read a recording's header, ready to be written without what identifies.

    Parameters
    ----------
    path : Path
    keep : frozenset of str
        Annotations that may stay besides the known ones.

    Raises
    ------
    InputError
        If the file is missing, of another kind, or damaged; the message holds neither its name nor any text of it.
    """
    suffix = path.suffix.lower()
    if suffix not in _CLEANERS:
        raise InputError(f"recording: suffix {suffix[:8]!r}, accepted: {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise damaged(suffix, "no such file")
    try:
        return _CLEANERS[suffix](path, keep)
    except InputError:
        raise
    except Exception as error:  # a damaged file raises nearly anything, and its message may quote the file
        raise damaged(suffix, f"its header cannot be read ({type(error).__name__})") from None


def preview_header(path: str | Path) -> list[HeaderField]:
    """Show a recording's header with all that may identify somebody hidden.

    Parameters
    ----------
    path : str or Path
        ``.edf``, ``.bdf``, ``.fif``, ``.vhdr`` or ``.set``. No sample is loaded.

    Returns
    -------
    list of HeaderField
        Facts of the signal first, then one entry for each kind of field that holds something to hide.

    Raises
    ------
    InputError
        See `open_cleaned`.
    """
    cleaned = open_cleaned(Path(path))
    shown = [HeaderField(name, text, masked=False) for name, text in {"Format": cleaned.title, **cleaned.facts}.items()]
    places: dict[str, int] = {}
    for finding in cleaned.findings.found:
        places[finding.place] = places.get(finding.place, 0) + 1
    masked = [
        HeaderField(place, _HIDDEN if count == 1 else f"{_HIDDEN} ({count} times)", masked=True)
        for place, count in places.items()
    ]
    return [*shown, *masked]

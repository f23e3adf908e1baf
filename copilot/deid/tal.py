"""Annotation signals of EDF+ and BDF+: lists of onset, duration and texts, rewritten without free text."""

import re
from collections.abc import Collection

from copilot.deid.findings import Findings, damaged, decode_text
from copilot.deid.words import clean_annotation

#: Onset, duration if any, texts: what stands between two zero bytes.
_ENTRY = re.compile(rb"([+-]\d{1,12}(?:\.\d{0,9})?)(?:\x15(\d{1,12}(?:\.\d{0,9})?))?\x14(.*)", re.DOTALL)


#: What every record of a file with annotations holds: its time, followed by no text. Five bytes or more, which samples
#: form by chance once in some fifty gigabytes.
_TIME_KEEPING = re.compile(rb"[+-]\d{1,12}(?:\.\d{1,9})?\x14\x14")

#: An entry with texts, where a signal begins.
_FIRST_ENTRY = re.compile(rb"[+-]\d{1,12}(?:\.\d{1,9})?(?:\x15\d{1,12}(?:\.\d{0,9})?)?\x14[^\x00]+\x14\x00")


def refuse_annotations(data: bytes) -> None:
    """Refuse samples that are annotations, which a damaged label or length can make of them.

    Parameters
    ----------
    data : bytes
        Of one signal in one record.

    Raises
    ------
    InputError
        If they hold a record's time or begin with an annotation.
    """
    if _TIME_KEEPING.search(data) or _FIRST_ENTRY.match(data):
        raise damaged(".edf", "annotations stand among the samples, so its header cannot be right")


class AnnotationFilter:
    """Rewrites the annotation bytes of one data record after the other.

    Parameters
    ----------
    findings : Findings
        Gets what is dropped, and the counts.
    keep : collection of str
        Texts that may stay besides the known ones.
    length_s : float or None
        Annotations beyond the end are dropped: an onset could be any number. None where gaps make the end unknown.
    """

    def __init__(self, findings: Findings, keep: Collection[str], length_s: float | None) -> None:
        self._findings = findings
        self._keep = keep
        self._length_s = length_s

    def clean(self, data: bytes, onset_s: float | None, *, keeps_time: bool) -> bytes:
        """Return annotation bytes of the same length with known texts only.

        Parameters
        ----------
        data : bytes
            Of one annotation signal in one record.
        onset_s : float or None
            When the record begins, if that is known without `data`.
        keeps_time : bool
            Whether this signal's first entry states when the record begins.

        Raises
        ------
        InputError
            If the record's time cannot be read: then nothing is where the header says it is.
        """
        entries = [entry for entry in data.split(b"\x00") if entry]
        if keeps_time and entries and (not data[0] or _ENTRY.fullmatch(entries[0]) is None):
            raise damaged(".edf", "a data record does not begin where its header says")
        kept: list[bytes] = []
        for place, entry in enumerate(entries):
            match = _ENTRY.fullmatch(entry)
            first = keeps_time and not place
            if match is None:
                self._drop(decode_text(entry))
                continue
            texts = self._clean_texts(match.group(3), within=self._fits(match))
            lasts = b"\x15" + match.group(2) if match.group(2) and texts else b""
            if first or texts:
                parts = [match.group(1) + lasts, *([b""] if first else []), *texts, b""]
                kept.append(b"\x14".join(parts))
        if keeps_time and not entries:
            kept.append(self._make_time(onset_s))
        joined = b"".join(entry + b"\x00" for entry in kept)
        return joined[: len(data)].ljust(len(data), b"\x00")

    def _clean_texts(self, data: bytes, *, within: bool) -> list[bytes]:
        kept = []
        for text in filter(None, data.split(b"\x14")):
            cleaned = clean_annotation(decode_text(text), self._keep) if within else None
            if cleaned is None:
                self._drop(decode_text(text))
            else:
                self._findings.kept_annotations += 1
                kept.append(cleaned.encode("utf-8"))
        return kept

    def _fits(self, match: re.Match[bytes]) -> bool:
        """Tell whether onset and end lie within the recording."""
        end_s = float(match.group(1)) + float(match.group(2) or 0)
        return self._length_s is None or 0 <= float(match.group(1)) <= end_s <= self._length_s + 1

    def _drop(self, text: str) -> None:
        self._findings.removed_annotations += 1
        self._findings.add("Annotation", "R", text)

    @staticmethod
    def _make_time(onset_s: float | None) -> bytes:
        if onset_s is None:
            raise damaged(".edf", "a data record does not say when it begins")
        return f"+{onset_s:.9f}".rstrip("0").rstrip(".").encode() + b"\x14\x14"

"""FACED's continuous recordings, data.bdf: their two channel orders, and the unit field that is corrupt in 33 files.

All files hold microvolts, 24 bit. In 90 of them the header says ``uV``; in 33 it says ``?V``, which readers take for
volts. The file's own bytes decide, not the subject's number. Samples are read where a clip is and nowhere else.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import mne
import numpy as np

from dataset_builder.errors import InputError
from dataset_builder.preprocess import PreprocessingConfig, preprocess_recording
from dataset_builder.sources.clips import CLIPS
from dataset_builder.sources.faced_events import Span, describe_spans, list_clips
from dataset_builder.sources.faced_tables import CHANNELS
from dataset_builder.types import Recording

#: Names in the files -> 10-10 names. Cohort 1 has the old temporal names; what cohort 2 calls HEOR and HEOL sat on the
#: mastoids.
OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
_NAMES = {name.lower(): name for name in CHANNELS} | {"heor": "A2", "heol": "A1"}
_NAMES |= {old.lower(): new for old, new in OLD_NAMES.items()}

#: Unit fields that readers understand, and what stands in the corrupt headers for "uV".
_UNITS = {b"uV", b"\xb5V", b"mV", b"V"}
CORRUPT_UNIT = b"?V"

#: A clip that ends this far after the last sample is still cut, seconds: triggers and samples run on two clocks.
_END_TOLERANCE_S = 0.1


@dataclass(frozen=True)
class RawFile:
    """An open recording; no sample is loaded yet.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        32 channels in processed order under their 10-10 names.
    scale : float
        Factor that makes volts of what `raw` returns: MNE knows no unit ``?V`` and takes microvolts for volts.
    cohort : int
        1 or 2, by the channel names.
    notes : tuple of str
    """

    raw: mne.io.BaseRaw
    scale: float
    cohort: int
    notes: tuple[str, ...]

    @property
    def sfreq_hz(self) -> float:
        """Sampling frequency of the device, Hz."""
        return float(self.raw.info["sfreq"])

    @property
    def length_s(self) -> float:
        """Duration in seconds."""
        return self.raw.n_times / self.sfreq_hz


@dataclass(frozen=True)
class Cut:
    """Trials cut from a recording.

    Parameters
    ----------
    spans : tuple of Span
        Of the clips that were cut, in the order of clip numbers.
    signal_uv : ndarray of shape (n_trials, 32, n_times), float32, µV
    notes : tuple of str
    """

    spans: tuple[Span, ...]
    signal_uv: np.ndarray
    notes: tuple[str, ...]


def open_raw(path: Path, name: str) -> RawFile:
    """Open a continuous recording of either cohort.

    Parameters
    ----------
    path : Path
        ``data.bdf``, or the BIDS copy's ``eeg.bdf``.
    name : str
        How messages call the file: relative to the data root.

    Returns
    -------
    RawFile

    Raises
    ------
    InputError
        If the file cannot be read, a channel is missing or its unit is unknown.
    """
    corrupt = _has_corrupt_unit(path, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = mne.io.read_raw_bdf(path, stim_channel=None, preload=False, verbose="ERROR")
    except Exception as error:  # a damaged file raises nearly anything
        raise InputError(f"{name}: cannot be read as BDF ({type(error).__name__})") from None
    found = {channel: _NAMES[channel.lower()] for channel in raw.ch_names if channel.lower() in _NAMES}
    missing = sorted(set(CHANNELS) - set(found.values()))
    if missing or len(found) != len(CHANNELS):
        raise InputError(f"{name}: {len(raw.ch_names)} channels, {', '.join(missing) or 'one of them twice'} not found")
    notes = [f"unit field {CORRUPT_UNIT.decode()!r} in the header corrected to uV"] * corrupt
    if others := len(raw.ch_names) - len(found):
        notes.append(f"{others} channels left out, no electrode of the release")
    cohort = 1 if any(old in found for old in OLD_NAMES) else 2
    raw.rename_channels(found, verbose="ERROR")
    raw.reorder_channels(list(CHANNELS))
    raw.set_channel_types(dict.fromkeys(CHANNELS, "eeg"), on_unit_change="ignore", verbose="ERROR")
    return RawFile(raw, 1e-6 if corrupt else 1.0, cohort, tuple(notes))


def cut_clips(file: RawFile, spans: Sequence[Span], config: PreprocessingConfig, name: str, show: str = "") -> Cut:
    """Cut and preprocess the end of every clip.

    Parameters
    ----------
    file : RawFile
    spans : sequence of Span
        In the order of clip numbers.
    config : PreprocessingConfig
    name : str
        How messages call the file.
    show : str
        Text of a progress bar; none if empty.

    Returns
    -------
    Cut

    Raises
    ------
    InputError
        If no clip lies within the recording or samples cannot be read.
    """
    within, notes = _keep_within(spans, file.length_s, config.trial_s)
    if not within:
        found = f"{file.length_s:.0f} s long, the clips run to {max(span.end_s for span in spans):.0f} s"
        raise InputError(f"{name}: {found}; no clip of {config.trial_s:g} s lies within")
    ends_s = [min(span.end_s, file.length_s) for span in within]
    try:
        signal_uv, found_notes = preprocess_recording(file.raw, ends_s, config, show, scale=file.scale)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except (RuntimeError, OSError) as error:  # what MNE raises where a file breaks off
        raise InputError(f"{name}: its samples cannot be read ({type(error).__name__})") from None
    return Cut(tuple(within), signal_uv, (*file.notes, *describe_spans(within), *notes, *found_notes))


def fill_from_cut(
    blank: Recording, cut: Cut, sfreq_hz: float, device_sfreq_hz: float, notes: Sequence[str]
) -> Recording:
    """Put trials that were cut from a raw recording in.

    Parameters
    ----------
    blank : Recording
        What is known of the subject, with ranks and ratings of all clips.
    cut : Cut
    sfreq_hz, device_sfreq_hz : float
        Of the trials and of the device, Hz.
    notes : sequence of str

    Returns
    -------
    Recording
        With the clips of `cut` only. Ranks are the ratings' where a clip is missing, since triggers cannot count it.
    """
    rows = [span.clip - 1 for span in cut.spans]
    known = blank.ranks if len(rows) < len(CLIPS) else ()
    return replace(
        blank,
        clips=tuple(span.clip for span in cut.spans),
        emotions=tuple(CLIPS[row].label for row in rows),
        ranks=tuple(known[row] for row in rows) if known else tuple(span.rank for span in cut.spans),
        ratings=None if blank.ratings is None else blank.ratings[rows],
        signal_uv=cut.signal_uv,
        sfreq_hz=sfreq_hz,
        device_sfreq_hz=device_sfreq_hz,
        notes=(*blank.notes, *notes, *cut.notes),
        left_out={"trial is not whole in the raw recording": missing} if (missing := len(blank) - len(rows)) else {},
    )


def _keep_within(spans: Sequence[Span], length_s: float, trial_s: float) -> tuple[list[Span], list[str]]:
    """Return the spans that can be cut, and notes on the others."""
    notes = []
    short = [span for span in spans if span.length_s < trial_s]
    if short:
        notes.append(
            f"{list_clips([span.clip for span in short])} left out, shorter than the {trial_s:g} s kept of each"
        )
    late = [span for span in spans if span not in short and span.end_s > length_s + _END_TOLERANCE_S]
    if late:
        notes.append(f"{list_clips([span.clip for span in late])} left out, after the end of the recording")
    return [span for span in spans if span not in short and span not in late], notes


def _has_corrupt_unit(path: Path, name: str) -> bool:
    """Tell from the header's bytes whether the unit is the corrupt one.

    The header has 256 bytes, then, for n signals, n labels of 16 bytes, n transducers of 80 and n units of 8.
    """
    try:
        with path.open("rb") as file:
            head = file.read(256)
            if b"annex/objects" in head or head.startswith(b"version https://git-lfs"):
                raise InputError(f"{name}: a pointer to the data, not the data; fetch it first (datalad get)")
            if len(head) < 256 or not head.startswith(b"\xffBIOSEMI"):
                raise InputError(f"{name}: not a BDF file")
            n_signals = int(head[252:256])
            file.seek(256 + 96 * n_signals)
            fields = file.read(8 * n_signals)
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise InputError(f"{name}: its header does not say how many signals it holds") from None
    units = {fields[start : start + 8].strip() for start in range(0, len(fields), 8)}
    if unknown := sorted(units - _UNITS - {CORRUPT_UNIT}):
        raise InputError(f"{name}: unit {unknown[0].decode('ascii', 'replace')!r}, expected uV")
    if CORRUPT_UNIT in units and len(units) > 1:
        raise InputError(f"{name}: some channels have the unit {CORRUPT_UNIT.decode()!r}, others have one")
    return CORRUPT_UNIT in units

"""Streams of the Lab Streaming Layer: on this machine only unless asked otherwise, found by name, checked, opened.

The layer announces and searches streams in the whole network by default. Its settings are read once, before the first
stream is made or sought, from a file that ``LSLAPICFG`` names; `stay_on_this_machine` writes one.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from copilot.live.sockets import PortGuard, keep_ports_local
from dataset_builder.errors import DependencyError, InputError
from dataset_builder.filters import PASS_BAND_HZ, check_rate
from dataset_builder.sources.channel_labels import clean_labels
from dataset_builder.sources.montage import MASTOIDS, MIN_SCALP_CHANNELS, match_channels
from dataset_builder.sources.recording_files import list_names

_LOOPBACK = """[ports]
IPv6 = disable
[multicast]
ResolveScope = machine
ListenAddress = 127.0.0.1
AddressesOverride = {127.0.0.1}
[lab]
KnownPeers = {127.0.0.1}
[log]
level = -3
"""

#: What streams call their unit -> microvolts per unit; None where the unit must be told from the amplitudes.
_UNITS: dict[str, float | None] = {
    **dict.fromkeys(("microvolts", "microvolt", "uv", "µv", "μv", "1e-06", "-6"), 1.0),
    **dict.fromkeys(("millivolts", "millivolt", "mv", "0.001", "-3"), 1e3),
    **dict.fromkeys(("volts", "volt", "v", "1.0", "1", "0"), 1e6),
    **dict.fromkeys(("nanovolts", "nanovolt", "nv", "1e-09", "-9"), 1e-3),
    **dict.fromkeys(("", "none", "unknown", "n/a", "na"), None),
}

#: Longest that opening a found stream may take, seconds.
_OPEN_S = 10.0

#: Samples that the layer itself holds while an estimate is made, seconds.
_HELD_S = 60


@contextmanager
def stay_on_this_machine(*, any_interface: bool = False) -> Iterator[PortGuard | None]:
    """Let streams be announced and sought on this machine alone while the body runs, and keep their ports to it.

    Takes effect once in a process, before the first stream; the user's own settings are left as they are.

    Parameters
    ----------
    any_interface : bool
        Leave the ports open to every network card, for systems that cannot keep them local.

    Yields
    ------
    PortGuard or None
        See `copilot.live.sockets`; None if `any_interface`.

    Raises
    ------
    InputError
        If the ports cannot be kept local and `any_interface` is not given.
    """
    with nullcontext() if any_interface else keep_ports_local() as guard, _settings():
        load_layer()
        yield guard


@contextmanager
def _settings() -> Iterator[None]:
    """Let the layer find our settings while the body runs."""
    folder = tempfile.mkdtemp(prefix="eeg-copilot-")  # readable by the user alone
    before = os.environ.get("LSLAPICFG")
    try:
        path = Path(folder) / "lsl_api.cfg"
        path.write_text(_LOOPBACK, encoding="ascii")
        os.environ["LSLAPICFG"] = str(path)
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            os.environ.pop("LSLAPICFG", None)
        else:
            os.environ["LSLAPICFG"] = before


def load_layer() -> Any:
    """Return the module ``mne_lsl.lsl``.

    Raises
    ------
    DependencyError
        If it is not installed.
    """
    try:
        from mne_lsl import lsl
    except ModuleNotFoundError:
        raise DependencyError(
            "package mne-lsl is missing, streams need it; pip install 'eeg-emotion-copilot[live]'"
        ) from None
    return lsl


@dataclass
class LiveStream:
    """An open stream.

    Parameters
    ----------
    name : str
        Made harmless: any text can be a stream's name.
    channels : tuple of str
        10-10 names of the channels that are used.
    sfreq_hz : float
        Nominal sampling frequency.
    unit_uv : float or None
        Microvolts per unit; None where the stream does not say.
    notes : tuple of str
        What was left out.
    """

    name: str
    channels: tuple[str, ...]
    sfreq_hz: float
    unit_uv: float | None
    notes: tuple[str, ...]
    _inlet: Any
    _index: list[int]
    _clock: Any

    def pull(self, timeout_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Return what arrived: samples of shape (n_times, n_channels) in the stream's unit, and time stamps, s.

        Raises
        ------
        InputError
            If the stream was closed for good.
        """
        try:
            samples, stamps = self._inlet.pull_chunk(timeout=timeout_s, max_samples=max(1, round(self.sfreq_hz)))
        except TimeoutError:
            stamps = np.empty(0)
        except RuntimeError:
            raise InputError("stream: was closed by its source") from None
        if not len(stamps):
            return np.empty((0, len(self._index))), np.empty(0)
        return np.asarray(samples, dtype=np.float64)[:, self._index], np.asarray(stamps)

    def now_s(self) -> float:
        """Return the time on the clock of the stamps, seconds."""
        return float(self._clock())

    def close(self) -> None:
        """Leave the stream; harmless when done twice."""
        inlet, self._inlet = self._inlet, None
        if inlet is not None:
            inlet.close_stream()


def open_stream(name: str | None = None, timeout_s: float = 10.0) -> LiveStream:
    """Find and open a stream of EEG.

    Parameters
    ----------
    name : str, optional
        Default: the only stream of type EEG.
    timeout_s : float
        How long is searched.

    Returns
    -------
    LiveStream

    Raises
    ------
    InputError
        If none or several are found, or the stream's channels, unit or rate cannot be used.
    """
    lsl = load_layer()
    wanted = {"stype": "EEG"} if name is None else {"name": name}
    found = lsl.resolve_streams(timeout=timeout_s, **wanted)
    told = "of type EEG" if name is None else f"called {_show(name)}"
    if not found:
        raise InputError(
            f"stream: none {told} found in {timeout_s:g} s; start one (eeg-copilot replay FILE plays a recording), "
            "or give --lab-network if it comes from another machine"
        )
    if len(found) > 1:
        names = ", ".join(sorted({_show(stream.name) for stream in found})[:9])
        raise InputError(f"stream: {len(found)} {told} found ({names}); choose one with --stream NAME")
    if not found[0].sfreq > 0 or found[0].dtype == "string":
        raise InputError("stream: has no constant sampling frequency; accepted: continuous EEG")
    check_rate(float(found[0].sfreq), PASS_BAND_HZ[1])
    inlet = lsl.StreamInlet(found[0], max_buffered=_HELD_S, processing_flags=["clocksync"])
    try:
        inlet.open_stream(timeout=_OPEN_S)
        return _describe(inlet, inlet.get_sinfo(timeout=_OPEN_S), lsl.local_clock)
    except (TimeoutError, RuntimeError):
        inlet.close_stream()
        raise InputError(f"stream: was found but did not answer in {_OPEN_S:g} s") from None
    except BaseException:
        inlet.close_stream()
        raise


def _describe(inlet: Any, info: Any, clock: Any) -> LiveStream:
    names, units = info.get_channel_names(), info.get_channel_units()
    if not names:
        raise InputError("stream: does not name its channels; accepted: 10-10 names such as Fp1")
    montage = match_channels(names)
    scalp = [place for place in montage.used.values() if place not in MASTOIDS]
    if len(scalp) < MIN_SCALP_CHANNELS:
        raise InputError(
            f"stream: {len(scalp)} of {len(names)} channels have a 10-10 name such as Fp1 ({list_names(names)}); "
            f"at least {MIN_SCALP_CHANNELS} are needed"
        )
    index = [names.index(name) for name in montage.used]
    labels = dict(zip(names, clean_labels(names), strict=True))
    left_out = [labels[name] for name in montage.left_out]
    notes = [f"{len(left_out)} channels left out: {list_names(left_out)}"] * bool(left_out)
    return LiveStream(
        name=_show(info.name),
        channels=tuple(montage.used.values()),
        sfreq_hz=float(info.sfreq),
        unit_uv=_read_unit([units[place] for place in index] if units else []),
        notes=tuple(notes),
        _inlet=inlet,
        _index=index,
        _clock=clock,
    )


def _show(name: str) -> str:
    """Return a stream's name in a form that no terminal takes for a command."""
    return "".join(letter for letter in name if letter.isprintable())[:48]


def _read_unit(units: list[str]) -> float | None:
    """Return microvolts per unit; None where nothing is stated."""
    stated = {str(unit or "").strip().lower() for unit in units} or {""}
    if unknown := sorted(stated - _UNITS.keys()):
        raise InputError(f"stream: unit {list_names(unknown)} is not known; accepted: microvolts, millivolts, volts")
    scales = {_UNITS[unit] for unit in stated}
    if len(scales) > 1:
        raise InputError(f"stream: channels have different units ({list_names(sorted(stated))}); accepted: one for all")
    return scales.pop()

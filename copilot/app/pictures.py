"""One window drawn: traces, spectrum, scalp maps, and what the model reads of it."""

import base64
import threading
from dataclasses import dataclass, field
from itertools import islice

from copilot.app.models import ChosenModel
from copilot.app.session import Signal
from dataset_builder.alphabets import split_like_qwen2
from dataset_builder.bands import trial_de
from dataset_builder.errors import InputError
from dataset_builder.inspection_figures import plot_comparison, plot_spectrum
from dataset_builder.signal_figures import plot_band_topomaps, plot_traces
from dataset_builder.types import BANDS, SCALP_CHANNELS, Code

#: Matplotlib's settings belong to the whole process: one picture at a time.
DRAWING = threading.Lock()


@dataclass(frozen=True)
class CodeView:
    """What the model reads of a window.

    Parameters
    ----------
    code : Code
    text : str
        The code as text.
    n_values, n_tokens : int
        Values of the code, and tokens that they cost as the codec declares.
    n_tokens_text : int
        Tokens of the whole text, at least, by Qwen2's rule.
    comparison : str
        Data address of the decoded code beside the truth.
    errors_db : dict of str to float
        Error of band power per band, dB.
    """

    code: Code
    text: str
    n_values: int
    n_tokens: int
    n_tokens_text: int
    comparison: str
    errors_db: dict[str, float]


@dataclass(frozen=True)
class WindowView:
    """A drawn window; a picture is a data address, empty where the data do not allow it."""

    traces: str = ""
    spectrum: str = ""
    topomaps: str = ""
    code: CodeView | None = None
    missing: dict[str, str] = field(default_factory=dict)


def draw_window(signal: Signal, window: int, model: ChosenModel | None) -> WindowView:
    """Draw a window.

    Parameters
    ----------
    signal : Signal
    window : int
        0-based.
    model : ChosenModel or None
        Its codec says what the model reads.

    Returns
    -------
    WindowView
        `missing` says why a picture or the code is not there.
    """
    recording, trial = signal.recording, signal.recording.trial(window)
    missing: dict[str, str] = {}
    traces = spectrum = topomaps = ""
    if trial.signal_uv is not None and recording.sfreq_hz is not None:
        marked = [channel.name for channel in signal.channels if channel.marked]
        traces = to_address(plot_traces(trial.signal_uv, recording.sfreq_hz, recording.channels, marked), "png")
        spectrum = to_address(plot_spectrum(trial.signal_uv, recording.sfreq_hz, recording.channels), "svg+xml")
    scalp = [row for row, name in enumerate(recording.channels) if name in SCALP_CHANNELS]
    try:
        band_de = trial_de(trial)[scalp].mean(axis=1)
        topomaps = to_address(plot_band_topomaps(band_de, [recording.channels[row] for row in scalp]), "png")
    except InputError as error:
        missing["topomaps"] = str(error)
    try:
        code = None if model is None else describe_code(signal, window, model)
    except InputError as error:
        code, missing["code"] = None, str(error)
    return WindowView(traces, spectrum, topomaps, code, missing)


def describe_code(signal: Signal, window: int, model: ChosenModel) -> CodeView:
    """Encode a recording with the model's codec and describe one window's code.

    Raises
    ------
    InputError
        If the codec cannot read the recording.
    """
    codec = model.codec
    code = codec.encode_recording(signal.recording)[window]
    comparison = next(islice(codec.compare(signal.recording), window, None))
    text = codec.to_text(code)
    errors = dict(zip(BANDS, comparison.measure_error().tolist(), strict=True))
    return CodeView(
        code=code,
        text=text,
        n_values=codec.n_values,
        n_tokens=codec.n_tokens,
        n_tokens_text=len(split_like_qwen2(text)),
        comparison=to_address(plot_comparison(comparison), "svg+xml"),
        errors_db=errors,
    )


def to_address(picture: bytes, kind: str) -> str:
    """Return a picture as a data address, so that no file is needed."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"

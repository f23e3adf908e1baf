"""One trial on one page: signal, code, decoded code and what was lost between them."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from dataset_builder.alphabets import Tokenizer, count_tokens, find_fault, split_like_qwen2
from dataset_builder.bands import trial_de
from dataset_builder.codecs import Codec
from dataset_builder.codecs.fidelity import LOST_DB
from dataset_builder.errors import InputError
from dataset_builder.inspection_figures import plot_comparison, plot_spectrum
from dataset_builder.prompts import PromptFacts, Style
from dataset_builder.signal_figures import MIN_MAP_CHANNELS, plot_band_topomaps, plot_traces
from dataset_builder.types import BANDS, SCALP_CHANNELS, Recording

#: Channels of the trace, midline and sides; others fill up where some are missing.
_TRACE = ("Fz", "Cz", "Pz", "T7", "T8", "Oz")


@dataclass(frozen=True)
class Subject:
    """A person's recording as the codec reads it, and as waveforms where there are any.

    Parameters
    ----------
    recording : Recording
        With the array that the codec reads.
    waveforms : Recording or None
        The same trials with their signal.
    """

    recording: Recording
    waveforms: Recording | None

    def find_trial(self, clip: int) -> int:
        """Return the index of the trial of a clip.

        Raises
        ------
        InputError
            If the person has no such trial.
        """
        if clip not in self.recording.clips:
            known = ", ".join(str(one) for one in self.recording.clips if one is not None) or "none"
            raise InputError(f"clip {clip}: not in {self.recording.subject}; clips that are there: {known}")
        return self.recording.clips.index(clip)


def render_inspection(
    subject: Subject, index: int, codec: Codec, style: Style | None = None, tokenizer: Tokenizer | None = None
) -> str:
    """Return the page of one trial.

    Parameters
    ----------
    subject : Subject
    index : int
        Trial, 0-based.
    codec : Codec
        Fitted, if it needs that.
    style : Style, optional
        Shows the whole prompt.
    tokenizer : Tokenizer, optional
        Counts tokens and is asked whether it keeps the symbols apart; without one the counts are those that Qwen2's
        rule makes certain.

    Returns
    -------
    str
        HTML without scripts; nothing is loaded from elsewhere.

    Raises
    ------
    InputError
        If the codec cannot read the recording.
    """
    recording = subject.recording
    codes = codec.encode_recording(recording)
    code = codes[index * len(codes) // len(recording)]  # a codec of segments reads several to a trial: the first
    comparisons = list(codec.compare(recording))
    text = codec.to_text(code)
    prompt = _render_prompt(style, codec, recording, index, code) if style else []
    environment = Environment(loader=PackageLoader("dataset_builder"), undefined=StrictUndefined, autoescape=True)
    return environment.get_template("inspect.html.jinja").render(
        recording=recording,
        index=index,
        clip=recording.clips[index],
        emotion=recording.emotions[index],
        rank=recording.ranks[index] if recording.ranks else None,
        codec=codec,
        options=codec.config.model_dump(mode="json", exclude={"name", "normalization"}),
        text=text,
        prompt=prompt,
        tokens=_describe_tokens(codec, text, prompt, tokenizer),
        missing=[name for name in SCALP_CHANNELS if name not in recording.channels],
        pictures=_draw_signal(subject, index)
        | {"comparison": _to_address(plot_comparison(comparisons[index]), "svg+xml")},
        errors=_table_errors([comparison.measure_error() for comparison in comparisons], index),
        lost_db=LOST_DB,
    )


def _render_prompt(style: Style, codec: Codec, recording: Recording, index: int, code: Any) -> list[dict[str, str]]:
    facial = recording.facial[index] if recording.facial else None
    facts = PromptFacts(recording.age, recording.sex, facial, recording.device_sfreq_hz, recording.channels)
    return style.render_prompt(codec, code, facts, 0)


def _describe_tokens(
    codec: Codec, text: str, prompt: Sequence[dict[str, str]], tokenizer: Tokenizer | None
) -> list[tuple[str, str]]:
    """Return lines of the table of tokens."""
    whole = "\n".join(message["content"] for message in prompt)
    lines = [("values of the code, declared", f"{codec.n_tokens:,} for {codec.n_values:,} values")]
    if tokenizer is None:
        count = len(split_like_qwen2(text))
        lines.append(("code with names and marks", f"at least {count:,}, by Qwen2's rule; --tokenizer counts exactly"))
        return lines
    lines.append(("code with names and marks", f"{count_tokens(tokenizer, text):,}, counted"))
    if whole:
        lines.append(("system and user turn", f"{count_tokens(tokenizer, whole):,}, counted"))
    fault = find_fault(codec.alphabet, tokenizer)
    held = "decimals promise none" if not codec.alphabet else f"no: it {fault}" if fault else "yes, in every pair"
    return [*lines, ("one token a symbol with this tokenizer", held)]


def _draw_signal(subject: Subject, index: int) -> dict[str, str]:
    """Return the pictures that the data allow, as data addresses."""
    pictures = {}
    waves, recording = subject.waveforms, subject.recording
    if waves is not None and waves.signal_uv is not None and waves.sfreq_hz is not None:
        names = list(dict.fromkeys([name for name in (*_TRACE, *waves.channels) if name in waves.channels]))
        names = names[: len(_TRACE)]
        rows = [waves.channels.index(name) for name in names]
        pictures["trace"] = _to_address(plot_traces(waves.signal_uv[index][rows], waves.sfreq_hz, names), "png")
        spectrum = plot_spectrum(waves.signal_uv[index], waves.sfreq_hz, waves.channels)
        pictures["spectrum"] = _to_address(spectrum, "svg+xml")
    powered = waves if recording.de is None else recording
    scalp = [row for row, name in enumerate(recording.channels) if name in SCALP_CHANNELS]
    if powered is not None and len(scalp) >= MIN_MAP_CHANNELS:
        band_de = trial_de(powered.trial(index))[scalp].mean(axis=1)
        maps = plot_band_topomaps(band_de, [recording.channels[row] for row in scalp])
        pictures["topomaps"] = _to_address(maps, "png")
    return pictures


def _table_errors(errors_db: Sequence[np.ndarray], index: int) -> list[tuple[str, str, str]]:
    """Return band, error of the trial and mean over the recording, as text."""
    mean = np.mean(errors_db, axis=0)
    return [(band, f"{one:.2f}", f"{all_:.2f}") for band, one, all_ in zip(BANDS, errors_db[index], mean, strict=True)]


def _to_address(picture: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"

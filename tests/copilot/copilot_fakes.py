"""Fakes for the copilot's tests: a recording with plausible spectra, a fitted codec, an engine without a model."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter

from copilot.answer import RecordingAnswer, answer_recording
from copilot.record import Record
from copilot.record.build import build_record
from copilot.record.types import Provenance
from dataset_builder.codecs import BandPowerConfig, Codec, make_codec
from dataset_builder.prompts import DEFAULT_STYLE, PromptFacts
from dataset_builder.types import EMOTIONS, SCALP_CHANNELS, Code, Recording
from model_recipes.exporting.gguf_file import CopilotGguf, add_copilot_keys

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def make_signal(n_windows: int, n_channels: int, seed: int = 0, sfreq_hz: int = 250, seconds: int = 30) -> np.ndarray:
    """Return pink noise with an alpha peak, shape (n_windows, n_channels, n_times), float32, µV."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.normal(size=(n_windows, n_channels, sfreq_hz * seconds)))
    frequencies = np.fft.rfftfreq(sfreq_hz * seconds, 1 / sfreq_hz)
    spectrum *= np.where((frequencies > 0.5) & (frequencies < 47), 1 / np.maximum(frequencies, 0.5) ** 0.8, 0)
    spectrum[..., (frequencies > 9) & (frequencies < 11)] *= rng.uniform(1, 4, (n_windows, n_channels, 1))
    signal = np.fft.irfft(spectrum)
    return (9 * signal / signal.std()).astype(np.float32)


def make_copilot_recording(n_windows: int = 3, seed: int = 0, **facts: Any) -> Recording:
    """Return a recording of all scalp channels; `facts` override fields."""
    fields: dict[str, Any] = {
        "subject": "recording",
        "channels": SCALP_CHANNELS,
        "clips": (None,) * n_windows,
        "emotions": (None,) * n_windows,
        "signal_uv": make_signal(n_windows, len(SCALP_CHANNELS), seed),
        "sfreq_hz": 250.0,
        "age": 24,
        "sex": "F",
    }
    return Recording(**(fields | facts))


@cache
def fitted_codec() -> Codec:
    """Return a band-power codec fitted on two made-up subjects."""
    codec = make_codec(BandPowerConfig())
    return codec.fit(codec.extract(make_copilot_recording(2, seed)) for seed in (101, 102))


class FakeEngine:
    """An engine that favours one emotion and answers as trained; every call is kept.

    Parameters
    ----------
    favourite : str
        Gets `share`; the others get the rest in equal parts.
    text : str, optional
        Raw text that `generate` returns instead of a proper answer.
    prefix : str
        How answers must begin.
    """

    def __init__(
        self,
        favourite: str = "joy",
        share: float = 0.6,
        text: str | None = None,
        prefix: str = DEFAULT_STYLE.answer_prefix,
    ) -> None:
        self.favourite, self.share, self.text, self.prefix = favourite, share, text, prefix
        self.begun: list[str] = []
        self.prompts: list[list[dict[str, str]]] = []
        self.schemas: list[dict[str, Any] | None] = []

    def __enter__(self) -> "FakeEngine":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def read_prefix(self, system: str) -> None:
        self.begun_with = system

    def score_labels(self, messages: list[dict[str, str]], labels: Sequence[str], prefix: str) -> dict[str, float]:
        assert prefix == self.prefix
        self.prompts.append(messages)
        rest = (1 - self.share) / (len(labels) - 1)
        return {label: self.share if label == self.favourite else rest for label in labels}

    def generate(
        self,
        messages: list[dict[str, str]],
        schema: dict[str, Any] | None,
        *,
        prefix: str = "",
        max_tokens: int,
        seed: int,
    ) -> str:
        self.schemas.append(schema)
        self.begun.append(prefix)
        return self.text if self.text is not None else proper_answer(self.favourite)


class ScriptedEngine(FakeEngine):
    """An engine that gives each window the next row of scores."""

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.rows = list(rows)

    def score_labels(self, messages: list[dict[str, str]], labels: Sequence[str], prefix: str) -> dict[str, float]:
        self.prompts.append(messages)
        return dict(zip(labels, self.rows[len(self.prompts) - 1], strict=True))

    def generate(
        self,
        messages: list[dict[str, str]],
        schema: dict[str, Any] | None,
        *,
        prefix: str = "",
        max_tokens: int,
        seed: int,
    ) -> str:
        assert schema is not None
        self.schemas.append(schema)
        self.explained = messages
        return proper_answer(schema["properties"]["emotion"]["enum"][0])


def proper_answer(emotion: str, **facts: Any) -> str:
    """Return the answer that a model is trained to give for some code; `facts` are age and sex."""
    return DEFAULT_STYLE.render_answer(emotion, PromptFacts(**facts), fitted_codec(), some_code())


@cache
def some_code() -> Code:
    """Return the code of a made-up window."""
    return fitted_codec().encode_recording(make_copilot_recording(1))[0]


def peaked(emotion: str, share: float) -> list[float]:
    """Return nine scores with `share` on one emotion."""
    rest = (1 - share) / (len(EMOTIONS) - 1)
    return [share if name == emotion else rest for name in EMOTIONS]


def answer_with(text: str = "", emotion: str = "joy", suggestions: Sequence[str] = ()) -> str:
    """Return a raw answer with `text` as its assessment."""
    return json.dumps({"emotion": emotion, "assessment": text, "suggestions": list(suggestions)})


def make_answer(recording: Recording | None = None, engine: FakeEngine | None = None) -> RecordingAnswer:
    """Return the answer to a made-up recording."""
    recording = make_copilot_recording() if recording is None else recording
    return answer_recording(recording, engine or FakeEngine(), fitted_codec())


def make_provenance(**facts: Any) -> Provenance:
    """Return provenance of a made-up model."""
    fields = {"model": "tiny", "gguf_sha256": "ab" * 32, "quantisation": "F16", "codec": "band_power"}
    return Provenance(**(fields | facts))


def make_record(recording: Recording | None = None, engine: FakeEngine | None = None, **facts: Any) -> Record:
    """Return the record of a made-up recording; `facts` go into its provenance."""
    recording = make_copilot_recording() if recording is None else recording
    answer = make_answer(recording, engine)
    return build_record(recording, answer, make_provenance(**facts), sha256="cd" * 32, created=CREATED)


def write_fake_gguf(path: Path, synthetic: bool = True) -> Path:
    """Write a GGUF file with our keys and a codec but without any weight."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, "qwen2")
    writer.add_name("tiny-copilot")
    facts = {"base": "tiny-base"}
    add_copilot_keys(
        writer, CopilotGguf(fitted_codec(), "tiny-copilot", "0.1.0", "tiny-corpus", synthetic, "F16", facts)
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

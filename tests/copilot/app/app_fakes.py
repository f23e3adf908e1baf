"""What the tests of the page share: a recording that says who it is, and an engine that answers piece by piece."""

from collections.abc import Callable, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any

import numpy as np
from edfio import Edf, EdfAnnotation, EdfSignal, Patient
from edfio import Recording as EdfRecording

from copilot.app.desk import Desk, DeskOptions
from copilot.app.models import ModelShelf
from copilot.app.privacy import PrivateFolder
from dataset_builder.types import SCALP_CHANNELS
from tests.copilot.copilot_fakes import FakeEngine, make_signal, write_fake_gguf

#: What the made-up recording's header, annotations and file name hold and nothing may show or keep.
PLANTED = ("Yersinia", "Quackenbush", "MRN-778899", "Zwingli", "AMP-4711", "says hello")

_FILE_NAME = "Yersinia_Quackenbush_1931.edf"


class StreamingEngine(FakeEngine):
    """A fake engine that tells its answer in pieces, and can be stopped."""

    def __init__(self, favourite: str = "sadness", share: float = 0.6, text: str | None = None) -> None:
        super().__init__(favourite, share, text)
        self.cancelled = 0
        self.closed = False

    def generate(
        self,
        messages: list[dict[str, str]],
        schema: dict[str, Any] | None,
        *,
        on_token: Callable[[str], Any] | None = None,
        **options: Any,
    ) -> str:
        answer = super().generate(messages, schema, **options)
        for start in range(0, len(answer), 7):
            if on_token is not None:
                on_token(answer[start : start + 7])
        return answer

    def cancel(self) -> None:
        self.cancelled += 1

    def close(self) -> None:
        self.closed = True


def write_named_edf(folder: Path, missing: Sequence[str] = ("O2",), seconds: int = 60) -> Path:
    """Write EEG whose file name, header and annotation say whose it is."""
    channels = [name for name in SCALP_CHANNELS if name not in missing]
    rows = np.clip(make_signal(1, len(channels), seconds=seconds)[0], -400, 400).astype(float)
    signals = [
        EdfSignal(row, 250, label=f"EEG {name}", physical_dimension="uV", physical_range=(-400, 400))
        for name, row in zip(channels, rows, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _FILE_NAME
    Edf(
        signals,
        patient=Patient(code="MRN-778899", sex="F", birthdate=date(1931, 2, 3), name="Yersinia_Quackenbush"),
        recording=EdfRecording(
            startdate=date(2021, 4, 5), investigator_technician_code="Dr_Zwingli", equipment_code="AMP-4711"
        ),
        starttime=time(10, 11, 12),
        annotations=[EdfAnnotation(3, None, "Quackenbush says hello")],
    ).write(path)
    return path


def write_poor_edf(folder: Path) -> Path:
    """Write EEG of too few good channels: five are flat, twelve are noisy, some have no place on the scalp."""
    names = [*SCALP_CHANNELS, "EOG1", "Status1"]
    rows = make_signal(1, len(names), seed=3, seconds=70)[0].astype(float)
    rows[:5] = 0
    rows[5:17] *= 30
    signals = [
        EdfSignal(row.clip(-3000, 3000), 250, label=name, physical_dimension="uV", physical_range=(-3000, 3000))
        for name, row in zip(names, rows, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "poor.edf"
    Edf(signals).write(path)
    return path


def make_desk(folder: Path, engine: FakeEngine | None = None, **options: Any) -> Desk:
    """Return a desk with one model file and a fake engine."""
    folder.mkdir(parents=True, exist_ok=True)
    model = write_fake_gguf(folder / "models" / "tiny-F16.gguf")
    shelf = ModelShelf([model.parent], open_engine=lambda path, n_threads=None: engine or StreamingEngine())
    return Desk(shelf, PrivateFolder(folder), DeskOptions(**options))

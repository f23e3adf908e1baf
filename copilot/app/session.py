"""What one browser tab has loaded: in memory only, and gone with the tab. Its folder serves while a file is read."""

import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from copilot.answer import RecordingAnswer
from copilot.app.channels import ChannelQuality
from copilot.app.intake import Intake
from copilot.app.models import ChosenModel
from copilot.app.why import Control
from copilot.app.words import UiLanguage, Words, load_words
from copilot.record.review import Review
from dataset_builder.quality import Quality
from dataset_builder.types import Recording


@dataclass(frozen=True)
class Signal:
    """The recording as the model will read it, judged.

    Parameters
    ----------
    recording : Recording
        Cut as the chosen model's codec reads it.
    quality : Quality
    channels : tuple of ChannelQuality
    """

    recording: Recording
    quality: Quality
    channels: tuple[ChannelQuality, ...]


@dataclass
class Session:
    """The state of one tab; `steps` changes it, `views` shows it.

    Parameters
    ----------
    folder : Path
        Private folder of this tab, empty but while a file is read.
    token : str
        Secret that the addresses of this tab's downloads hold.
    language : {"en", "zh"}
    """

    folder: Path
    token: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    language: UiLanguage = "en"
    model: ChosenModel | None = None
    intake: Intake | None = None
    age: int | None = None
    sex: str | None = None
    window: int = 0
    signal: Signal | None = None
    answer: RecordingAnswer | None = None
    seconds: float = 0.0
    controls: tuple[Control, ...] = ()
    review: Review | None = None
    pictures: dict[int, Any] = field(default_factory=dict)
    looking: bool = False
    stopping: bool = False
    cancel: Callable[[], None] | None = None
    ticked: tuple[str, ...] = ()
    message: str = ""
    failed: bool = False
    closed: bool = False

    @property
    def words(self) -> Words:
        """The words of the session's language."""
        return load_words(self.language)

    def forget_answer(self) -> None:
        """Drop what was answered and reviewed."""
        self.answer, self.review, self.controls, self.seconds, self.ticked = None, None, (), 0.0, ()

    def forget_recording(self) -> None:
        """Drop the recording and all that follows from it."""
        self.forget_answer()
        self.intake, self.signal, self.window, self.age, self.sex = None, None, 0, None, None
        self.pictures.clear()
        for path in self.folder.glob("*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def stop(self) -> None:
        """Stop an answer in progress."""
        self.stopping = True
        if (cancel := self.cancel) is not None:
            cancel()

    def close(self) -> None:
        """End the session: nothing of it stays, in memory or on disk. Harmless when done twice."""
        self.stop()
        self.forget_recording()
        self.model, self.message, self.closed = None, "", True
        shutil.rmtree(self.folder, ignore_errors=True)

"""What every source offers: subjects, their recordings, and where the data come from."""

from abc import ABC, abstractmethod
from pathlib import Path

from dataset_builder.errors import InputError
from dataset_builder.manifest import Artifact
from dataset_builder.recipe import StrictModel
from dataset_builder.types import Recording


class DroppedRecording(InputError):
    """A recording that must not be used; the corpus leaves it out and counts `reason`.

    Parameters
    ----------
    message : str
        One line for a reader who asked for this recording alone.
    reason : str
        Short text to count by, without any identifier.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class SourceInfo(StrictModel):
    """Origin of a data set, carried into cards.

    Parameters
    ----------
    name, title : str
    synthetic : bool
    licence_id : str
        An identifier of the Hub's list, ``"other"`` if none fits.
    licence_name : str
    citation, url : str
    population : str
        One sentence: who was recorded, and what that does not cover.
    """

    name: str
    title: str
    synthetic: bool
    licence_id: str
    licence_name: str
    citation: str
    url: str
    population: str


class Source(ABC):
    """A data set on disk.

    Parameters
    ----------
    root : Path
        Folder of the data set.

    Raises
    ------
    InputError
        If the folder is missing or is not this data set.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    @abstractmethod
    def info(self) -> SourceInfo:
        """Origin, licence, citation, population."""

    @abstractmethod
    def subjects(self) -> list[str]:
        """Return the pseudonyms of all subjects with data, sorted."""

    @abstractmethod
    def read(self, subject: str, reads: str = "de") -> Recording:
        """Read one subject.

        Parameters
        ----------
        subject : str
        reads : {"de", "signal_uv"}
            Which array is needed; the other one may be left out to save time. With ``"de"`` and only waveforms on
            disk the recording carries the waveforms.

        Raises
        ------
        InputError
            If a file is missing, damaged or of a wrong shape.
        DroppedRecording
            If the data are known to be unusable.
        """

    @abstractmethod
    def inventory(self, subject: str, reads: str = "de") -> list[Artifact]:
        """Return the files that `read` opens for a subject, by content, named relative to the root."""

    @abstractmethod
    def tables(self) -> list[Artifact]:
        """Return the files shared by all subjects."""

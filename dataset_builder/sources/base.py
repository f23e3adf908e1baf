"""What every source offers: subjects, their recordings, and where the data come from."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from dataset_builder.errors import InputError
from dataset_builder.preprocess import PreprocessingConfig
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


class SourceConfig(StrictModel):
    """What every source can be told; a source adds its own keys in a subclass.

    Parameters
    ----------
    name : str
        A name in `dataset_builder.sources.SOURCES`.
    subjects : "all" or list of str
        Which pseudonyms are read.
    """

    name: str
    subjects: Literal["all"] | list[str] = "all"


class Source(ABC):
    """A data set that is read subject by subject.

    Parameters
    ----------
    root : Path
        Folder of the data set.
    config : SourceConfig, optional
        An instance of the source's `Config`; its defaults if not given.
    preprocessing : PreprocessingConfig, optional
        How continuous recordings become trials. Data that were released as trials are taken as they are.

    Raises
    ------
    InputError
        If the folder is missing or is not this data set.
    """

    Config: ClassVar[type[SourceConfig]]

    def __init__(
        self,
        root: Path,
        config: SourceConfig | None = None,
        preprocessing: PreprocessingConfig | None = None,
    ) -> None:
        self.root = Path(root)
        self.config: Any = config or self.Config.model_validate({})
        self.preprocessing = preprocessing or PreprocessingConfig()

    @property
    @abstractmethod
    def info(self) -> SourceInfo:
        """Origin, licence, citation, population."""

    @abstractmethod
    def subjects(self) -> list[str]:
        """Return the pseudonyms of all subjects with data, sorted.

        Raises
        ------
        InputError
            If nobody has data.
        """

    @abstractmethod
    def read(self, subject: str, reads: str = "de") -> Recording:
        """Read one subject.

        Parameters
        ----------
        subject : str
        reads : {"de", "psd", "signal_uv"}
            Which array is needed; others may be left out to save time. With ``"de"`` or ``"psd"`` and only waveforms
            on disk the recording carries the waveforms.

        Raises
        ------
        InputError
            If a file is missing, damaged or of a wrong shape.
        DroppedRecording
            If the data are known to be unusable.
        """

    @abstractmethod
    def files(self, subject: str, reads: str = "de") -> list[Path]:
        """Return the files that `read` opens for a subject."""

    @abstractmethod
    def tables(self) -> list[Path]:
        """Return the files that are shared by all subjects."""

    def name_file(self, path: Path) -> str:
        """Return what manifests call a file: its path under the root, unless that may hold a person's name."""
        return path.relative_to(self.root).as_posix()


class Layout(Source):
    """A source with a layout of its own on disk, of which a made-up twin can be written."""

    @classmethod
    @abstractmethod
    def write_fake(cls, root: Path, n_subjects: int = 2, seed: int = 17) -> Self:
        """Write a made-up data set in the exact layout of this source and return the source that reads it.

        It is small and fast rather than realistic, is marked as synthetic, and holds the layout's known quirks.
        """

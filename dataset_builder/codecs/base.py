"""What every codec offers: Recording -> Features -> Code -> text and back, with declared cost and error."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from safetensors.numpy import load, save

from dataset_builder.codecs.fidelity import Comparison
from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel, validate
from dataset_builder.types import Code, Recording

if TYPE_CHECKING:
    from dataset_builder.codecs.fitted import Fitted

#: What a codec keeps of one recording: plain arrays whose first axis is the trial, a few MB at most.
Features = dict[str, np.ndarray]


@dataclass(frozen=True)
class Target:
    """What a supervised fit may know of a training trial.

    Parameters
    ----------
    clip : int or None
        Stimulus number.
    emotion : str or None
        One of `EMOTIONS`; a trial without one is not learned from.
    start_s : float or None
        Where a segment begins within its stimulus window; None for a whole window.
    """

    clip: int | None
    emotion: str | None
    start_s: float | None = None


class Codec(ABC):
    """Compress the trials of one recording into few symbols and write them as text.

    Only `extract` sees signals; it needs no fit and never sees labels. All else works on what it keeps, so a corpus
    reads each recording once.

    Parameters
    ----------
    config : StrictModel
        An instance of the codec's `Config`.
    state : dict of str to ndarray, optional
        What `fit` learned from the training subjects; empty for codecs that learn nothing.
    """

    name: ClassVar[str]
    Config: ClassVar[type[StrictModel]]
    #: Whether `encode` needs what `fit` learns.
    needs_fit: ClassVar[bool] = False
    #: Whether the fit needs labels: then `fit_supervised` takes the place of `fit`.
    supervised: ClassVar[bool] = False

    def __init__(self, config: StrictModel, state: dict[str, np.ndarray] | None = None) -> None:
        self.config: Any = config
        self.state = state or {}

    @property
    @abstractmethod
    def reads(self) -> str:
        """Which array of a recording is read: ``"signal_uv"``, ``"de"`` or ``"psd"`` (both computed if absent)."""

    @abstractmethod
    def extract(self, recording: Recording) -> Features:
        """Return what the codec keeps of a recording, without labels and before any scaling to the person.

        Returns
        -------
        dict of str to ndarray
            Every array has n_trials as its first axis. ``ranks`` (int16, 0 where unknown) is the order of
            presentation, where the scaling needs it.

        Raises
        ------
        InputError
            If the recording lacks what the codec reads.
        """

    def fit(self, people: Iterable[Features]) -> Self:
        """Return a copy fitted on the training subjects' training trials. The default learns nothing."""
        return self

    def fit_supervised(
        self, people: Mapping[str, Features], targets: Mapping[str, Sequence[Target]], seed: int
    ) -> "Fitted":
        """Return copies fitted on the training subjects' training trials and their labels.

        Parameters
        ----------
        people : dict of str to Features
            The training trials of each training subject.
        targets : dict of str to sequence of Target
            One per trial of each of them.
        seed : int
            Decides who is left out together.

        Raises
        ------
        InputError
            If the codec uses no labels, or too little is given to learn from.
        """
        raise InputError(f"codec {self.name}: uses no labels; fit takes the place of fit_supervised")

    @abstractmethod
    def encode(self, features: Features) -> list[Code]:
        """Encode all trials of one person; given together because scaling to the person needs them.

        Raises
        ------
        InputError
            If the codec needs a fit that it has not had, or an order of presentation that is unknown.
        """

    def cut(self, recording: Recording) -> Recording:
        """Return a recording whose trials are as long as the codec reads them; the default takes them as they are.

        Raises
        ------
        InputError
            If trials cannot be cut so.
        """
        return recording

    def encode_recording(self, recording: Recording) -> list[Code]:
        """Encode all trials of a recording, cut as the codec needs it: one code per trial of `cut`.

        See `cut`, `extract` and `encode` for what is raised.
        """
        return self.encode(self.extract(self.cut(recording)))

    @abstractmethod
    def decode(self, code: Code) -> np.ndarray:
        """Return the array that `code` stands for; differs from what was quantised by at most `error_bound`."""

    @abstractmethod
    def compare(self, recording: Recording) -> Iterator[Comparison]:
        """Yield each trial decoded beside the truth. A level that the code leaves out is taken from the truth."""

    def measure_error(self, recording: Recording) -> np.ndarray:
        """Return how far band power is from the truth after decoding.

        Returns
        -------
        ndarray of shape (n_trials, 5), float64, dB
            Mean of ``|10 log10(decoded power / true power)|`` over the places that the code holds, per band of
            `BANDS`. A band that is lost counts `dataset_builder.codecs.fidelity.LOST_DB` (40).
        """
        return np.array([comparison.measure_error() for comparison in self.compare(recording)])

    @property
    @abstractmethod
    def normalization(self) -> str:
        """How values are scaled: ``none``, ``session``, ``calibration-4``, ``causal`` or ``trial`` (each by itself)."""

    @property
    def calibration_trials(self) -> int:
        """How many of a person's first trials set the scale of all others; 0 if none are set apart for it."""
        return 0

    @property
    @abstractmethod
    def error_bound(self) -> float:
        """Largest absolute difference between an unclipped value and its decoded symbol, in the codec's unit."""

    @property
    @abstractmethod
    def n_values(self) -> int:
        """How many values one code holds."""

    @property
    @abstractmethod
    def n_tokens(self) -> int:
        """How many tokens the values of one code cost, names and group marks aside, under Qwen2's rule."""

    @property
    def levels(self) -> int | None:
        """Steps of the quantiser; None for decimals."""
        return None

    @property
    def alphabet(self) -> tuple[str, ...]:
        """The exact texts of the symbols, each to be one token (see `check_alphabet`); empty for decimals."""
        return ()

    @abstractmethod
    def to_text(self, code: Code) -> str:
        """Write the code as the text that the model reads."""

    @abstractmethod
    def from_text(self, text: str) -> Code:
        """Read `to_text` back.

        Raises
        ------
        InputError
            If the text is not what `to_text` writes.
        """

    @property
    def legend(self) -> str:
        """One or two sentences in English for the system prompt that say how to read the text."""
        return self.explain("en")

    @abstractmethod
    def explain(self, language: str = "en") -> str:
        """Return the legend in a language, ``"en"`` or ``"zh"``."""

    def read_probabilities(self, code: Code) -> np.ndarray | None:
        """Return the nine class probabilities that the code itself states, in the order of `EMOTIONS`.

        Returns
        -------
        ndarray of shape (9,), float64, or None
            None for codes that state none: all that see no labels.
        """
        return None

    def describe(self, code: Code, language: str = "en") -> str:
        """Say in one sentence what stands out in the code; empty if the codec has nothing to say."""
        return ""


def dump_codec(codec: Codec) -> bytes:
    """Return name, config and fitted arrays of a codec as safetensors bytes."""
    # One metadata entry only: safetensors writes several in no fixed order, and equal codecs must give equal bytes.
    # Contiguous, because safetensors writes memory as it lies.
    state = {name: np.ascontiguousarray(array) for name, array in codec.state.items()}
    return save(state, metadata={"codec": json.dumps(codec.config.model_dump(mode="json"), sort_keys=True)})


def restore_codec(data: bytes, codecs: dict[str, type[Codec]]) -> Codec:
    """Rebuild a codec from `dump_codec` bytes.

    Raises
    ------
    InputError
        If the bytes are not such a file or name a codec that is not in `codecs`.
    """
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        config, state = json.loads(header["codec"]), load(data)
        name = config["name"]
    except Exception as error:  # safetensors raises its own Rust-side classes
        raise InputError(f"codec file: cannot be read ({type(error).__name__})") from None
    if name not in codecs:
        raise InputError(f"codec file: unknown codec {name!r}; known: {', '.join(sorted(codecs))}")
    return codecs[name](validate(codecs[name].Config, config, where="codec file"), state)

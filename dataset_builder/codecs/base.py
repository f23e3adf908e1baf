"""What every codec offers: Trial -> Code -> text and back, with a declared error."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from safetensors.numpy import load, save

from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel, validate
from dataset_builder.types import Code, Recording, Trial


class Codec(ABC):
    """Compress the trials of one recording into few symbols and write them as text.

    Parameters
    ----------
    config : StrictModel
        An instance of the codec's `Config`.
    state : dict of str to ndarray, optional
        What `fit` learned from the training subjects; empty for codecs that learn nothing.
    """

    name: ClassVar[str]
    Config: ClassVar[type[StrictModel]]
    #: Which arrays of a recording the codec reads: ``"signal_uv"`` or ``"de"`` (computed from the signal if absent).
    reads: ClassVar[str]

    def __init__(self, config: StrictModel, state: dict[str, np.ndarray] | None = None) -> None:
        self.config: Any = config
        self.state = state or {}

    def fit(self, recordings: Iterable[Recording]) -> Self:
        """Return a copy fitted on the training subjects (labels are never used). The default learns nothing."""
        return self

    @abstractmethod
    def encode(self, trials: Sequence[Trial]) -> list[Code]:
        """Encode trials of one recording; given together because scaling to the person needs all of them.

        Raises
        ------
        InputError
            If the recording lacks what the codec reads.
        """

    @abstractmethod
    def decode(self, code: Code) -> np.ndarray:
        """Return the array that `code` stands for; differs from what was quantised by at most `error_bound`."""

    @property
    @abstractmethod
    def error_bound(self) -> float:
        """Largest absolute difference between an unclipped value and its decoded symbol, in the codec's unit."""

    @property
    @abstractmethod
    def n_values(self) -> int:
        """How many values one code holds."""

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
    @abstractmethod
    def legend(self) -> str:
        """One or two sentences for the system prompt that say how to read the text."""

    def describe(self, code: Code) -> str:
        """Say in one sentence what stands out in the code; empty if the codec has nothing to say."""
        return ""


def dump_codec(codec: Codec) -> bytes:
    """Return name, config and fitted arrays of a codec as safetensors bytes."""
    # One metadata entry only: safetensors writes several in no fixed order, and equal codecs must give equal bytes.
    return save(codec.state, metadata={"codec": json.dumps(codec.config.model_dump(mode="json"), sort_keys=True)})


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

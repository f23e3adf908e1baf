"""Which GGUF files can be chosen, and the one that is loaded."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from copilot.record.provenance import describe_model
from copilot.record.types import Provenance
from dataset_builder.codecs import Codec
from dataset_builder.errors import InputError
from dataset_builder.prompts import Style, get_style
from model_recipes.engine import Engine
from model_recipes.exporting.gguf_file import read_copilot_gguf

#: Where ``eeg-copilot demo`` and ``eeg-copilot reproduce`` leave their files, seen from where they were started.
_USUAL_PLACES = (".", "demo/gguf", "gguf", "run/gguf")

#: A folder with more files than this is not a folder of models.
_MOST_FILES = 50

#: A page asks for many answers, so it pays to open a model for speed.
_ENGINE = partial(Engine, large_pages=True)

#: How long the end waits for an answer that was stopped, s.
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class ChosenModel:
    """A GGUF file of ours that can be asked.

    Parameters
    ----------
    path : Path
    codec : Codec
        The fitted codec that belongs to it.
    style : Style
        The prompts that it was trained with.
    provenance : Provenance
        What a record says of it, its hash among it.
    """

    path: Path
    codec: Codec
    style: Style
    provenance: Provenance


class ModelShelf:
    """The models of this computer; one at a time is in memory, shared by all sessions.

    Parameters
    ----------
    places : sequence of Path
        Files, and folders that are looked through one level deep.
    n_threads : int, optional
        Threads of the engine.
    open_engine : callable, optional
        Makes an engine of a path and a number of threads.
    """

    def __init__(
        self,
        places: Sequence[Path],
        n_threads: int | None = None,
        open_engine: Callable[..., Any] = _ENGINE,
    ) -> None:
        self.files = list_models(places)
        self._n_threads, self._open = n_threads, open_engine
        self._lock = threading.Lock()  # no RLock: the page takes the steps of an answer in any of its threads
        self._loaded: tuple[Path, Any] | None = None
        self._known: dict[tuple[Path, int, int], ChosenModel] = {}

    def choose(self, path: Path) -> ChosenModel:
        """Read what a file says of itself.

        Raises
        ------
        InputError
            If it is no GGUF file of ours.
        """
        try:
            status = path.stat()
        except OSError:
            raise InputError(f"{path.name}: no such file; accepted: a GGUF file written by eeg-copilot gguf") from None
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._known:
            read = read_copilot_gguf(path)
            self._known[key] = ChosenModel(path, read.codec, get_style(read.prompt), describe_model(read, path))
        return self._known[key]

    @contextmanager
    def borrow(self, model: ChosenModel) -> Iterator[Any]:
        """Lend the engine to one session at a time; another model takes the place of the one that was loaded."""
        with self._lock:
            if self._loaded is None or self._loaded[0] != model.path:
                self._unload()
                self._loaded = model.path, self._open(model.path, n_threads=self._n_threads)
            yield self._loaded[1]

    def warm(self, model: ChosenModel) -> None:
        """Load a model and read what all its prompts begin with, so that the first answer is as quick as the others."""
        with self.borrow(model) as engine:
            engine.read_prefix(model.style.render_system(model.codec))

    def close(self) -> None:
        """Free the model; harmless when none is loaded. One that is still lent after a while ends with the process."""
        if self._lock.acquire(timeout=_PATIENCE_S):
            try:
                self._unload()
            finally:
                self._lock.release()

    def _unload(self) -> None:
        if self._loaded is not None:
            self._loaded[1].close()
        self._loaded = None


def list_models(places: Sequence[Path]) -> list[Path]:
    """Return the GGUF files among files and in folders, in order, each once.

    Raises
    ------
    InputError
        If a place does not exist.
    """
    files: list[Path] = []
    for place in places:
        if not place.exists():
            raise InputError(f"{place.name}: no such file or folder; accepted: a GGUF file, or a folder with some")
        files += sorted(place.glob("*.gguf"))[:_MOST_FILES] if place.is_dir() else [place]
    return list({path.resolve(): path for path in files}.values())


def find_usual_places() -> list[Path]:
    """Return the folders that models usually lie in, seen from the current one."""
    return [Path(place) for place in _USUAL_PLACES if Path(place).is_dir()]

"""Real files as what the fuzzer damages, where somebody has some.

``EEG_COPILOT_FUZZ_FILES=FOLDER make nightly`` takes files from anywhere below a folder: recordings of all formats,
FACED's pickles, ratings and tables. They are copied to the test's own folder before they are damaged, no more than a
few of each kind, and none above 3 MB but as a companion that stays as it is. ``EEG_COPILOT_FUZZ_INPUTS`` says how many
inputs each gets (default 200). Files are called by kind and number: names can be people's.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.robustness.mutations import MAX_BYTES
from tests.robustness.targets import TARGETS, Target

FILES_VARIABLE = "EEG_COPILOT_FUZZ_FILES"

INPUTS_VARIABLE = "EEG_COPILOT_FUZZ_INPUTS"

#: Files of one kind, spread over the folder; a hundred people's pickles differ in their numbers only.
_MOST = 40

#: How many of a kind that a release holds for every person.
_FEW = 3

#: Suffix -> dialect of files that a header names.
_COMPANIONS = {".fdt": "binary", ".vmrk": "text", ".eeg": "binary", ".dat": "binary"}


def _read_recording(path: Path) -> Any:
    from copilot.deid import preview_header
    from dataset_builder.sources.recordings import read_recording

    preview_header(path)
    return read_recording(path)


def _read_features(path: Path) -> Any:
    from dataset_builder.sources.safe_pickle import load_array

    return load_array(path, (28, 32, 30, 5), "EEG_Features/DE/sub000.pkl.pkl", finite=True)


def _read_ratings(path: Path) -> Any:
    from dataset_builder.sources.ratings import read_ratings

    return read_ratings(path, 28, "Data/sub000/After_remarks.mat")


def _read_matrices(path: Path) -> Any:
    from dataset_builder.sources.mat_files import list_arrays, load_array

    return [load_array(path, key, "1/1.mat", 100_000) for key in list_arrays(path, "1/1.mat")]


def _read_clips(path: Path) -> Any:
    from dataset_builder.sources.faced_tables import check_clips

    check_clips(path)
    return True


def _read_people(path: Path) -> Any:
    from dataset_builder.sources.faced_tables import read_people

    return [int(person["Age"]) for person in read_people(path.parent).values()]


def _load_libraries(folder: Path) -> None:
    """Read a made-up recording: what a library does while it is imported must not be taken for a reader's doing."""
    folder.mkdir()
    valid = TARGETS["edf"]()
    valid.build(folder)
    valid.read(folder)
    shutil.rmtree(folder)


@dataclass(frozen=True)
class _Kind:
    pattern: str
    dialect: str
    read: Callable[[Path], Any]
    most: int = _MOST


_KINDS: dict[str, _Kind] = {
    "edf": _Kind("*.edf", "binary", _read_recording),
    "bdf": _Kind("*.bdf", "binary", _read_recording),
    "fif": _Kind("*.fif", "binary", _read_recording),
    "set": _Kind("*.set", "mat", _read_recording),
    "vhdr": _Kind("*.vhdr", "text", _read_recording),
    "pickle": _Kind("sub*.pkl.pkl", "pickle", _read_features, _FEW),
    "ratings": _Kind("After_remarks.mat", "mat", _read_ratings, _FEW),
    "mat": _Kind("[!A]*.mat", "mat", _read_matrices, _FEW),
    "clips": _Kind("Stimuli_info.xlsx", "zip", _read_clips, _FEW),
    "people": _Kind("Recording_info.csv", "text", _read_people, _FEW),
}


class RealFile(Target):
    """One file of somebody's, and what lies beside it under the same name.

    Parameters
    ----------
    name : str
    path : Path
    kind : str
        A key of `_KINDS`.
    """

    #: A real file may be one that we refuse: too short, too few channels. It still must be refused well.
    must_be_read = False

    def __init__(self, name: str, path: Path, kind: str) -> None:
        self.name, self.path, self.kind = name, path, _KINDS[kind]  # type: ignore[misc]
        found = {path.name: self.kind.dialect} | {other.name: _COMPANIONS[other.suffix] for other in self._beside()}
        sizes = {name: path.with_name(name).stat().st_size for name in found}
        self.files = {name: dialect for name, dialect in found.items() if 0 < sizes[name] <= MAX_BYTES}  # type: ignore[misc]

    def build(self, folder: Path) -> None:
        if self.kind.read is _read_recording:
            _load_libraries(folder / "valid")
        for path in (self.path, *self._beside()):
            shutil.copyfile(path, folder / path.name)  # without its rights: it is written to

    def read(self, folder: Path) -> Any:
        return self.kind.read(folder / self.path.name)

    @property
    def private(self) -> str:
        """What no message may hold; a short name can be a word of ours."""
        return self.path.name if self.kind.read is _read_recording else ""

    def _beside(self) -> list[Path]:
        """Return files that the header names, and those of the same name."""
        header = self.path.read_bytes()[:MAX_BYTES]
        others = [path for path in sorted(self.path.parent.iterdir()) if path.suffix in _COMPANIONS and path.is_file()]
        return [path for path in others if path.stem == self.path.stem or path.name.encode() in header]


@cache
def find_real_files() -> dict[str, Callable[[], Target]]:
    """Return a target for each real file that is to be damaged; none where no folder is given."""
    root = os.environ.get(FILES_VARIABLE)
    targets: dict[str, Callable[[], Target]] = {}
    for kind, facts in _KINDS.items() if root else ():
        found = sorted(path for path in Path(str(root)).rglob(facts.pattern) if path.is_file())
        for number, path in enumerate(found[:: -(-len(found) // facts.most) or 1], 1):
            name = f"real-{kind}-{number}"
            if RealFile(name, path, kind).files:
                targets[name] = lambda name=name, path=path, kind=kind: RealFile(name, path, kind)  # type: ignore[misc]
    return targets


def count_inputs() -> int:
    """Return how many inputs each real file gets."""
    return int(os.environ.get(INPUTS_VARIABLE, "200"))

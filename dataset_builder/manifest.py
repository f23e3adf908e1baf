"""Manifests: what a run did, written last into its folder, so that its presence means "complete" (see `stage`)."""

import errno
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pydantic import Field

from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel, validate

MANIFEST = "manifest.json"

#: What the system says of a lock that somebody else holds; any other answer means that it knows no locks here.
LOCK_HELD = (errno.EACCES, errno.EAGAIN)

#: How temporary files are opened; a link in their place is not followed.
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW


class Metric(StrictModel):
    """One measured number with everything needed to read it.

    Parameters
    ----------
    name : str
        For example ``"balanced_accuracy"`` or ``"perplexity"``.
    value : float
    n : int
        How many units (`unit`) were measured.
    unit : str
        What `n` counts: ``"trials"``, ``"tokens"``, ``"recordings"``.
    split : str
        Split or text that was measured.
    protocol : str
        ``"unseen subjects"`` or ``"unseen subjects and clips"`` for emotion metrics; free text elsewhere.
    interval : list of two floats, or None
        95 % interval; how it was made stands in `method`.
    chance : float or None
        What guessing reaches under the same protocol.
    reader : str
        Who answered: ``"language model"``, ``"linear probe"`` ...
    method : str
        How value and interval were computed.
    """

    name: str
    value: float
    n: int
    unit: str
    split: str
    protocol: str = ""
    interval: list[float] | None = None
    chance: float | None = None
    reader: str = ""
    method: str = ""


class Parent(StrictModel):
    """A stage whose folder was read, by the digest of its manifest."""

    stage: str
    folder: str
    sha256: str


class Artifact(StrictModel):
    """One file of a stage, by content."""

    name: str
    bytes: int
    sha256: str


class Manifest(StrictModel):
    """What a run did. See the field names; `facts` holds what only one stage knows (shapes, parameters, tokens)."""

    stage: str
    key: str
    synthetic: bool = False
    recipe: dict[str, Any]
    inputs: list[Artifact] = Field(default_factory=list)
    parents: list[Parent] = Field(default_factory=list)
    outputs: list[Artifact] = Field(default_factory=list)
    dropped: dict[str, int] = Field(default_factory=dict)
    facts: dict[str, Any] = Field(default_factory=dict)
    metrics: list[Metric] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    seed: int | None = None
    started: str
    seconds: float
    packages: dict[str, str]
    hardware: dict[str, Any]
    code: dict[str, Any]

    def list_outputs(self, suffix: str) -> list[Artifact]:
        """Return the outputs with a suffix that lie at the top of the folder."""
        return [item for item in self.outputs if item.name.endswith(suffix) and "/" not in item.name]

    def metric(self, name: str, **where: str) -> Metric | None:
        """Return the first metric called `name` whose fields equal `where`, or None."""
        for metric in self.metrics:
            if metric.name == name and all(getattr(metric, key) == value for key, value in where.items()):
                return metric
        return None


def read_manifest(folder: str | Path) -> Manifest:
    """Read the manifest of a finished stage.

    Raises
    ------
    InputError
        If the folder does not exist, is incomplete, or its manifest is not ours.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        state = "no such folder" if not folder.exists() else f"no {MANIFEST}, so it is not a finished stage"
        raise InputError(f"{folder.name}: {state}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder.name}/{MANIFEST}: cannot be read ({type(error).__name__})") from None
    return validate(Manifest, values, where=f"{folder.name}/{MANIFEST}")


def describe_file(path: Path, root: Path) -> Artifact:
    """Return name (relative to `root`, so no path of the machine), size and sha256 of a file."""
    return Artifact(name=path.relative_to(root).as_posix(), bytes=path.stat().st_size, sha256=hash_file(path))


def describe_parent(folder: str | Path, out: str | Path) -> Parent:
    """Return the link from a stage in `out` to the stage in `folder`."""
    manifest = Path(folder) / MANIFEST
    relative = os.path.relpath(folder, Path(out))
    inside = not relative.startswith(os.path.join("..", ".."))
    return Parent(
        stage=read_manifest(folder).stage,
        folder=relative.replace(os.sep, "/") if inside else Path(folder).name,
        sha256=hash_file(manifest),
    )


def hash_file(path: str | Path) -> str:
    """Return the sha256 of a file as hex text."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically: under a temporary name first, then renamed."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: under a temporary name first, then renamed.

    What a killed process left of such a write is taken over; what another one is writing is let be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, descriptor = _open_temporary(path)
    with open(descriptor, "wb") as stream:
        try:
            stream.write(data)
            stream.flush()
            os.replace(temporary, path)  # while it is locked: nobody else may take it over between the two
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _open_temporary(path: Path) -> tuple[Path, int]:
    """Return the temporary name of a file and its descriptor, empty.

    The name is the same for all processes, so that none leaves more than one, and belongs to the one that holds the
    system's lock on it. Where another does, or the system knows no locks, the name has the process's number.
    """
    shared = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(shared, _OPEN, 0o666)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), shared.stat()):
            os.ftruncate(descriptor, 0)
            return shared, descriptor
    except FileNotFoundError:  # renamed by its owner just now
        pass
    except OSError as error:
        if error.errno not in LOCK_HELD:
            shared.unlink(missing_ok=True)
    os.close(descriptor)
    own = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    return own, os.open(own, _OPEN | os.O_TRUNC, 0o666)

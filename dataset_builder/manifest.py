"""Manifests: what a run did, written last into its folder, so that its presence means "complete".

Every stage writes into ``<out>.partial`` beside its target and swaps the folder in when all is done (`open_stage`).
A run that dies leaves only the ``.partial`` folder, which no later stage accepts.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import Field

from dataset_builder.errors import CopilotError, InputError
from dataset_builder.recipe import StrictModel, validate

MANIFEST = "manifest.json"

#: Packages whose versions can change a result.
PACKAGES = (
    "accelerate datasets gguf huggingface-hub libgguf mne numpy peft pyarrow PyWavelets safetensors scikit-learn scipy "
    "tokenizers torch torch-pruning transformers trl xllamacpp"
).split()


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

    def metric(self, name: str, **where: str) -> Metric | None:
        """Return the first metric called `name` whose fields equal `where`, or None."""
        for metric in self.metrics:
            if metric.name == name and all(getattr(metric, key) == value for key, value in where.items()):
                return metric
        return None


@dataclass
class Stage:
    """The open folder of a running stage; fill the lists, they end in the manifest.

    Parameters
    ----------
    folder : Path
        Where to write: the ``.partial`` folder.
    resumed : bool
        True when an interrupted run with the same key left work in `folder`.
    """

    folder: Path
    resumed: bool = False
    dropped: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    synthetic: bool = False
    scratch: tuple[str, ...] = ("checkpoints",)
    manifest: Manifest | None = None


@contextmanager
def open_stage(
    name: str,
    out: str | Path,
    recipe: StrictModel,
    *,
    parents: Sequence[str | Path] = (),
    inputs: Sequence[Artifact] = (),
    seed: int | None = None,
) -> Iterator[Stage]:
    """Run a stage atomically: everything in its folder appears at once, manifest included, or nothing does.

    Parameters
    ----------
    name : str
        Stage name.
    out : str or Path
        Target folder. A complete older result there is replaced at the very end only.
    recipe : StrictModel
        The resolved config; with parents and inputs it makes the stage's key.
    parents : sequence of paths
        Folders of finished stages that are read.
    inputs : sequence of Artifact
        Raw files that are read.
    seed : int, optional
        The recipe's seed.

    Yields
    ------
    Stage
        Write files under ``stage.folder``. When the body is interrupted, the partial folder stays for a later resume
        with the same key and is cleared for any other; after an error of ours nothing stays.

    Raises
    ------
    InputError
        If `out` exists and is not a folder that we wrote, or a parent is incomplete.
    """
    out = Path(out)
    _refuse_foreign(out)
    key = stage_key(name, recipe, parents=parents, inputs=inputs)
    partial = out.with_name(out.name + ".partial")
    resumed = _prepare_partial(partial, key)
    stage = Stage(folder=partial, resumed=resumed, synthetic=any(read_manifest(p).synthetic for p in parents))
    started, clock = datetime.now(UTC), time.monotonic()
    try:
        yield stage
    except CopilotError:  # the input or the result is at fault: going on later would not help
        shutil.rmtree(partial, ignore_errors=True)
        raise
    for scratch in (*stage.scratch, _KEY_FILE):
        _remove(partial / scratch)
    stage.manifest = Manifest(
        stage=name,
        key=key,
        synthetic=stage.synthetic,
        recipe=recipe.model_dump(mode="json"),
        inputs=list(inputs),
        parents=[describe_parent(path, out) for path in parents],
        outputs=[describe_file(path, partial) for path in sorted(partial.rglob("*")) if path.is_file()],
        dropped=stage.dropped,
        facts=stage.facts,
        metrics=stage.metrics,
        notes=stage.notes,
        seed=seed,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 2),
        packages=_package_versions(),
        hardware=describe_hardware(),
        code=_code_state(),
    )
    write_text(partial / MANIFEST, stage.manifest.model_dump_json(indent=2) + "\n")
    _swap_in(partial, out)


def find_finished(
    name: str,
    out: str | Path,
    recipe: StrictModel,
    *,
    parents: Sequence[str | Path] = (),
    inputs: Sequence[Artifact] = (),
) -> Manifest | None:
    """Return the manifest in `out` if it is this very stage: same recipe, parents and inputs, outputs unchanged.

    A stage begins with this question, so that running it again costs nothing and a changed or damaged folder is redone.
    """
    out = Path(out)
    if not (out / MANIFEST).is_file():
        return None
    manifest = read_manifest(out)
    if manifest.key != stage_key(name, recipe, parents=parents, inputs=inputs):
        return None
    intact = all((out / f.name).is_file() and hash_file(out / f.name) == f.sha256 for f in manifest.outputs)
    return manifest if intact else None


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
    except (OSError, ValueError) as error:
        raise InputError(f"{folder.name}/{MANIFEST}: cannot be read ({type(error).__name__})") from None
    return validate(Manifest, values, where=f"{folder.name}/{MANIFEST}")


def stage_key(
    name: str, recipe: StrictModel, *, parents: Sequence[str | Path] = (), inputs: Sequence[Artifact] = ()
) -> str:
    """Return the digest that says "same stage, same recipe, same inputs, same version of ours"."""
    text = json.dumps(
        [
            name,
            _own_version(),
            recipe.model_dump(mode="json"),
            [_outputs_digest(read_manifest(path)) for path in parents],
            [item.model_dump() for item in inputs],
        ],
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()


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
    """Write a file atomically: under a temporary name first, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@cache
def describe_hardware() -> dict[str, Any]:
    """Return processor, cores, memory and accelerator; never a host or user name."""
    facts: dict[str, Any] = {"machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count()}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        facts["processor"] = models[0] if models else platform.machine()
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["cuda"] = torch.cuda.get_device_name(0)
    return facts


_KEY_FILE = ".key"


def _refuse_foreign(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out.name}: is a file; a folder is written here")
    if any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise InputError(f"{out.name}: holds files but no {MANIFEST}; choose an empty or new folder")


def _prepare_partial(partial: Path, key: str) -> bool:
    marker = partial / _KEY_FILE
    if marker.is_file() and marker.read_text() == key:
        return True
    if partial.exists() and any(partial.iterdir()) and not marker.is_file():
        raise InputError(f"{partial.name}: holds files that no stage wrote; move them away")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_text(marker, key)
    return False


def _swap_in(partial: Path, out: Path) -> None:
    """Put `partial` at `out`. The old manifest goes first, so that a half-replaced folder never looks complete."""
    if out.exists():
        (out / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(out)
    os.replace(partial, out)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _outputs_digest(manifest: Manifest) -> str:
    rows = [[item.name, item.sha256] for item in manifest.outputs]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


@cache
def _package_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@cache
def _code_state() -> dict[str, Any]:
    """Return our version and, in a checkout, the git commit and whether files differ from it."""
    here = Path(__file__).parent
    facts: dict[str, Any] = {"version": _own_version()}
    git = ["git", "-C", str(here)]
    try:
        if not (here.parent / ".git").exists():
            return facts
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return facts
    return facts | {"commit": commit.stdout.strip(), "dirty": bool(dirty.stdout.strip())}


def _own_version() -> str:
    try:
        return metadata.version("eeg-emotion-copilot")
    except metadata.PackageNotFoundError:
        return "0"

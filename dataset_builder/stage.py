"""Stages: a folder that appears complete, with its manifest, or not at all.

A stage writes into ``<out>.partial`` beside its target and swaps the folder in when all is done (`open_stage`). A run
that dies leaves only the ``.partial`` folder, which no later stage accepts. What is done on disk is in `stage_folder`.
"""

import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dataset_builder.environment import describe_code, describe_hardware, list_package_versions, read_own_version
from dataset_builder.errors import CopilotError, InputError, ResourceError
from dataset_builder.manifest import (
    MANIFEST,
    Artifact,
    Manifest,
    Metric,
    describe_file,
    describe_parent,
    hash_file,
    read_manifest,
    write_text,
)
from dataset_builder.recipe import StrictModel
from dataset_builder.stage_folder import (
    KEY_FILE,
    clear_leftovers,
    clear_partial,
    lock_folder,
    prepare_partial,
    refuse_foreign,
    remove_path,
    swap_in,
)


@dataclass
class Stage:
    """The open folder of a running stage; fill the lists, they end in the manifest.

    Parameters
    ----------
    folder : Path
        Where to write: the ``.partial`` folder.
    resumed : bool
        True when an interrupted run with the same key left work in `folder`.
    inputs : list of Artifact
        The raw files that were read. A stage that hashes them while it reads adds them here.
    """

    folder: Path
    resumed: bool = False
    inputs: list[Artifact] = field(default_factory=list)
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
    fingerprint: str = "",
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
    fingerprint : str
        What else must be equal for the result to be the same, for example `fingerprint_files` of inputs that are too
        large to be hashed before the work.
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
        If `out` holds anything but an older result of this stage or is one of the parents, a parent is incomplete, or
        another process writes there.
    ResourceError
        If the disk is full, or a file that is read or written goes away meanwhile; what is done is kept.
    """
    out = Path(out)
    refuse_foreign(out, name, parents)
    key = stage_key(name, recipe, parents=parents, inputs=inputs, fingerprint=fingerprint)
    partial = out.with_name(out.name + ".partial")
    synthetic = any(read_manifest(path).synthetic for path in parents)
    started, clock = datetime.now(UTC), time.monotonic()
    with ExitStack() as held:
        try:
            held.enter_context(lock_folder(out))
            resumed = prepare_partial(partial, key)
        except OSError as error:
            raise InputError(f"{out.name}: cannot be written here ({error.strerror})") from None
        stage = Stage(folder=partial, resumed=resumed, inputs=list(inputs), synthetic=synthetic)
        with _tell_trouble(out, partial):
            yield stage
            for scratch in stage.scratch:
                remove_path(partial / scratch)
            known = {
                "stage": name,
                "key": key,
                "parents": [describe_parent(path, out) for path in parents],
                "seed": seed,
                "started": started.isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - clock, 2),
            }
            stage.manifest = _describe_run(stage, recipe, known)
            write_text(partial / MANIFEST, stage.manifest.model_dump_json(indent=2) + "\n")
            remove_path(partial / KEY_FILE)
            swap_in(partial, out)


def find_finished(
    name: str,
    out: str | Path,
    recipe: StrictModel,
    *,
    parents: Sequence[str | Path] = (),
    inputs: Sequence[Artifact] = (),
    fingerprint: str = "",
) -> Manifest | None:
    """Return the manifest in `out` if it is this very stage: same recipe, parents and inputs, outputs unchanged.

    A stage begins with this question, so that running it again costs nothing and a changed or damaged folder is redone.
    """
    out = Path(out)
    if not (out / MANIFEST).is_file():
        return None
    manifest = read_manifest(out)
    if manifest.key != stage_key(name, recipe, parents=parents, inputs=inputs, fingerprint=fingerprint):
        return None
    intact = all((out / f.name).is_file() and hash_file(out / f.name) == f.sha256 for f in manifest.outputs)
    if not intact:
        return None
    clear_leftovers(out)
    return manifest


def stage_key(
    name: str,
    recipe: StrictModel,
    *,
    parents: Sequence[str | Path] = (),
    inputs: Sequence[Artifact] = (),
    fingerprint: str = "",
) -> str:
    """Return the digest that says "same stage, same recipe, same inputs, same version of ours"."""
    text = json.dumps(
        [
            name,
            read_own_version(),
            recipe.model_dump(mode="json"),
            [_outputs_digest(read_manifest(path)) for path in parents],
            [item.model_dump() for item in inputs],
            fingerprint,
        ],
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint_files(paths: Sequence[Path], root: Path) -> str:
    """Return a digest of names, sizes and times of files: it changes whenever one of them is written or replaced.

    Gigabytes would take as long to hash as to work on. The work itself hashes what it reads (`Stage.inputs`).
    """
    facts = [[path.relative_to(root).as_posix(), *_times(path)] for path in sorted(paths)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


#: What the system says when nothing more can be written: full disk, full quota, largest file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: Libraries that write by themselves raise errors of their own, which name the system's in words only.
_FULL_WORDS = tuple(os.strerror(number) for number in _FULL)


@contextmanager
def _tell_trouble(out: Path, partial: Path) -> Iterator[None]:
    """Turn what the machine does to a stage into one line; clear the folder where going on would not help."""
    try:
        yield
    except CopilotError as error:
        if not error.resumable:  # the input or the result is at fault
            clear_partial(partial)
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number in _FULL or any(words in str(error) for words in _FULL_WORDS):
            found = "the disk is full"
            raise ResourceError(f"{out.name}: {found}; what is done is kept, make room and run again") from error
        if number is None:
            raise
        found = f"a file can no longer be read or written ({os.strerror(number)})"
        raise ResourceError(f"{out.name}: {found}; what is done is kept, run again when it can") from error


def _describe_run(stage: Stage, recipe: StrictModel, known: dict[str, Any]) -> Manifest:
    """Return the manifest of a folder in which all work is done."""
    folder = stage.folder
    return Manifest(
        synthetic=stage.synthetic,
        recipe=recipe.model_dump(mode="json"),
        inputs=stage.inputs,
        outputs=[
            describe_file(path, folder)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path != folder / KEY_FILE
        ],
        dropped=stage.dropped,
        facts=stage.facts,
        metrics=stage.metrics,
        notes=stage.notes,
        packages=list_package_versions(),
        hardware=describe_hardware(),
        code=describe_code(),
        **known,
    )


def _times(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _outputs_digest(manifest: Manifest) -> str:
    rows = [[item.name, item.sha256] for item in manifest.outputs]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

"""From a finished folder back to where everything came from, by the digests that manifests keep of their parents."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, Manifest, Metric, hash_file, read_manifest

#: Stage -> which kind of card it gets.
KINDS: dict[str, str] = {
    "corpus": "dataset",
    "base": "model",
    "prune": "model",
    "recover": "model",
    "pseudo-quantise": "model",
    "merge": "model",
    "reader": "model",
    "adapter": "adapter",
    "gguf": "gguf",
    "space": "space",
}

#: Which file stands for all of a folder: the one that llama.cpp and ollama take by default, else the next best.
PREFERRED = ("Q4_K_M", "Q8_0", "F16")


@dataclass(frozen=True)
class Chain:
    """A stage and all stages before it that could be found and are still what it was made from.

    Parameters
    ----------
    folder : Path
        Folder of the last stage.
    manifests : tuple of Manifest
        The last stage first, then its parents, breadth first, each once.
    missing : tuple of str
        Stages whose folder is gone or was rebuilt since; nothing of them is used.
    evaluations : tuple of Manifest
        Later stages that only measured one of these.
    """

    folder: Path
    manifests: tuple[Manifest, ...]
    missing: tuple[str, ...] = ()
    evaluations: tuple[Manifest, ...] = ()

    @property
    def manifest(self) -> Manifest:
        """The last stage's manifest."""
        return self.manifests[0]

    @property
    def synthetic(self) -> bool:
        """True if any stage saw made-up data."""
        return any(manifest.synthetic for manifest in (*self.manifests, *self.evaluations))

    def tell_invented(self) -> str:
        """Return which recordings were made up, as a sentence of a card; nothing where none were."""
        if not self.synthetic:
            return ""
        if not any(manifest.synthetic for manifest in self.manifests):
            return "Measured on invented recordings."
        if any(m.facts.get("made_up_people") is False for m in self.evaluations):
            return "Made from invented recordings; only the people of its evaluation were recorded."
        return "Made from invented recordings: no person was recorded."

    def find(self, *stages: str) -> Manifest | None:
        """Return the nearest manifest of one of `stages`, or None."""
        return next((manifest for manifest in self.manifests if manifest.stage in stages), None)

    def fact(self, name: str) -> Any:
        """Return the nearest fact called `name`, or None."""
        return next((m.facts[name] for m in self.manifests if m.facts.get(name) is not None), None)

    def metrics(self) -> list[tuple[str, Metric]]:
        """Return every measured number with its stage: evaluations first, then the last stage, then its ancestors."""
        return [(m.stage, metric) for m in (*self.evaluations, *self.manifests) for metric in m.metrics]

    def verdicts(self) -> list[dict[str, Any]]:
        """Return what the controls of the evaluations say of each reader under each protocol; see `cards.claims`."""
        return [verdict for m in self.evaluations for verdict in m.facts.get("verdicts") or []]

    def own_readers(self) -> dict[str, str]:
        """Return how evaluations call what this folder holds, each with its file or folder; they also ask others."""
        stem = {Path(item.name).stem: item.name for item in self.manifest.list_outputs(".gguf")}
        kinds = {name: f"language model {name.rpartition('-')[2]}" for name in stem}
        if not kinds:
            kinds = dict.fromkeys(self._measured_as(), "language model")
        plain = {kind: stem.get(name, name) for name, kind in kinds.items()}
        return plain | {f"{kind} ({name})": stem.get(name, name) for name, kind in kinds.items()}

    def choose_reader(self, readers: Collection[str]) -> str:
        """Return which of some readers stands for this folder: of GGUF files the one that is loaded by default."""
        asked = [name for name in self.own_readers() if name in readers]
        preferred = (name for kind in PREFERRED for name in asked if kind in name)
        return next(preferred, asked[0] if asked else "")

    def _measured_as(self) -> list[str]:
        """Return the folder's name under which the model was asked: an adapter was asked merged into its model."""
        if self.manifest.stage != "adapter":
            return [self.folder.resolve().name]
        parents = [parent for m in self.evaluations for parent in m.parents if parent.stage == "merge"]
        return list(dict.fromkeys(Path(parent.folder).name for parent in parents)) or [self.folder.resolve().name]


def read_chain(folder: str | Path, evaluations: Sequence[str | Path] = ()) -> Chain:
    """Walk from a finished stage to its ancestors.

    Parameters
    ----------
    folder : str or Path
        Folder of a finished stage.
    evaluations : sequence of paths
        Folders of finished evaluations that read `folder` as it is now.

    Raises
    ------
    InputError
        If `folder` is not a finished stage, its stage has no card, or an evaluation read something else.
    """
    folder = Path(folder)
    first = read_manifest(folder)
    if first.stage not in KINDS:
        raise InputError(f"{folder.name}: stage {first.stage!r} has no card; stages with one: {', '.join(KINDS)}")
    found, missing, seen = [first], [], {hash_file(folder / MANIFEST)}
    measured = tuple(_read_evaluation(path, folder) for path in evaluations)
    waiting = [(folder / parent.folder, parent) for parent in first.parents]
    while waiting:
        place, parent = waiting.pop(0)
        if parent.sha256 in seen:
            continue
        seen.add(parent.sha256)
        if not (place / MANIFEST).is_file() or hash_file(place / MANIFEST) != parent.sha256:
            missing.append(parent.stage)
            continue
        manifest = read_manifest(place)
        found.append(manifest)
        waiting += [(place / grandparent.folder, grandparent) for grandparent in manifest.parents]
    return Chain(folder=folder, manifests=tuple(found), missing=tuple(missing), evaluations=measured)


def _read_evaluation(evaluation: str | Path, folder: Path) -> Manifest:
    if not has_measured(evaluation, folder):
        raise InputError(f"{Path(evaluation).name}: did not measure {folder.name} as it is now; evaluate it again")
    return read_manifest(evaluation)


def has_measured(evaluation: str | Path, folder: str | Path) -> bool:
    """Tell whether an evaluation asked what a folder holds as it is now.

    An adapter counts as asked with the model that it was merged into: the two answer alike, which the merge checked.
    """
    digest = hash_file(Path(folder) / MANIFEST)
    parents = read_manifest(evaluation).parents
    if digest in {parent.sha256 for parent in parents}:
        return True
    if read_manifest(folder).stage != "adapter":
        return False
    places = [(Path(evaluation) / parent.folder, parent) for parent in parents if parent.stage == "merge"]
    kept = [place for place, p in places if (place / MANIFEST).is_file() and hash_file(place / MANIFEST) == p.sha256]
    return any(digest == made_from.sha256 for place in kept for made_from in read_manifest(place).parents)

"""The stages of a run that are published, under which names, and how each names what it was made from."""

from dataclasses import dataclass
from pathlib import Path

from cards.chain import has_measured, read_chain
from cards.names import CardNames
from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, hash_file, read_manifest


@dataclass(frozen=True)
class Place:
    """How a stage is published.

    Parameters
    ----------
    kind : str
        What is pushed.
    stages : tuple of str
        Stages that it may come from, the preferred one first.
    suffix : str
        What its repository's name has after the common one.
    """

    kind: str
    stages: tuple[str, ...]
    suffix: str


#: In the order of the push: what a card refers to is there before it.
PLACES = (
    Place("dataset", ("corpus",), ""),
    Place("model", ("recover", "prune"), "-pruned"),
    Place("adapter", ("adapter",), "-adapter"),
    Place("model", ("merge",), "-merged"),
    Place("gguf", ("gguf",), "-GGUF"),
    Place("space", ("space",), "-demo"),
)


@dataclass(frozen=True)
class Item:
    """One push of many."""

    kind: str
    folder: Path
    names: CardNames
    evaluations: tuple[Path, ...] = ()


def list_items(root: str | Path, namespace: str, name: str, licence: str | None = None) -> list[Item]:
    """Find what a run's folder holds and say where each goes.

    Parameters
    ----------
    root : str or Path
        Folder with one folder per stage, as ``eeg-copilot demo`` writes it.
    namespace : str
        User or organisation on the Hub.
    name : str
        The data set's name; the other repositories have it with an ending, for example ``-GGUF``.
    licence : str, optional
        Licence of the base model, where its manifest does not tell it.

    Returns
    -------
    list of Item
        In the order of the push.

    Raises
    ------
    InputError
        If nothing there is published, or two folders hold the same stage.
    """
    root = Path(root)
    found = _find_stages(root)
    chosen = [(place, found[stage]) for place in PLACES for stage in _first(place.stages, found)]
    if not chosen:
        raise InputError(f"{root.name}: no finished stage that is published; point to the folder of a whole run")
    repositories = {
        hash_file(folder / MANIFEST): (place.kind, f"{namespace}/{name}{place.suffix}") for place, folder in chosen
    }
    items = []
    for place, folder in chosen:
        chain = read_chain(folder)
        parents = [repositories.get(parent.sha256) for parent in chain.manifest.parents]
        ancestors = [repositories.get(parent.sha256) for manifest in chain.manifests for parent in manifest.parents]
        base, dataset = _name_first(parents, "model", "gguf"), _name_first(ancestors, "dataset")
        own = licence if place.kind != "dataset" else None
        names = CardNames(f"{namespace}/{name}{place.suffix}", base, dataset, own)
        items.append(Item(place.kind, folder, names, _find_evaluations(root, folder)))
    return items


def _first(stages: tuple[str, ...], found: dict[str, Path]) -> list[str]:
    return [stage for stage in stages if stage in found][:1]


def _name_first(found: list[tuple[str, str] | None], *kinds: str) -> str | None:
    """Return the first repository of `kinds`; what is published nowhere is None in `found`."""
    return next((place[1] for place in found if place and place[0] in kinds), None)


def _find_stages(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        raise InputError(f"{root.name}: no such folder")
    published = {stage for place in PLACES for stage in place.stages}
    found: dict[str, Path] = {}
    for path in sorted(root.glob(f"*/{MANIFEST}")):
        stage = read_manifest(path.parent).stage
        if stage in published and stage in found:
            raise InputError(
                f"{root.name}: {found[stage].name} and {path.parent.name} both hold stage {stage!r}; push them singly"
            )
        found[stage] = path.parent
    return found


def _find_evaluations(root: Path, folder: Path) -> tuple[Path, ...]:
    """Return evaluations in the same run that measured this folder as it is now."""
    paths = [path.parent for path in sorted(root.glob(f"*/{MANIFEST}"))]
    evaluations = [path for path in paths if read_manifest(path).stage.startswith("evaluat")]
    return tuple(path for path in evaluations if has_measured(path, folder))

"""What would be uploaded: the declared files of a finished stage, its manifest and its card, checked beforehand."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cards.chain import KINDS, read_chain
from cards.describe import tell_weights_licence
from cards.front_matter import read_front_matter
from cards.render import CardNames, make_card
from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, Artifact, Manifest, hash_file, read_manifest
from hub_scripts.scan import find_secrets

#: What can be pushed.
PUSHABLE = ("dataset", "model", "adapter", "gguf", "space")

#: Where PEFT notes which model an adapter belongs to; on the Hub it must be a repository.
_ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class PayloadFile:
    """One file as it will be on the Hub. Its digests are computed once: weights are large.

    Parameters
    ----------
    name : str
        Path in the repository.
    content : Path or bytes
        A file of the stage, or what is made for the upload (the card).
    """

    name: str
    content: Path | bytes

    @cached_property
    def bytes(self) -> int:
        """Size in bytes."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    @cached_property
    def sha256(self) -> str:
        """The digest that large files are known by."""
        return hash_file(self.content) if isinstance(self.content, Path) else hashlib.sha256(self.content).hexdigest()

    @cached_property
    def git_sha1(self) -> str:
        """The id that git gives to small files."""
        digest = hashlib.sha1(b"blob %d\0" % self.bytes, usedforsecurity=False)
        digest.update(self.content.read_bytes() if isinstance(self.content, Path) else self.content)
        return digest.hexdigest()


@dataclass(frozen=True)
class Payload:
    """Everything of one push.

    Parameters
    ----------
    kind : str
        ``"dataset"``, ``"model"``, ``"adapter"``, ``"gguf"`` or ``"space"``.
    files : tuple of PayloadFile
        Sorted by name.
    licence : str
        Of the weights, where it has GGUF files; else the card's.
    synthetic : bool
    sdk : str
        What runs a Space; empty for all others.
    """

    kind: str
    files: tuple[PayloadFile, ...]
    licence: str
    synthetic: bool
    sdk: str = ""

    @property
    def repo_type(self) -> str:
        """How the Hub calls the kind of repository."""
        return self.kind if self.kind in ("dataset", "space") else "model"

    @cached_property
    def digest(self) -> str:
        """One digest over names and contents of all files."""
        lines = "".join(f"{file.sha256}  {file.name}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


def collect_payload(kind: str, folder: str | Path, names: CardNames, evaluations: Sequence[str | Path] = ()) -> Payload:
    """Gather and check what a push would upload.

    Only files that the stage's manifest lists are taken, byte for byte as listed, without dotfiles; whatever else lies
    in the folder stays there. The card is rendered anew and replaces the folder's own README.md in the upload, with its
    pictures and the manifests of evaluations beside it; of a Space's own it keeps how it is run.

    Parameters
    ----------
    kind : str
        ``"dataset"``, ``"model"``, ``"adapter"``, ``"gguf"`` or ``"space"``.
    folder : str or Path
    names : CardNames
    evaluations : sequence of paths
        Folders of evaluations whose numbers go into the card.

    Returns
    -------
    Payload

    Raises
    ------
    InputError
        If the folder is not a finished stage of that kind, a file differs from its manifest, the card has problems, or
        a file holds a path of this machine or a secret.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    _check_kind(folder, manifest, kind)
    card = make_card(folder, names, evaluations)
    made = {"README.md": card.text.encode("utf-8"), **card.files, **_name_base(folder, kind, names)}
    files = _list_files(folder, manifest, made)
    if problems := card.lint([file.name for file in files]):
        raise InputError(f"{folder.name}: card: {'; '.join(problems)}")
    for file in files:
        if found := find_secrets(file.name, file.content):
            raise InputError(f"{folder.name}/{file.name}: holds {' and '.join(found)}; nothing was uploaded")
    header, _ = read_front_matter(card.text)
    weights_licence = tell_weights_licence(read_chain(folder), names)
    return Payload(
        kind=kind,
        files=files,
        licence=weights_licence or str(header.get("license", "unknown")),
        synthetic=manifest.synthetic,
        sdk=str(header["sdk"]) if kind == "space" else "",
    )


def _check_kind(folder: Path, manifest: Manifest, kind: str) -> None:
    fits = KINDS.get(manifest.stage)
    if fits is None:
        stages = ", ".join(stage for stage, fit in KINDS.items() if fit == kind)
        raise InputError(
            f"{folder.name}: holds stage {manifest.stage!r}, which is never published; accepted as {kind}: {stages}"
        )
    if fits != kind:
        raise InputError(f"{folder.name}: holds stage {manifest.stage!r}, which is pushed as {fits}, not as {kind}")


def _list_files(folder: Path, manifest: Manifest, made: dict[str, bytes]) -> tuple[PayloadFile, ...]:
    listed = [item for item in manifest.outputs if item.name not in made and not _is_hidden(item.name)]
    files = [PayloadFile(item.name, _check_file(folder, item)) for item in listed]
    files += [PayloadFile(MANIFEST, folder / MANIFEST), *(PayloadFile(name, data) for name, data in made.items())]
    return tuple(sorted(files, key=lambda file: file.name))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _check_file(folder: Path, item: Artifact) -> Path:
    path = folder / item.name
    if not path.is_file():
        raise InputError(f"{folder.name}/{item.name}: listed in the manifest but not there; make the stage again")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{folder.name}/{item.name}: is a link out of the folder; make the stage again")
    if path.stat().st_size != item.bytes or hash_file(path) != item.sha256:
        raise InputError(f"{folder.name}/{item.name}: changed since its manifest was written; make the stage again")
    return path


def _name_base(folder: Path, kind: str, names: CardNames) -> dict[str, bytes]:
    """Return the adapter's config with its base named by repository: locally it names a folder."""
    path = folder / _ADAPTER_CONFIG
    if kind != "adapter" or names.base_model is None or not path.is_file():
        return {}
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = names.base_model
    return {_ADAPTER_CONFIG: (json.dumps(config, indent=2, sort_keys=True) + "\n").encode("utf-8")}

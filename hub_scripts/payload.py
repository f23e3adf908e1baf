"""What would be uploaded: the declared files of a finished stage, its manifest and its card, checked beforehand."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cards.chain import KINDS
from cards.lint import find_private, lint_card, read_front_matter
from cards.render import CardNames, render_card
from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, Artifact, hash_file, read_manifest

#: Files with words in them. Vocabularies (tokenizer.json and the like) hold arbitrary words and are left out.
_TEXTS = (".json", ".jsonl", ".md", ".txt", ".yaml", ".yml", ".jinja", ".html", ".css", "")
_VOCABULARIES = {"tokenizer.json", "vocab.json", "vocab.txt", "merges.txt"}

#: Where PEFT notes which model an adapter belongs to; on the Hub it must be a repository.
_ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class PayloadFile:
    """One file as it will be on the Hub.

    Parameters
    ----------
    name : str
        Path in the repository.
    content : Path or bytes
        A file of the stage, or what is made for the upload (the card).
    """

    name: str
    content: Path | bytes

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    def sha256(self) -> str:
        """Return the digest that large files are known by."""
        return hash_file(self.content) if isinstance(self.content, Path) else hashlib.sha256(self.content).hexdigest()

    def git_sha1(self) -> str:
        """Return the id that git gives to small files."""
        digest = hashlib.sha1(b"blob %d\0" % self.bytes, usedforsecurity=False)
        digest.update(self.content.read_bytes() if isinstance(self.content, Path) else self.content)
        return digest.hexdigest()


@dataclass(frozen=True)
class Payload:
    """Everything of one push.

    Parameters
    ----------
    kind : str
        ``"dataset"``, ``"model"``, ``"adapter"`` or ``"gguf"``.
    files : tuple of PayloadFile
        Sorted by name.
    licence : str
        The card's licence.
    synthetic : bool
    """

    kind: str
    files: tuple[PayloadFile, ...]
    licence: str
    synthetic: bool

    @property
    def repo_type(self) -> str:
        """How the Hub calls the kind of repository."""
        return "dataset" if self.kind == "dataset" else "model"


def collect_payload(kind: str, folder: str | Path, names: CardNames, evaluations: Sequence[str | Path] = ()) -> Payload:
    """Gather and check what a push would upload.

    Only files that the stage's manifest lists are taken, byte for byte as listed, without dotfiles; whatever else lies
    in the folder stays there. The card is rendered anew and replaces the folder's own README.md in the upload.

    Parameters
    ----------
    kind : str
        ``"dataset"``, ``"model"``, ``"adapter"`` or ``"gguf"``.
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
        a text holds a path of this machine or a secret.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if KINDS.get(manifest.stage) != kind:
        fits = KINDS.get(manifest.stage, "nothing that is published")
        raise InputError(f"{folder.name}: holds stage {manifest.stage!r}, which is pushed as {fits}, not as {kind}")
    card = render_card(folder, names, evaluations)
    if problems := lint_card(card):
        raise InputError(f"{folder.name}: card: {'; '.join(problems)}")
    made = {"README.md": card.encode("utf-8"), **_name_base(folder, kind, names)}
    listed = [item for item in manifest.outputs if item.name not in made and not _is_hidden(item.name)]
    files = [PayloadFile(item.name, _check_file(folder, item)) for item in listed]
    files += [PayloadFile(MANIFEST, folder / MANIFEST), *(PayloadFile(name, data) for name, data in made.items())]
    for file in files:
        _refuse_private(folder.name, file)
    header, _ = read_front_matter(card)
    files.sort(key=lambda file: file.name)
    return Payload(kind=kind, files=tuple(files), licence=str(header["license"]), synthetic=manifest.synthetic)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _check_file(folder: Path, item: Artifact) -> Path:
    path = folder / item.name
    if not path.is_file():
        raise InputError(f"{folder.name}/{item.name}: listed in the manifest but not there; make the stage again")
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


def _refuse_private(folder: str, file: PayloadFile) -> None:
    name = Path(file.name)
    if name.suffix not in _TEXTS or name.name in _VOCABULARIES:
        return
    data = file.content.read_bytes() if isinstance(file.content, Path) else file.content
    if found := find_private(data.decode("utf-8", errors="replace")):
        raise InputError(f"{folder}/{file.name}: holds {' and '.join(found)}; nothing was uploaded")

"""Models with all that is needed to ask them about new people: weights, codec, prompts."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dataset_builder.codecs import Codec, load_codec_bytes
from dataset_builder.corpus import CODEC_FILE, load_codec
from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, read_manifest
from dataset_builder.prompts import PromptConfig, Style, get_style, load_style
from dataset_builder.recipe import validate
from model_recipes.engine import Engine
from model_recipes.evaluate_claims import walk_folders
from model_recipes.gguf_file import read_copilot_gguf
from model_recipes.readers import GgufReader, HFReader, Reader

#: Beside the codec in a model folder: how its prompts are worded.
PROMPT_FILE = "prompt.json"

_ADAPTER_FILE = "adapter_config.json"


@dataclass(frozen=True)
class Package:
    """A model that can be asked about a recording.

    Parameters
    ----------
    path : Path
        Model folder, adapter folder or GGUF file.
    codec : Codec
        Fitted.
    style : Style
    base : Path or None
        The model under an adapter.
    synthetic : bool
        Whether it was trained on made-up data.
    """

    path: Path
    codec: Codec
    style: Style
    base: Path | None = None
    synthetic: bool = False

    @property
    def name(self) -> str:
        """How the reader is called in metrics."""
        return f"language model {read_copilot_gguf(self.path).file_type}" if self.path.is_file() else "language model"

    @property
    def parents(self) -> list[Path]:
        """Folders of finished stages that are read."""
        folders = [self.path if self.path.is_dir() else self.path.parent, self.base]
        return [folder for folder in folders if folder is not None and (folder / MANIFEST).is_file()]

    @contextmanager
    def open_reader(self, n_threads: int | None = None) -> Iterator[Reader]:
        """Load the model for as long as it is asked."""
        if self.path.is_file():
            with Engine(self.path, n_threads=n_threads) as engine:
                yield GgufReader(engine, self.style, self.name)
        elif self.base is None:
            yield HFReader(self.path, style=self.style, name=self.name)
        else:
            yield HFReader(self.base, self.path, style=self.style, name=self.name)


def find_package(path: str | Path, base_dir: str | Path | None = None, corpus_dir: str | Path | None = None) -> Package:
    """Find a model's codec and prompts: in the model itself, else in the corpus that it was trained on.

    Parameters
    ----------
    path : str or Path
        Finished model folder, adapter folder or GGUF file.
    base_dir : str or Path, optional
        The model under an adapter; looked for in its manifest if not given.
    corpus_dir : str or Path, optional
        Where its corpus lies, for a model that does not carry its codec.

    Raises
    ------
    InputError
        If the model, its base or its codec cannot be found.
    """
    path = Path(path)
    if path.is_file():
        copilot = read_copilot_gguf(path)
        return Package(path, copilot.codec, get_style(copilot.prompt), synthetic=copilot.synthetic)
    if not path.is_dir():
        raise InputError(f"{path.name}: no such model; accepted: a finished model or adapter folder, or a .gguf file")
    codec, style = _find_codec(path, corpus_dir)
    return Package(path, codec, style, _find_base(path, base_dir), read_manifest(path).synthetic)


def _find_codec(folder: Path, corpus_dir: str | Path | None) -> tuple[Codec, Style]:
    if (folder / CODEC_FILE).is_file() and (folder / PROMPT_FILE).is_file():
        codec = load_codec_bytes((folder / CODEC_FILE).read_bytes())
        return codec, get_style(_read_prompt(folder))
    corpora = [place for place, manifest in walk_folders(folder) if manifest.stage == "corpus"]
    corpora += [] if corpus_dir is None else [Path(corpus_dir)]
    if not corpora:
        raise InputError(
            f"{folder.name}: has no {CODEC_FILE} with {PROMPT_FILE}, and its corpus is not where it was; add --corpus"
        )
    return load_codec(corpora[0]), load_style(corpora[0])


def _read_prompt(folder: Path) -> PromptConfig:
    where = f"{folder.name}/{PROMPT_FILE}"
    try:
        values = json.loads((folder / PROMPT_FILE).read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{where}: is not JSON; accepted: the file that the reader stage writes") from None
    return validate(PromptConfig, values, where=where)


def _find_base(folder: Path, base_dir: str | Path | None) -> Path | None:
    """Return the model under an adapter; None for a folder that is no adapter."""
    if not (folder / _ADAPTER_FILE).is_file():
        if base_dir is not None:
            raise InputError(f"{folder.name}: is no adapter, so it takes no --base")
        return None
    if base_dir is not None:
        return Path(base_dir)
    parents = [place for place, manifest in walk_folders(folder) if manifest.facts.get("model")]
    if not parents:
        raise InputError(f"{folder.name}: is an adapter, and the model under it is not where it was; add --base")
    return parents[0]

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
from model_recipes.evaluation.claims import walk_folders
from model_recipes.evaluation.plain_models import ADAPTER_FILE, check_plain, find_adapter_base, is_plain, open_plain
from model_recipes.evaluation.readers import GgufReader, HFReader, Reader
from model_recipes.exporting.gguf_file import read_copilot_gguf

#: Beside the codec in a model folder: how its prompts are worded.
PROMPT_FILE = "prompt.json"


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
        return name_model(self.path)

    @property
    def parents(self) -> list[Path]:
        """Folders of finished stages that are read."""
        folders = [self.path if self.path.is_dir() else self.path.parent, self.base]
        return [folder for folder in folders if folder is not None and (folder / MANIFEST).is_file()]

    @contextmanager
    def open_reader(self, n_threads: int | None = None, name: str | None = None) -> Iterator[Reader]:
        """Load the model for as long as it is asked; `name` takes the place of its own."""
        name = name or self.name
        if self.path.is_file():
            with Engine(self.path, n_threads=n_threads, large_pages=True) as engine:
                yield GgufReader(engine, self.style, name)
            return
        model, adapter = (self.path, None) if self.base is None else (self.base, self.path)
        yield (open_plain if is_plain(model) else HFReader.open)(model, adapter, style=self.style, name=name)


def name_model(path: Path) -> str:
    """Return ``language model``, with the type of its weights for a GGUF file."""
    if not path.is_file():
        return "language model"
    kind = "GGUF" if is_plain(path) else read_copilot_gguf(path).file_type
    return f"language model {kind}"


def find_package(path: str | Path, base_dir: str | Path | None = None, corpus_dir: str | Path | None = None) -> Package:
    """Find a model's codec and prompts: in the model itself, else in the corpus that it was trained on.

    Parameters
    ----------
    path : str or Path
        Model folder, adapter folder or GGUF file; ours or anybody's.
    base_dir : str or Path, optional
        The model under an adapter; looked for in its manifest and its config if not given.
    corpus_dir : str or Path, optional
        Where its corpus lies, for a model that does not carry its codec; for a foreign model the corpus whose codec and
        prompts it is to be asked with.

    Raises
    ------
    InputError
        If the model, its base or its codec cannot be found.
    """
    path = Path(path)
    if path.is_file() and is_plain(path):
        return Package(path, *_borrow(path, corpus_dir))
    if path.is_file():
        copilot = read_copilot_gguf(path)
        return Package(path, copilot.codec, get_style(copilot.prompt), synthetic=copilot.synthetic)
    if not path.is_dir():
        raise InputError(f"{path.name}: no such model; accepted: a model folder, an adapter folder or a .gguf file")
    check_plain(path)
    codec, style = _find_codec(path, corpus_dir)
    synthetic = not is_plain(path) and read_manifest(path).synthetic
    return Package(path, codec, style, find_base(path, base_dir), synthetic)


def _borrow(path: Path, corpus_dir: str | Path | None) -> tuple[Codec, Style]:
    """Return codec and prompts of the corpus that a foreign model is asked with."""
    if corpus_dir is None:
        raise InputError(f"{path.name}: has no eeg_copilot keys, so it brings no codec and no prompts; add --corpus")
    return load_codec(corpus_dir), load_style(corpus_dir)


def _find_codec(folder: Path, corpus_dir: str | Path | None) -> tuple[Codec, Style]:
    if (folder / CODEC_FILE).is_file() and (folder / PROMPT_FILE).is_file():
        codec = load_codec_bytes((folder / CODEC_FILE).read_bytes())
        return codec, get_style(_read_prompt(folder))
    stages = [] if is_plain(folder) else list(walk_folders(folder))
    corpora = [place for place, manifest in stages if manifest.stage == "corpus"]
    corpora += [] if corpus_dir is None else [Path(corpus_dir)]
    if not corpora:
        raise InputError(
            f"{folder.name}: has no {CODEC_FILE} with {PROMPT_FILE}, and no corpus is known of it; add --corpus"
        )
    return load_codec(corpora[0]), load_style(corpora[0])


def _read_prompt(folder: Path) -> PromptConfig:
    where = f"{folder.name}/{PROMPT_FILE}"
    try:
        values = json.loads((folder / PROMPT_FILE).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise InputError(f"{where}: is not JSON; accepted: the file that the reader stage writes") from None
    return validate(PromptConfig, values, where=where)


def find_base(folder: Path, base_dir: str | Path | None = None) -> Path | None:
    """Return the model under an adapter; None for a folder that is no adapter.

    Raises
    ------
    InputError
        If it cannot be found, or is given for what is no adapter.
    """
    if not (folder / ADAPTER_FILE).is_file():
        if base_dir is not None:
            raise InputError(f"{folder.name}: is no adapter, so it takes no --base")
        return None
    if base_dir is not None:
        return Path(base_dir)
    stages = [] if is_plain(folder) else list(walk_folders(folder))
    parents = [place for place, manifest in stages if manifest.facts.get("model")]
    base = parents[0] if parents else find_adapter_base(folder)
    if base is None:
        raise InputError(f"{folder.name}: is an adapter, and the model under it is not where it was; add --base")
    return base

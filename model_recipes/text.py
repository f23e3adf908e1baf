"""Plain text to recover language on and to measure perplexity with."""

import hashlib
import pydoc_data.topics
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_serializer

from dataset_builder.errors import InputError, RecipeError
from dataset_builder.manifest import Artifact
from dataset_builder.recipe import StrictModel

#: Share of a text that is fitted; the rest is only measured.
_FIT_SHARE = 0.8

#: Less than this leaves nothing to measure.
_MIN_CHARACTERS = 2000


class HubText(StrictModel):
    """A text column of a data set on the Hub.

    Parameters
    ----------
    id, config, split, column : str
        As for `datasets.load_dataset`; ``config`` may be absent.
    characters : int
        How much is read from the beginning.
    """

    id: str
    config: str | None = None
    split: str = "train"
    column: str = "text"
    characters: int = Field(default=20_000_000, ge=_MIN_CHARACTERS)


class TextConfig(StrictModel):
    """Which text is read. Give at most one of `path` and `hub`.

    Parameters
    ----------
    source : {"python-docs"}
        The language reference that every Python carries (``pydoc_data.topics``): real English, nothing to download.
    path : str, optional
        A ``.txt`` file, or a folder whose ``.txt`` files are read in the order of their names.
    hub : HubText, optional
        A data set on the Hub; needs the network unless it is cached.
    """

    source: Literal["python-docs"] = "python-docs"
    path: str | None = None
    hub: HubText | None = None

    @field_serializer("path")
    def _keep_name(self, path: str | None) -> str | None:
        """Return what a manifest may state: the name; the content's digest is among its inputs."""
        return None if path is None else Path(path).name


@dataclass(frozen=True)
class Text:
    """A text in two parts.

    Parameters
    ----------
    name : str
        Short name without any path of the machine.
    fit : str
        The first 80 %: may be trained on.
    measure : str
        The last 20 %: only ever measured.
    """

    name: str
    fit: str
    measure: str

    @property
    def artifact(self) -> Artifact:
        """The text by content, as an input of a stage."""
        data = (self.fit + self.measure).encode("utf-8")
        return Artifact(name=self.name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def load_text(config: TextConfig) -> Text:
    """Read the text that a recipe names and divide it.

    Parameters
    ----------
    config : TextConfig

    Returns
    -------
    Text

    Raises
    ------
    RecipeError
        If both `path` and `hub` are given.
    InputError
        If the text cannot be read or is too short to divide.
    """
    if config.path is not None and config.hub is not None:
        raise RecipeError("text: path and hub are both given; accepted: at most one of them")
    if config.path is not None:
        return divide_text(*_read_path(Path(config.path)))
    if config.hub is not None:
        return divide_text(*_read_hub(config.hub))
    topics = pydoc_data.topics.topics
    return divide_text("python-docs", "\n\n".join(topics[key] for key in sorted(topics)))


def divide_text(name: str, text: str) -> Text:
    """Cut a text at the line break nearest below 80 % of its characters.

    Raises
    ------
    InputError
        If the text is shorter than 2,000 characters.
    """
    if len(text) < _MIN_CHARACTERS:
        raise InputError(f"text {name}: {len(text)} characters found; at least {_MIN_CHARACTERS:,} are needed")
    wanted = int(_FIT_SHARE * len(text))
    line_end = text.rfind("\n", int(0.9 * wanted), wanted)
    cut = wanted if line_end < 0 else line_end + 1
    return Text(name=name, fit=text[:cut], measure=text[cut:])


def _read_path(path: Path) -> tuple[str, str]:
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"text {path.name}: the folder holds no .txt file")
    try:
        return path.stem, "\n\n".join(file.read_text(encoding="utf-8") for file in files)
    except OSError as error:
        raise InputError(f"text {path.name}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"text {path.name}: is not UTF-8") from None


def _read_hub(config: HubText) -> tuple[str, str]:
    from datasets import load_dataset  # heavy, and only this source needs it

    try:
        rows = load_dataset(config.id, config.config, split=config.split, streaming=True)
        parts, characters = [], 0
        for row in rows:
            parts.append(str(row[config.column]))
            characters += len(parts[-1])
            if characters >= config.characters:
                break
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"text {config.id}: cannot be read from the Hub ({type(error).__name__})") from None
    return config.id, "\n".join(parts)

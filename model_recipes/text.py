"""Plain text to recover language on and to measure perplexity with."""

import hashlib
import pydoc_data.topics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_serializer

from dataset_builder.errors import CopilotError, InputError, RecipeError
from dataset_builder.manifest import Artifact
from dataset_builder.recipe import StrictModel

#: Share of a text that is fitted; the rest is only measured.
_FIT_SHARE = 0.8

#: Less than this leaves nothing to measure.
_MIN_CHARACTERS = 2000

#: Texts of a mix take turns after about so many characters, so that every window of tokens or its neighbours has all.
_TURN_CHARACTERS = 2000


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
    """Which text is read. Give at most one of `path`, `hub` and `mix`.

    Parameters
    ----------
    source : {"python-docs"}
        The language reference that every Python carries (``pydoc_data.topics``): real English, nothing to download.
    path : str, optional
        A ``.txt`` file, or a folder whose ``.txt`` files are read in the order of their names.
    hub : HubText, optional
        A data set on the Hub; needs the network unless it is cached.
    mix : list of TextConfig
        Several texts that take turns, so that calibration and recovery meet more than one domain. The mix ends where
        the first of them has nothing new to give.
    share : float
        How much of a mix this text is, relative to the others.
    """

    source: Literal["python-docs"] = "python-docs"
    path: str | None = None
    hub: HubText | None = None
    mix: list["TextConfig"] = []
    share: float = Field(default=1.0, gt=0)

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
        If more than one of `path`, `hub` and `mix` is given.
    InputError
        If the text cannot be read or is too short to divide.
    """
    given = [name for name in ("path", "hub", "mix") if getattr(config, name)]
    if len(given) > 1:
        raise RecipeError(f"text: {' and '.join(given)} are both given; accepted: at most one of them")
    if config.mix:
        return mix_texts([load_text(part) for part in config.mix], [part.share for part in config.mix])
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


def mix_texts(texts: list[Text], shares: list[float]) -> Text:
    """Return one text in which several take turns, paragraph by paragraph, the fitted parts apart from the measured.

    Parameters
    ----------
    texts : list of Text
    shares : list of float
        How many characters each gives, relative to the others. Nothing is repeated: the mix is as long as the text
        that ends first allows.
    """
    fit, measure = (_take_turns([getattr(text, part) for text in texts], shares) for part in ("fit", "measure"))
    return Text(name=" + ".join(text.name for text in texts), fit=fit, measure=measure)


def _take_turns(texts: list[str], shares: list[float]) -> str:
    """Join pieces of some texts so that after each piece all have given about their share."""
    pieces = [list(_cut_pieces(text)) for text in texts]
    given, taken = [0] * len(texts), [0] * len(texts)
    parts: list[str] = []
    while True:
        turn = min(range(len(texts)), key=lambda i: given[i] / shares[i])
        if taken[turn] == len(pieces[turn]):
            return "".join(parts)
        parts.append(pieces[turn][taken[turn]])
        given[turn], taken[turn] = given[turn] + len(parts[-1]), taken[turn] + 1


def _cut_pieces(text: str) -> Iterator[str]:
    """Cut a text at ends of lines into pieces of `_TURN_CHARACTERS` or a little more."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + _TURN_CHARACTERS)
        end = len(text) if end < 0 else end + 1
        yield text[start:end]
        start = end


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
    from datasets import config as settings  # heavy, and only this source needs it
    from datasets import load_dataset

    parts: list[str] = []
    characters = 0
    offline = bool(settings.HF_HUB_OFFLINE)
    try:
        # Offline only what a whole download left in the cache can be read; a stream leaves nothing there.
        for row in load_dataset(config.id, config.config, split=config.split, streaming=not offline):
            if config.column not in row:
                columns = ", ".join(map(str, row))
                raise InputError(f"text {config.id}: has no column {config.column!r}; accepted: {columns}")
            parts.append(str(row[config.column]))
            characters += len(parts[-1])
            if characters >= config.characters:
                break
    except CopilotError:
        raise
    except Exception as error:  # of datasets, of the Hub's client or of its transport, each with kinds of its own
        why = (
            "HF_HUB_OFFLINE is set and it is not in the cache; unset it"
            if offline
            else f"cannot be read from the Hub ({type(error).__name__}); check id, config, split and the connection"
        )
        raise InputError(f"text {config.id}: {why}, or give a local file or folder as text.path") from None
    return config.id, "\n".join(parts)

"""Finds English sentences in what is shown in another language."""

import re
from html.parser import HTMLParser

from dataset_builder.types import SCALP_CHANNELS

#: Names that are the same in every language.
NAMES = ("EEG Emotion Copilot", "Scientific Data", "Chen et al.", "eeg-copilot gguf", "A pixel that stands for")

#: Elements whose words are quoted as they are, and those without an end.
_QUOTED, _EMPTY = {"pre", "style", "script", "a", "code"}, {"img", "meta", "br", "input", "circle", "path", "link"}

#: What can be read aloud though it is no text.
_SPOKEN = ("alt", "title", "aria-label")


class _Reader(HTMLParser):
    """Keeps each text of a page that is not marked as English or as a quotation."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._quoted: list[bool] = []

    def handle_starttag(self, tag, attrs):
        facts = dict(attrs)
        quoted = tag in _QUOTED or (facts.get("lang") or "zh").startswith("en") or "data-quoted" in facts
        hidden = quoted or any(self._quoted)
        if not hidden:
            self.texts += [facts[name] or "" for name in _SPOKEN if name in facts]
        if tag not in _EMPTY:
            self._quoted.append(quoted)

    def handle_startendtag(self, tag, attrs):
        if tag in _EMPTY:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        if tag not in _EMPTY and self._quoted:
            self._quoted.pop()

    def handle_data(self, data):
        if not any(self._quoted):
            self.texts.append(data)


def find_english(text: str) -> list[str]:
    """Return runs of three or more English words; channels, units and names are none."""
    for name in NAMES:
        text = text.replace(name, "·")
    text = re.sub(rf"\b({'|'.join(SCALP_CHANNELS)})\b", "·", text)
    return re.findall(r"(?:\b[A-Za-z][a-z]+[,;:.']? +){2,}[A-Za-z][a-z]+", re.sub(r"\s+", " ", text))


def find_english_in_page(html: bytes | str) -> list[str]:
    """Return runs of English words in a page, passages that are marked as English or as quotations left out."""
    reader = _Reader()
    reader.feed(html.decode("utf-8") if isinstance(html, bytes) else html)
    reader.close()
    return [run for text in reader.texts for run in find_english(text)]

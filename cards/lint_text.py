"""The words of a card: placeholders, secrets, pictures, tables, and claims that nothing supports."""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from cards.claims import reads_eeg
from cards.private import find_private

#: Longer cards are not read; what they hold belongs into files beside them.
LONGEST_CARD = 20_000

_PLACEHOLDERS = re.compile(
    r"more information needed|please[- ]specify|\busername/|\bnamespace/name\b|\byour[-_ ](?:user)?name\b"
    r"|\byour[-_ ](?:repo|model|dataset|org)\b|<(?:your|insert|add)\b[^>]*>|\bTODO\b|\bFIXME\b|\bTBD\b|\blorem ipsum\b"
    r"|\{\{\s|\{%|(?-i:\b(?:None|nan|NaN)\b)(?=\s*(?:\||$))",
    re.IGNORECASE | re.MULTILINE,
)
#: Said of a model that reads EEG; true only where all controls say so, that of the same clip too.
_CLAIMS = re.compile(
    r"\b(?:reads?|decodes?|recogni[sz]es?|detects?|understands?|knows|senses) "
    r"(?:the |your |human |people's |a person's )?(?:EEG|brain\w*|emotions?|feelings?|minds?|moods?)\b"
    r"|\b(?:EEG|brain)[- ]driven\b|\bmind[- ]reading\b|\bgenerali[sz]es to (?:new|unseen) (?:people|subjects|clips)\b",
    re.IGNORECASE,
)
#: Nothing that is measured here could support these.
_BOASTS = re.compile(
    r"\bstate[- ]of[- ]the[- ]art\b|\bSOTA\b|\bclinically (?:validated|proven|tested)\b|\bhuman[- ]level\b"
    r"|\b(?:diagnoses|cures?|treats) (?!as\b)\w+|\boutperforms?\b|\bmedical[- ]grade\b"
    r"|\b100 ?% (?:accura|reliab|safe)\w*",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:not?|never|nothing|nobody|cannot|whether|without|neither|nor)\b", re.IGNORECASE)
_NOTICE = "not a medical device"
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)[^)]*\)|<img\b[^>]*\bsrc=[\"']([^\"']+)")
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s#]+)\)")


def lint_text(text: str, body: str, files: Collection[str] | None, verdicts: Sequence[dict[str, Any]]) -> list[str]:
    """List what is wrong with the words of a card.

    Parameters
    ----------
    text, body : str
        The whole card, and the part below its front matter.
    files : collection of str, optional
    verdicts : sequence of dict
        As for `cards.lint.lint_card`.
    """
    placeholders = sorted({match.group() for match in _PLACEHOLDERS.finditer(text)})
    problems = [f"text: placeholder {word!r}" for word in placeholders]
    problems += [f"text: holds {what}" for what in find_private(text)]
    if len(text.encode("utf-8")) > LONGEST_CARD:
        problems.append(f"text: {len(text.encode('utf-8')):,} bytes; a card has at most {LONGEST_CARD:,}")
    if _NOTICE not in " ".join(body.split()).lower():
        problems.append("text: does not say that this is not a medical device")
    supported = any(map(reads_eeg, verdicts))
    problems += [*_lint_claims(text, supported), *_lint_pictures(body, files), *_lint_links(body, files)]
    return problems + [*_lint_form(body), *_lint_tables(body)]


def _lint_claims(text: str, supported: bool) -> Iterator[str]:
    # A sentence ends at a mark, an empty line, a line of a list or a cell; lines of a paragraph belong together.
    for sentence in re.split(r"[.!?;:]\s|\n\s*\n|\n(?=[-#|*>])|\|", text):
        flat = " ".join(sentence.split())
        for pattern, allowed in ((_CLAIMS, supported), (_BOASTS, False)):
            found = pattern.search(flat)
            if found and not allowed and not _DENIED.search(flat[: found.start()]):
                yield f"text: claims {found.group()!r}, which no control supports"


def _lint_pictures(body: str, files: Collection[str] | None) -> Iterator[str]:
    for alt, path, source in _PICTURE.findall(strip_code(body)):
        place = path or source
        if re.match(r"[a-z]+:|//", place):
            yield f"picture: {place!r} is loaded from elsewhere; put it into the repository"
        elif files is not None and place.removeprefix("./") not in files:
            yield f"picture: {place!r} is not in the repository"
        if path and not alt.strip():
            yield f"picture: {place!r} has no words for those who cannot see it"


def _lint_links(body: str, files: Collection[str] | None) -> Iterator[str]:
    for place in _LINK.findall(strip_code(body)):
        if place.startswith("http://"):
            yield f"link: {place!r} is not https"
        elif not place.startswith(("https://", "mailto:")) and files is not None and place not in files:
            yield f"link: {place!r} is not in the repository"


def _lint_form(body: str) -> Iterator[str]:
    if len(re.findall(r"^```", body, flags=re.MULTILINE)) % 2:
        yield "text: a block of code is not closed"
    plain = strip_code(body)
    if plain.count("<details>") != plain.count("</details>"):
        yield "text: <details> and </details> do not pair"
    if len(re.findall(r"^# \S", plain, flags=re.MULTILINE)) != 1:
        yield "text: needs one title"


def _lint_tables(body: str) -> Iterator[str]:
    """Check that rows are as wide as their head, and that no value stands without its circumstances."""
    for table in re.findall(r"(?:^\|.*\|[ \t]*\n)+", strip_code(body) + "\n", flags=re.MULTILINE):
        rows = [_split_row(line) for line in table.splitlines()]
        head = rows[0]
        if any(len(row) != len(head) for row in rows):
            yield f"table {head[0]!r}: a row has another number of cells than the head"
        elif {"value", "n"} <= set(head):
            needed = [place for place, name in enumerate(head) if name in ("value", "n", "split")]
            if any(not row[place] for row in rows[2:] for place in needed):
                yield f"table {head[0]!r}: a value stands without n or split"


def _split_row(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def strip_code(body: str) -> str:
    """Return a text without its blocks of code."""
    return re.sub(r"^```.*?^```[ \t]*$", "", body, flags=re.DOTALL | re.MULTILINE)

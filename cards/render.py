"""Card of a finished folder: YAML front matter, words from a template, numbers and pictures from manifests only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from cards.assets import ASSETS
from cards.chain import KINDS, PREFERRED, Chain, read_chain
from cards.claims import STRICTEST, list_verdicts, say_verdict
from cards.describe import describe_dataset, describe_model, describe_space, tell_weights_licence
from cards.lint import RepoType, lint_card
from cards.lint_text import LONGEST_CARD
from cards.metadata import CardMetadata
from cards.names import CardNames
from cards.tables import flatten_facts, list_metrics
from dataset_builder.manifest import MANIFEST, read_manifest

if TYPE_CHECKING:
    from cards.pictures import Picture

__all__ = ["Card", "CardNames", "make_card", "render_card"]

#: Rows that a folded table may have; the next is tried while the card is too long.
_ROWS = (60, 30, 12, 4)


@dataclass(frozen=True)
class Card:
    """A card and what lies beside it.

    Parameters
    ----------
    text : str
        README.md.
    repo_type : {"model", "dataset", "space"}
    files : dict of str to bytes
        Pictures, and the manifests of evaluations whose numbers stand in the card, by their path in the repository.
    verdicts : list of dict
        What controls say of this folder; see `cards.claims.list_verdicts`.
    """

    text: str
    repo_type: RepoType
    files: dict[str, bytes] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)

    def lint(self, others: Sequence[str] = ()) -> list[str]:
        """List what is wrong with the card in a repository that also holds `others`; see `cards.lint.lint_card`."""
        files = {"README.md", MANIFEST, *self.files, *others}
        return lint_card(self.text, self.repo_type, files, self.verdicts)


def render_card(folder: str | Path, names: CardNames | None = None, evaluations: Sequence[str | Path] = ()) -> str:
    """Return the text of a card alone; see `make_card`."""
    return make_card(folder, names, evaluations).text


def make_card(folder: str | Path, names: CardNames | None = None, evaluations: Sequence[str | Path] = ()) -> Card:
    """Write the Hub card of a finished folder.

    Parameters
    ----------
    folder : str or Path
        Folder of a finished stage. Its ancestors are found through the manifests; those that are gone or were rebuilt
        since are named as such and none of their numbers is used.
    names : CardNames, optional
    evaluations : sequence of paths
        Folders of evaluations of this very folder, whose numbers go into the card. The card of recorded people's corpus
        leaves those of invented people out.

    Returns
    -------
    Card
        A corpus keeps the ``configs:`` of its own README.md, a Space how it is run.

    Raises
    ------
    InputError
        If the folder is not a finished stage with a card, or an evaluation is not one of this folder.
    RecipeError
        If the manifests hold a word that the Hub does not know.
    """
    from cards.figures import draw_pictures  # heavy, and a command's help must not wait for it

    first, names = read_manifest(folder), names or CardNames()
    if first.stage == "corpus":  # what invented people were asked says nothing of recorded ones
        evaluations = [path for path in evaluations if read_manifest(path).synthetic <= first.synthetic]
    chain = read_chain(folder, evaluations)
    kind = KINDS[chain.manifest.stage]
    pictures = draw_pictures(chain, evaluations)
    files = {picture.name: picture.data for picture in pictures} | _read_evaluations(evaluations)
    values = _list_values(chain, kind, names, pictures, sorted(files))
    text = _render(kind, values)
    return Card(text, "model" if kind not in ("dataset", "space") else kind, files, list_verdicts(chain))  # type: ignore[arg-type]


def _render(kind: str, values: dict[str, Any]) -> str:
    """Return the longest text that a card may have."""
    template = _environment().get_template(f"{kind}.md.jinja")
    for rows in _ROWS:
        # What a template leaves out must not leave its empty lines.
        text = re.sub(r"\n{3,}", "\n\n", template.render(values | {"most": rows}))
        if len(text.encode("utf-8")) <= LONGEST_CARD:
            break
    return text


def _list_values(
    chain: Chain, kind: str, names: CardNames, pictures: "list[Picture]", files: list[str]
) -> dict[str, Any]:
    """Return what templates may use."""
    metadata = _describe(chain, kind, names)
    metrics, folded = list_metrics(chain)
    methods = [row["method"] for row in metrics if row["method"]]
    return {
        "header": metadata.to_yaml(),
        "metadata": metadata,
        "title": names.repo_id.split("/")[1] if names.repo_id else chain.folder.resolve().name,
        "chain": chain,
        "manifest": chain.manifest,
        "names": names,
        "here": names.repo_id or f"./{chain.folder.name}",
        "source": chain.fact("source"),
        "base": {"source": None} | (chain.fact("base") or {}),
        "recipe": yaml.safe_dump(chain.manifest.recipe, sort_keys=False, allow_unicode=True, width=100).strip(),
        "facts": list(flatten_facts(chain.manifest.facts)),
        "metrics": metrics,
        "folded": folded,
        "methods": list(dict.fromkeys(methods)),
        "weights_licence": tell_weights_licence(chain, names),
        "verdict": say_verdict(chain),
        "verdicts": list_verdicts(chain),
        "strictest": STRICTEST,
        "pictures": pictures,
        "evaluation_files": [name for name in files if name.endswith(".json")],
        "gguf_files": sorted(chain.manifest.list_outputs(".gguf"), key=lambda file: file.bytes),
        "preferred": _choose_file(chain),
    }


def _describe(chain: Chain, kind: str, names: CardNames) -> CardMetadata:
    if kind == "dataset":
        return describe_dataset(chain)
    return describe_space(chain, names) if kind == "space" else describe_model(chain, kind, names)


def _choose_file(chain: Chain) -> dict[str, str]:
    """Return name and type of the GGUF file that commands name; empty texts where there is none."""
    files = [item.name for item in chain.manifest.list_outputs(".gguf")]
    for kind in PREFERRED:
        for name in files:
            if name.endswith(f"-{kind}.gguf"):
                return {"name": name, "type": kind}
    name = files[0] if files else ""
    return {"name": name, "type": name.removesuffix(".gguf").rpartition("-")[2]}


def _read_evaluations(evaluations: Sequence[str | Path]) -> dict[str, bytes]:
    """Return the manifests of evaluations under the names that they get beside the card."""
    ends = ["", *(f"-{number}" for number in range(2, len(evaluations) + 1))]
    pairs = zip(ends, evaluations, strict=False)
    return {f"{ASSETS}evaluation{end}.json": (Path(path) / MANIFEST).read_bytes() for end, path in pairs}


def _environment() -> Environment:
    return Environment(  # Markdown, not HTML: nothing is escaped, and every value comes from a manifest
        loader=PackageLoader("cards"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

"""The page of a pruning: shapes, costs and perplexity of models before, after and recovered. It measures nothing."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, Manifest, Metric, hash_file, read_manifest
from model_recipes.bases.qwen2 import Shape
from model_recipes.pruning.costs import CONTEXT, count_flops, count_parts
from model_recipes.pruning.figures import Point, plot_influence, plot_language, plot_losses, plot_parts

#: Words for the stages of the table; other stages with a model go by their own name.
_STAGES = {"base": "unpruned", "prune": "pruned", "recover": "recovered", "pseudo-quantise": "pseudo-quantised"}

#: What a perplexity's method says if it was divided by the tokens of the whole vocabulary (see `perplexity`).
_COMPARABLE = "per token of the unpruned vocabulary"

#: Headings of a table of shapes; other columns go by their names.
_HEADINGS = {
    "kv_heads": "kv",
    "f16_bytes_per_token": "MB a token, F16",
    "q4_k_m_bytes_per_token": "Q4_K_M",
    "q4_k_m_fallbacks": "fallbacks",
    "flops_per_token": "M operations",
}


@dataclass(frozen=True)
class Entry:
    """One finished model.

    Parameters
    ----------
    name : str
        Name of its folder.
    manifest : Manifest
    shape : Shape
    parent : int or None
        Place of what it was made from in the list of entries.
    """

    name: str
    manifest: Manifest
    shape: Shape
    parent: int | None

    @property
    def stage(self) -> str:
        """What was done, in a word."""
        return _STAGES.get(self.manifest.stage, self.manifest.stage)

    @property
    def perplexity(self) -> Metric | None:
        """Its perplexity after what was done."""
        return self.manifest.metric("perplexity", protocol="")


def read_entries(folders: Sequence[str | Path]) -> list[Entry]:
    """Read finished stages and all stages before them that are still what they were made from, ancestors first.

    Raises
    ------
    InputError
        If a folder is not a finished stage, or holds no model.
    """
    places: dict[str, Path] = {}
    for folder in folders:
        if "shape" not in read_manifest(folder).facts.get("model", {}):
            raise InputError(
                f"{Path(folder).name}: holds no model; accepted: folders of base, prune, recover and the like"
            )
        _collect(Path(folder), places)
    entries: list[Entry] = []
    for folder in places.values():
        manifest = read_manifest(folder)
        parent = next((list(places).index(p.sha256) for p in manifest.parents if p.sha256 in places), None)
        entries.append(Entry(folder.resolve().name, manifest, Shape(**manifest.facts["model"]["shape"]), parent))
    return entries


def render_prune_report(entries: list[Entry]) -> str:
    """Return a self-contained HTML page of some models, ancestors first as `read_entries` returns them."""
    loaders = ChoiceLoader([PackageLoader("model_recipes"), PackageLoader("dataset_builder")])
    environment = Environment(loader=loaders, undefined=StrictUndefined, autoescape=True)
    environment.filters |= {"uri": _to_uri, "metric": format_metric}
    names = [entry.name for entry in entries]
    return environment.get_template("pruning.html.jinja").render(
        entries=entries,
        rows=[describe_entry(entry, entries) for entry in entries],
        context=CONTEXT,
        results=tell_results(entries),
        warning=tell_incomparable(entries),
        languages=[plot_language(points, title) for title, points in _group_points(entries).items()],
        parts=plot_parts(names, [count_parts(entry.shape) for entry in entries]),
        prunings=[_describe_pruning(entry) for entry in entries if entry.manifest.stage == "prune"],
        losses=_plot_recoveries(entries),
        rounded=[entry for entry in entries if "pseudo_quantised" in entry.manifest.facts],
        synthetic=any(entry.manifest.synthetic for entry in entries),
    )


def describe_entry(entry: Entry, entries: list[Entry]) -> dict[str, Any]:
    """Return the row of a model in the tables: costs, and what they are of those of its first ancestor."""
    first, parts = find_first(entry, entries), count_parts(entry.shape)
    own, other = entry.perplexity, first.perplexity
    comparable = own is not None and other is not None and own.split == other.split and is_comparable(entry, first)
    return {
        "entry": entry,
        "parameters": entry.shape.parameters,
        "share": entry.shape.parameters / first.shape.parameters,
        "flops": count_flops(entry.shape),
        "flops_share": count_flops(entry.shape) / count_flops(first.shape),
        "parts": parts,
        "parts_share": {name: count / sum(parts.values()) for name, count in parts.items()},
        "factor": own.value / other.value if comparable and own and other else None,
    }


def tell_results(entries: list[Entry]) -> list[str]:
    """Say of each last model of a chain in a sentence what it kept."""
    made_from = {entry.parent for entry in entries}
    sentences = []
    for place, entry in enumerate(entries):
        row = describe_entry(entry, entries)
        if place in made_from or entry.parent is None:
            continue
        kept = (
            f"{entry.name}: {row['parameters'] / 1e6:.4g} million parameters, {row['share']:.1%} of the unpruned model"
        )
        if row["factor"] is None or entry.perplexity is None:
            sentences.append(f"{kept}.")
        else:
            on = f"perplexity {entry.perplexity.value:.4g} on {entry.perplexity.split}"
            sentences.append(f"{kept}; {on}, {row['factor']:.3g} times the unpruned model's.")
    return sentences


def tell_incomparable(entries: list[Entry]) -> str:
    """Name models whose perplexity is per token of a cut vocabulary, which no other can be compared with; or ``""``."""
    odd = [entry.name for entry in entries if not is_comparable(entry, find_first(entry, entries))]
    return f"Per token of a vocabulary of its own, not to be compared: {', '.join(odd)}." if odd else ""


def find_first(entry: Entry, entries: list[Entry]) -> Entry:
    """Return the first ancestor of a model among `entries`: the unpruned one, if it is there."""
    while entry.parent is not None:
        entry = entries[entry.parent]
    return entry


def is_comparable(entry: Entry, first: Entry) -> bool:
    """Tell whether the perplexities of a model and its first ancestor count the same tokens."""
    own = entry.perplexity
    return own is None or entry.shape.vocab == first.shape.vocab or _COMPARABLE in own.method


def format_metric(metric: Metric | None) -> str:
    """Return a perplexity with its interval; a dash where there is none."""
    if metric is None:
        return "–"
    span = f" [{metric.interval[0]:.4g}, {metric.interval[1]:.4g}]" if metric.interval else ""
    return f"{metric.value:.4g}{span}"


def _collect(folder: Path, places: dict[str, Path]) -> None:
    """Add a folder with a model after its ancestors, each once, by the digest of its manifest."""
    digest = hash_file(folder / MANIFEST)
    if digest in places:
        return
    for parent in read_manifest(folder).parents:
        path = folder / parent.folder
        unchanged = (path / MANIFEST).is_file() and hash_file(path / MANIFEST) == parent.sha256
        if unchanged and "shape" in read_manifest(path).facts.get("model", {}):
            _collect(path, places)
    places[digest] = folder


def _group_points(entries: list[Entry]) -> dict[str, list[Point]]:
    """Return the comparable points by the text that was measured."""
    groups: dict[str, list[Point]] = {}
    positions: dict[int, tuple[str, int]] = {}
    for place, entry in enumerate(entries):
        metric = entry.perplexity
        if metric is None or not is_comparable(entry, find_first(entry, entries)):
            continue
        points = groups.setdefault(metric.split, [])
        group, parent = positions.get(-1 if entry.parent is None else entry.parent, ("", 0))
        low_high = (metric.interval[0], metric.interval[1]) if metric.interval else None
        link = parent if group == metric.split else None
        points.append(Point(entry.name, entry.manifest.stage, entry.shape.parameters, metric.value, low_high, link))
        positions[place] = (metric.split, len(points) - 1)
    return groups


def _describe_pruning(entry: Entry) -> dict[str, Any]:
    """Return what the page shows of one pruning; what a manifest does not tell is empty."""
    facts = entry.manifest.facts
    plan, surgery = facts.get("plan", {}), facts.get("surgery", {})
    kept, influence = surgery.get("kept_layers", []), surgery.get("block_influence", [])
    return {
        "entry": entry,
        "reason": plan.get("reason", "").removesuffix("."),
        "candidates": [_format_candidate(candidate) for candidate in plan.get("candidates", [])],
        "kept": kept,
        "influence": plot_influence(influence, kept, f"{entry.name}: influence of the layers") if influence else None,
        "steps": surgery.get("dropped", []),
        "reconstruction": surgery.get("reconstruction", []),
        "vocabulary": facts.get("vocabulary"),
        "tokens": surgery.get("calibration_tokens"),
        "importance": surgery.get("importance", ""),
    }


def _format_candidate(candidate: dict[str, Any]) -> dict[str, str]:
    """Return heading -> text of a shape that was possible."""
    cells = {}
    for key, value in candidate.items():
        heading = _HEADINGS.get(key, key.replace("_", " "))
        if key.endswith(("bytes_per_token", "flops_per_token")):
            cells[heading] = f"{value / 1e6:.3g}"
        else:
            cells[heading] = f"{value:.1%}" if key == "ratio" else f"{value:,}"
    return cells


def _plot_recoveries(entries: list[Entry]) -> bytes | None:
    curves = {
        e.name: e.manifest.facts["loss"]
        for e in entries
        if e.manifest.stage == "recover" and e.manifest.facts.get("loss")
    }
    return plot_losses(curves) if curves else None


def _to_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"

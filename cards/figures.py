"""Pictures of a card, drawn from manifests alone when the card is made; an evaluation's own are taken over as they are.

Every picture says what it shows in words as well, and if the data are made up.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from cards.accuracy_figure import draw_accuracy
from cards.chain import Chain
from cards.claims import MEASURE
from cards.pictures import CONTROLS, OTHERS, OWN, Picture, finish_axes, mark_title, name_picture
from dataset_builder.errors import InputError
from dataset_builder.figures import FAINT, STYLE, to_png
from dataset_builder.manifest import Manifest, hash_file
from dataset_builder.types import EMOTIONS
from model_recipes.pruning.figures import Point, plot_language

#: What a perplexity's method says if it counts the tokens of the unpruned vocabulary, so that it can be compared.
_COMPARABLE = "per token of the unpruned vocabulary"
#: Measure of a GGUF file -> label, mark, colour and size.
_AGREEMENTS = {
    "top1_agreement": ("same next token", "o", OWN, 10),
    "label_agreement": ("same label", "s", OTHERS, 6),
}


def draw_pictures(chain: Chain, evaluations: Sequence[str | Path] = ()) -> list[Picture]:
    """Return the pictures of a card; none where the manifests hold nothing to draw.

    Parameters
    ----------
    chain : Chain
    evaluations : sequence of paths
        Folders of the chain's evaluations.

    Raises
    ------
    InputError
        If a file that is drawn or taken over differs from its manifest.
    """
    found = [_draw_labels(chain), draw_accuracy(chain), *_take_pictures(chain, evaluations)]
    return [picture for picture in (*found, _draw_language(chain), _draw_files(chain)) if picture is not None]


def _draw_labels(chain: Chain) -> Picture | None:
    """Draw how many rows of a corpus have each emotion, by split; read from the files that its manifest lists."""
    if chain.manifest.stage != "corpus":
        return None
    counts = count_labels(chain.folder, chain.manifest)
    if not counts:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 2.8), dpi=110, layout="constrained")
        axes, bottom = figure.add_subplot(), [0] * len(EMOTIONS)
        for (split, found), colour in zip(counts.items(), (OWN, OTHERS, "#00735c", CONTROLS), strict=False):
            heights = [found.get(emotion, 0) for emotion in EMOTIONS]
            axes.bar(EMOTIONS, heights, bottom=bottom, color=colour, label=split, edgecolor="white")
            bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
        axes.set(ylabel="rows", title=mark_title(chain, "Intended emotion of the clip"))
        axes.tick_params(axis="x", labelsize=7.5)
        finish_axes(axes)
        data = to_png(figure)
    total = sum(sum(found.values()) for found in counts.values())
    return Picture(name_picture("labels"), f"Rows per intended emotion and split, {total:,} in all", data)


def count_labels(folder: Path, manifest: Manifest) -> dict[str, dict[str, int]]:
    """Return split -> emotion -> number of rows of a corpus.

    Raises
    ------
    InputError
        If a file is not what the manifest says, or holds no column of emotions.
    """
    import pyarrow.parquet as pq  # only here: other cards need no tables

    counts: dict[str, dict[str, int]] = {}
    for item in manifest.outputs:
        if not item.name.endswith(".parquet"):
            continue
        if hash_file(folder / item.name) != item.sha256:
            raise InputError(f"{folder.name}/{item.name}: changed since its manifest was written; make the stage again")
        try:
            column = pq.read_table(folder / item.name, columns=["emotion"])["emotion"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder.name}/{item.name}: cannot be read ({type(error).__name__})") from None
        split = counts.setdefault(Path(item.name).name.split("-")[0], {})
        for entry in column.value_counts().to_pylist():
            split[entry["values"]] = split.get(entry["values"], 0) + entry["counts"]
    order = [split for split in manifest.facts.get("splits", {}) if split in counts]
    return {split: counts[split] for split in order}


def _take_pictures(chain: Chain, evaluations: Sequence[str | Path]) -> Iterator[Picture]:
    """Yield the confusion matrix and the reliability plot that an evaluation drew of this folder."""
    words = {
        "confusion": "Confusion matrix of {} under each protocol: rows intended by the clip, columns answered",
        "trust": "Reliability of {}, and its accuracy when unsure trials are not answered",
    }
    for folder, manifest in zip(map(Path, evaluations), chain.evaluations, strict=True):
        reader = chain.choose_reader([m.reader for m in manifest.metrics if m.name == MEASURE])
        slug = re.sub(r"[^A-Za-z0-9_.]+", "-", reader).strip("-")
        for kind, alt in words.items():
            name = f"{kind}-{slug}.png"
            item = next((item for item in manifest.outputs if item.name == name), None)
            if not reader or item is None:
                continue
            data = (folder / name).read_bytes() if (folder / name).is_file() else b""
            if len(data) != item.bytes or hash_file(folder / name) != item.sha256:
                raise InputError(f"{folder.name}/{name}: differs from its manifest; evaluate again")
            yield Picture(name_picture(kind), alt.format(reader), data)


def _draw_language(chain: Chain) -> Picture | None:
    """Draw perplexity against parameters over the chain, as far as the numbers count the same tokens."""
    with_shape = [m for m in reversed(chain.manifests) if "shape" in (m.facts.get("model") or {})]
    models = [m for m in with_shape if m.metric("perplexity")]
    first = next((m for m in models if m.stage == "base"), models[0] if models else None)
    if first is None:
        return None
    text, vocab = first.metrics[0].split, first.facts["model"]["shape"].get("vocab")
    points: list[Point] = []
    for manifest in models:
        metric = manifest.metric("perplexity", protocol="", split=text)
        same = manifest.facts["model"]["shape"].get("vocab") == vocab
        if metric is None or not (same or _COMPARABLE in metric.method):
            continue
        low_high = (metric.interval[0], metric.interval[1]) if metric.interval else None
        parameters = int(manifest.facts["model"]["parameters"])
        parent = len(points) - 1 if points else None
        points.append(Point(manifest.stage, manifest.stage, parameters, metric.value, low_high, parent))
    if len(points) < 2:
        return None
    title = mark_title(chain, f"Perplexity on {text} against size")
    words = ", ".join(f"{point.name} {point.parameters / 1e6:.3g} M: {point.perplexity:.4g}" for point in points)
    return Picture(name_picture("perplexity"), f"Perplexity against parameters ({words})", plot_language(points, title))


def _draw_files(chain: Chain) -> Picture | None:
    """Draw how often each GGUF file agrees with the model that it was made from, against its size."""
    files = (chain.manifest.facts.get("files") or []) if chain.manifest.stage == "gguf" else []
    measured = {metric.name for metric in chain.manifest.metrics if metric.reader.startswith("GGUF")}
    shown = {name: look for name, look in _AGREEMENTS.items() if name in measured}
    if not files or not shown:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 3.0), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        for name, (label, mark, colour, size) in shown.items():
            found = [(file, chain.manifest.metric(name, reader=f"GGUF {file['type']}")) for file in files]
            sizes = [file["bytes"] / 1e6 for file, metric in found if metric]
            values = [metric.value for _, metric in found if metric]
            axes.plot(sizes, values, mark, color=colour, fillstyle="none", markersize=size, label=label)
        for file in files:
            place = (file["bytes"] / 1e6, 1.0)
            axes.axvline(place[0], color=FAINT, linewidth=0.5, linestyle=":")
            offset: Any = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
            axes.annotate(file["type"], place, xycoords=("data", "axes fraction"), fontsize=7, **offset)
        axes.set(xlabel="size of the file (MB)", ylabel="share of agreement", ylim=(0, 1.05))
        axes.set_title(mark_title(chain, "Agreement with the model before quantisation"), pad=16)
        finish_axes(axes)
        data = to_png(figure)
    return Picture(name_picture("files"), "Agreement with the unquantised model against the size of the file", data)

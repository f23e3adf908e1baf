"""The published form of a corpus: Parquet shards and the README whose head tells `datasets` how to read them."""

import hashlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from jinja2 import StrictUndefined, Template

from dataset_builder.manifest import write_bytes
from dataset_builder.rows import FEATURES
from dataset_builder.sources.base import Source
from dataset_builder.stage import Stage

if TYPE_CHECKING:
    from dataset_builder.corpus import CorpusRecipe

_SIZES = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_shards(folder: Path, tables: dict[str, pa.Table], shard_rows: int) -> None:
    """Write every split as ``data/<split>-NNNNN-of-NNNNN-<digest>.parquet``, nothing for an empty one.

    `datasets` cannot load an empty split. It caches a local folder by the file names in its README alone, so each name
    holds a digest of the rows: a rebuilt corpus is never answered with an older one's rows.

    Parameters
    ----------
    folder : Path
    tables : dict of str to pyarrow.Table
    shard_rows : int
        Most rows per file.
    """
    for split, table in tables.items():
        starts = range(0, table.num_rows, shard_rows)
        for number, start in enumerate(starts):
            data = _to_parquet(table.slice(start, shard_rows))
            digest = hashlib.sha256(data).hexdigest()[:12]
            write_bytes(folder / "data" / f"{split}-{number:05d}-of-{len(starts):05d}-{digest}.parquet", data)


def render_readme(recipe: "CorpusRecipe", source: Source, tables: dict[str, pa.Table], stage: Stage) -> str:
    """Return the corpus README: the head that `load_dataset` reads, then what a reader must know."""
    info = source.info
    rows = sum(table.num_rows for table in tables.values())
    header = {
        "pretty_name": "EEG Emotion Copilot corpus" + (" (synthetic)" if stage.synthetic else ""),
        "language": [recipe.prompt.language],
        "license": info.licence_id,
        **({"license_name": info.licence_name, "license_link": info.url} if info.licence_id == "other" else {}),
        "task_categories": ["text-generation"],
        "size_categories": [next((name for limit, name in _SIZES if rows < limit), "n>1M")],
        "tags": ["eeg", "emotion", "affective-computing", "timeseries", *(["synthetic"] if stage.synthetic else [])],
        **describe_dataset(stage.folder, recipe.codec.name, tables),
    }
    template = resources.files("dataset_builder").joinpath("templates/corpus.md.jinja").read_text(encoding="utf-8")
    return Template(template, undefined=StrictUndefined, keep_trailing_newline=True).render(
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True).strip(),
        title=header["pretty_name"],
        synthetic=stage.synthetic,
        codec=stage.facts["codec"],
        held_out_fold=getattr(recipe.codec, "held_out_fold", None),
        split=recipe.split,
        splits=stage.facts["splits"],
        dropped=stage.dropped,
        info=info,
    )


def describe_dataset(folder: Path, config_name: str, tables: dict[str, pa.Table]) -> dict[str, Any]:
    """Return ``configs`` and ``dataset_info`` of the Hub's dataset cards, for the shards in `folder`."""
    files = {split: sorted((folder / "data").glob(f"{split}-*.parquet")) for split in tables}
    written = {split: paths for split, paths in files.items() if paths}
    download_size = sum(path.stat().st_size for paths in written.values() for path in paths)
    splits = [
        {"name": split, "num_bytes": tables[split].nbytes, "num_examples": tables[split].num_rows} for split in written
    ]
    data_files = [{"split": split, "path": [f"data/{path.name}" for path in paths]} for split, paths in written.items()]
    return {
        "configs": [{"config_name": config_name, "default": True, "data_files": data_files}],
        "dataset_info": [
            {
                "config_name": config_name,
                "features": [_describe_column(name, feature) for name, feature in FEATURES.items()],
                "splits": splits,
                "download_size": download_size,
                "dataset_size": sum(split["num_bytes"] for split in splits),
            }
        ],
    }


def _to_parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _describe_column(name: str, feature: Any) -> dict[str, Any]:
    """Return a column's type in the words of a card."""
    if isinstance(feature, list):
        return {"name": name, "list": [_describe_column(key, value) for key, value in feature[0].items()]}
    if feature["_type"] == "ClassLabel":
        names = {str(number): label for number, label in enumerate(feature["names"])}
        return {"name": name, "dtype": {"class_label": {"names": names}}}
    return {"name": name, "dtype": feature["dtype"]}

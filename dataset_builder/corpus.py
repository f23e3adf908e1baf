"""The corpus: every trial as one chat row, split by subject, written as Parquet with a README that `datasets` reads."""

import hashlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from datasets import Dataset
from jinja2 import StrictUndefined, Template
from pydantic import Field
from tqdm import tqdm

from dataset_builder.codecs import Codec, CodecConfig, dump_codec, load_codec_bytes, make_codec
from dataset_builder.errors import InputError
from dataset_builder.manifest import Artifact, Manifest, read_manifest, write_bytes, write_text
from dataset_builder.prompts import PromptConfig, render_answer, render_prompt
from dataset_builder.recipe import StrictModel
from dataset_builder.sources import SOURCES
from dataset_builder.sources.base import DroppedRecording, Source
from dataset_builder.splits import SPLITS, SplitConfig, clip_fold, split_subjects
from dataset_builder.stage import Stage, find_finished, open_stage
from dataset_builder.types import RATINGS, VALENCE, Code, Recording, Trial

CODEC_FILE = "codec.safetensors"

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

#: Columns of every split. Plain Arrow types, so that pandas and pyarrow read them as well as `datasets`.
SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("messages", _MESSAGES),
        ("source", pa.string()),
        ("synthetic", pa.bool_()),
        ("subject", pa.string()),
        ("clip", pa.int16()),
        ("clip_fold", pa.int8()),
        ("emotion", pa.string()),
        ("valence", pa.string()),
        ("age", pa.int16()),
        ("sex", pa.string()),
        ("cohort", pa.int8()),
        ("device_sfreq_hz", pa.float32()),
        ("codec", pa.string()),
        ("code", pa.string()),
        ("n_values", pa.int32()),
        *((f"rating_{name}", pa.float32()) for name in RATINGS),
    ]
)


class SourceConfig(StrictModel):
    """Which raw data are read.

    Parameters
    ----------
    name : str
        A name in `dataset_builder.sources.SOURCES`.
    subjects : "all" or list of str
    """

    name: Literal["faced"] = "faced"
    subjects: Literal["all"] | list[str] = "all"


class CorpusRecipe(StrictModel):
    """A corpus recipe. `version` is raised whenever a change alters any row."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: int = Field(ge=1)
    seed: int = 17
    source: SourceConfig = SourceConfig()
    codec: Annotated[CodecConfig, Field(discriminator="name")]
    prompt: PromptConfig = PromptConfig()
    split: SplitConfig = SplitConfig()


def build_corpus(recipe: CorpusRecipe, raw_dir: str | Path, out_dir: str | Path) -> Manifest:
    """Turn a folder of recordings into a chat corpus.

    Subjects are split first. The codec learns its scales from the training subjects only, without labels; every other
    subject is scaled by its own unlabelled trials.

    Parameters
    ----------
    recipe : CorpusRecipe
    raw_dir : str or Path
        Root of the raw data, for example a FACED download.
    out_dir : str or Path
        Folder to write: README.md, ``data/*.parquet``, ``codec.safetensors``, ``manifest.json``.

    Returns
    -------
    Manifest

    Raises
    ------
    InputError
        If the raw data cannot be used. A single unusable recording is left out and counted instead.
    """
    source = SOURCES[recipe.source.name](Path(raw_dir))
    codec = make_codec(recipe.codec)
    subjects = _choose_subjects(source, recipe.source)
    inputs = list_inputs(source, subjects, codec.reads)
    if finished := find_finished("corpus", out_dir, recipe, inputs=inputs):
        return finished
    with open_stage("corpus", out_dir, recipe, inputs=inputs, seed=recipe.seed) as stage:
        stage.synthetic = source.info.synthetic
        divided = split_subjects(subjects, recipe.split)
        dropped: dict[str, str] = {}
        codec = codec.fit(_read_subjects(source, divided["train"], codec.reads, dropped, "fit codec"))
        counts = {}
        for split, members in divided.items():
            recordings = _read_subjects(source, members, codec.reads, dropped, f"encode {split}")
            rows = [row for recording in recordings for row in render_rows(recording, codec, recipe, source.info.name)]
            _write_split(stage.folder, split, rows)
            counts[split] = {"rows": len(rows), "subjects": len({row["subject"] for row in rows})}
        if outside := len(subjects) - sum(map(len, divided.values())):
            stage.dropped["outside the split's ranges"] = outside
        for reason in dropped.values():
            stage.dropped[reason] = stage.dropped.get(reason, 0) + 1
        stage.facts |= {
            "splits": counts,
            "values_per_code": codec.n_values,
            "source": source.info.model_dump(mode="json"),
        }
        write_bytes(stage.folder / CODEC_FILE, dump_codec(codec))
        write_text(stage.folder / "README.md", render_readme(recipe, source, stage))
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def render_rows(recording: Recording, codec: Codec, recipe: CorpusRecipe, source: str) -> Iterator[dict[str, Any]]:
    """Yield one row of `SCHEMA` per trial of a recording with known clips."""
    emotions_by_clip = {c: e for c, e in zip(recording.clips, recording.emotions, strict=True) if c and e}
    trials = list(recording)
    for trial, code in zip(trials, codec.encode(trials), strict=True):
        if trial.clip is None or trial.emotion is None:
            raise InputError(
                f"{recording.subject}: trial {trial.index + 1} has no clip; a corpus needs labelled trials"
            )
        yield _render_row(trial, code, codec, recipe, source, clip_fold(trial.clip, emotions_by_clip))


def list_inputs(source: Source, subjects: list[str], reads: str) -> list[Artifact]:
    """Return the raw files by content. Hashing them makes a changed file a new corpus."""
    files = [item for s in tqdm(subjects, desc="check files", unit="subject") for item in source.inventory(s, reads)]
    return [*source.tables(), *files]


def load_split(corpus_dir: str | Path, split: str) -> Dataset:
    """Read one split from disk, past the cache of `datasets` (which may answer with an older build of the same name).

    Returns
    -------
    datasets.Dataset
        With the columns of `SCHEMA`; without rows if no subject fell into the split.

    Raises
    ------
    InputError
        If the folder is not a finished corpus or the split is unknown.
    """
    if split not in SPLITS:
        raise InputError(f"split {split!r}: unknown; accepted: {', '.join(SPLITS)}")
    counts = read_manifest(corpus_dir).facts.get("splits")
    if counts is None:
        raise InputError(f"{Path(corpus_dir).name}: is not a corpus")
    files = sorted((Path(corpus_dir) / "data").glob(f"{split}-*.parquet"))
    try:
        table = pa.concat_tables([SCHEMA.empty_table(), *(pq.read_table(path) for path in files)])
        if table.num_rows != counts[split]["rows"]:
            raise InputError(f"{Path(corpus_dir).name}: {split} has {table.num_rows} rows, not {counts[split]['rows']}")
        return Dataset(table)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{Path(corpus_dir).name}/data: cannot be read ({type(error).__name__})") from None


def load_codec(corpus_dir: str | Path) -> Codec:
    """Read the fitted codec of a corpus.

    Raises
    ------
    InputError
        If the file is missing or is not a codec.
    """
    path = Path(corpus_dir) / CODEC_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path.parent.name}/{CODEC_FILE}: cannot be read ({error.strerror})") from None
    return load_codec_bytes(data)


def _choose_subjects(source: Source, config: SourceConfig) -> list[str]:
    known = source.subjects()
    if config.subjects == "all":
        return known
    if unknown := sorted(set(config.subjects) - set(known)):
        raise InputError(f"source.subjects: {', '.join(unknown)} not found; {len(known)} subjects are there")
    return sorted(config.subjects)


def _read_subjects(
    source: Source, subjects: list[str], reads: str, dropped: dict[str, str], title: str
) -> Iterator[Recording]:
    """Yield recordings; one that a source declares unusable is noted in `dropped` by subject, with its reason."""
    for subject in tqdm(subjects, desc=title, unit="subject"):
        try:
            yield source.read(subject, reads)
        except DroppedRecording as error:
            dropped[subject] = error.reason


def _render_row(trial: Trial, code: Code, codec: Codec, recipe: CorpusRecipe, source: str, fold: int) -> dict[str, Any]:
    recording, emotion = trial.recording, str(trial.emotion)
    told = recipe.prompt.demographics
    prompt = render_prompt(codec, code, recording.age if told else None, recording.sex if told else None)
    answer = {"role": "assistant", "content": render_answer(emotion, codec.describe(code))}
    ratings = recording.ratings[trial.index] if recording.ratings is not None else np.full(len(RATINGS), np.nan)
    return {
        "row_id": f"{source}-{recording.subject}-clip{trial.clip:02d}",
        "messages": [*prompt, answer],
        "source": source,
        "synthetic": recording.synthetic,
        "subject": recording.subject,
        "clip": trial.clip,
        "clip_fold": fold,
        "emotion": emotion,
        "valence": VALENCE[emotion],
        "age": recording.age,
        "sex": recording.sex,
        "cohort": recording.cohort,
        "device_sfreq_hz": recording.device_sfreq_hz,
        "codec": codec.name,
        "code": codec.to_text(code),
        "n_values": codec.n_values,
        **{f"rating_{name}": _none_if_nan(value) for name, value in zip(RATINGS, ratings, strict=True)},
    }


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _write_split(folder: Path, split: str, rows: list[dict[str, Any]]) -> None:
    """Write one shard, none for an empty split: `datasets` cannot load those.

    The name holds a digest of the rows, because `datasets` caches a local folder by file name.
    """
    if not rows:
        return
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    digest = hashlib.sha256(data).hexdigest()[:12]
    write_bytes(folder / "data" / f"{split}-00000-of-00001-{digest}.parquet", data)


def render_readme(recipe: CorpusRecipe, source: Source, stage: Stage) -> str:
    """Return the corpus README: the `configs:` that `load_dataset` reads, then what a reader must know."""
    info, splits = source.info, stage.facts["splits"]
    written = {path.name.split("-")[0]: f"data/{path.name}" for path in (stage.folder / "data").iterdir()}
    files = {split: written[split] for split in SPLITS if split in written}
    rows = sum(split["rows"] for split in splits.values())
    header = {
        "pretty_name": "EEG Emotion Copilot corpus" + (" (synthetic)" if stage.synthetic else ""),
        "language": ["en"],
        "license": info.licence_id,
        **({"license_name": info.licence_name, "license_link": info.url} if info.licence_id == "other" else {}),
        "task_categories": ["text-generation"],
        "size_categories": ["n<1K" if rows < 1000 else "1K<n<10K" if rows < 10_000 else "10K<n<100K"],
        "tags": ["eeg", "emotion", "affective-computing", "timeseries", *(["synthetic"] if stage.synthetic else [])],
        "configs": [
            {
                "config_name": recipe.name,
                "default": True,
                "data_files": [{"split": split, "path": path} for split, path in files.items()],
            }
        ],
    }
    template = resources.files("dataset_builder").joinpath("templates/corpus.md.jinja").read_text(encoding="utf-8")
    return Template(template, undefined=StrictUndefined, keep_trailing_newline=True).render(
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True).strip(),
        title=header["pretty_name"],
        synthetic=stage.synthetic,
        codec=recipe.codec.name,
        n_values=stage.facts["values_per_code"],
        splits=splits,
        info=info,
    )

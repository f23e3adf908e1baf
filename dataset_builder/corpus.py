"""The corpus: every trial as one chat row, split by subject, audited, written as Parquet that `datasets` reads."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from pydantic import Field, model_validator

from dataset_builder.alphabets import check_alphabet, load_tokenizer
from dataset_builder.audit import audit_corpus
from dataset_builder.augment import AugmentConfig, check_augment
from dataset_builder.codecs import Codec, CodecConfig, dump_codec, load_codec_bytes, make_codec
from dataset_builder.data_report import render_data_report
from dataset_builder.errors import InputError
from dataset_builder.extract import FEATURES, SubjectFacts, extract_subjects
from dataset_builder.fitting import fit_codec, learn_reconstruction
from dataset_builder.manifest import Artifact, Manifest, describe_file, read_manifest, write_bytes, write_text
from dataset_builder.preprocess import PreprocessingConfig
from dataset_builder.prompts import LIBRARY, PromptConfig, get_style
from dataset_builder.published import render_readme, write_shards
from dataset_builder.recipe import StrictModel
from dataset_builder.rows import SCHEMA, RowMaker, fold_clips
from dataset_builder.sources import SOURCES, FacedConfig, SourceSection
from dataset_builder.sources.base import Source
from dataset_builder.sparse import attach_reconstruction
from dataset_builder.splits import SplitConfig, SplitPlan, plan_splits
from dataset_builder.stage import find_finished, fingerprint_files, open_stage
from dataset_builder.tables import TableMaker
from dataset_builder.trained_people import describe_people

CODEC_FILE = "codec.safetensors"
REPORT_FILE = "report.html"


class CorpusRecipe(StrictModel):
    """A corpus recipe. `version` is raised whenever a change alters any row.

    Parameters
    ----------
    name : str
    version : int
    seed : int
    source, preprocessing, codec, prompt, augment, split
        Sections; each is documented at its class.
    shard_rows : int
        Most rows in one Parquet file.
    reconstruct : bool
        Learn from the training subjects how channels go together and save it with the codec, so that records and live
        streams of small headsets can have missing channels reconstructed. Changes no row.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: int = Field(ge=1)
    seed: int = 17
    source: Annotated[SourceSection, Field(discriminator="name")] = FacedConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    codec: Annotated[CodecConfig, Field(discriminator="name")]
    prompt: PromptConfig = PromptConfig()
    augment: AugmentConfig = AugmentConfig()
    split: SplitConfig = SplitConfig()
    shard_rows: int = Field(default=1000, ge=1)
    reconstruct: bool = False

    @model_validator(mode="after")
    def _check_folds(self) -> Self:
        """Refuse two held-out folds: the codec numbers those of its training clips, which then lack one already."""
        if None not in (self.split.held_out_fold, getattr(self.codec, "held_out_fold", None)):
            raise ValueError(
                "codec.held_out_fold: leave it out; split.held_out_fold keeps clips from the codec as well"
            )
        return self


def build_corpus(
    recipe: CorpusRecipe,
    raw_dir: str | Path,
    out_dir: str | Path,
    workers: int = 1,
    tokenizer: str | Path | None = None,
    cluster: str | None = None,
) -> Manifest:
    """Turn a folder of recordings into a chat corpus.

    Subjects are split first. Each file is read once; the codec then learns its scales from the training subjects'
    training trials only, without labels unless it is a supervised one; then training rows come from codecs that never
    saw their subject (`dataset_builder.codecs.fitted.Fitted`). A subject whose files are damaged is left out, named in
    the report, and does not stop the others. An interrupted build goes on where it was.

    Parameters
    ----------
    recipe : CorpusRecipe
    raw_dir : str or Path
        Root of the raw data, for example a FACED download.
    out_dir : str or Path
        Folder to write: README.md, ``data/*.parquet``, ``codec.safetensors``, ``report.html``, ``manifest.json``.
    workers : int
        Processes that read; the result is the same for any number.
    tokenizer : str or Path, optional
        A ``tokenizer.json`` or a folder with one. With it every symbol of the code is checked to be one token, and
        rows tell how many tokens they take.
    cluster : str, optional
        ``"local"`` or the address of a Dask scheduler, whose workers read instead; the result is the same.

    Returns
    -------
    Manifest

    Raises
    ------
    InputError
        If the raw data cannot be used, or the tokenizer splits or merges the code's symbols.
    RecipeError
        If the codec cannot give the copies that the recipe asks for.
    AuditError
        If the rows leak: see `dataset_builder.audit`.
    """
    source = open_source(recipe, raw_dir)
    codec = make_codec(recipe.codec)
    check_augment(recipe.augment, codec)
    counter = None if tokenizer is None else load_tokenizer(tokenizer)
    if counter is not None:
        check_alphabet(codec, counter)
    chosen = _choose_subjects(source)
    plan = plan_splits(chosen, recipe.split)
    key: dict[str, Any] = {
        "inputs": _describe_tokenizer(tokenizer),
        "fingerprint": _fingerprint(source, plan.subjects, codec.reads),
    }
    if finished := find_finished("corpus", out_dir, recipe, **key):
        return finished
    with open_stage("corpus", out_dir, recipe, seed=recipe.seed, **key) as stage:
        stage.scratch += (FEATURES,)
        people = extract_subjects(source, codec, plan.subjects, stage.folder / FEATURES, workers, cluster)
        facts = [extraction.facts for extraction in people.values()]
        stage.synthetic = source.info.synthetic
        stage.inputs += [describe_file(path, source.root) for path in source.tables()]
        stage.inputs += [artifact for person in facts for artifact in person.files]
        _refuse_empty(facts, plan)
        folds = fold_clips(facts)
        fitted = fit_codec(codec, people, plan, folds, recipe.seed)
        codec = fitted.codec
        maker = RowMaker(source.info.name, codec, get_style(recipe.prompt), recipe.seed)
        tables, unused = TableMaker(plan, folds, maker, fitted, recipe.augment, counter).make_tables(people)
        digests = {row_id: digest for person in facts for row_id, digest in maker.list_digests(person)}
        stage.facts["audit"] = audit_corpus(tables, plan, digests, maker.render_prompt, maker.style, codec)
        stage.facts |= {
            "splits": {split: _count(table) for split, table in tables.items()},
            "source": source.info.model_dump(mode="json"),
            "codec": describe_codec(codec),
            "library_version": LIBRARY.version,
            "values_per_code": codec.n_values,
            "subjects": [_summarise(person) for person in facts],
            "trained_people": _describe_trained(facts, tables["train"], source),
        }
        stage.dropped |= _count_dropped(facts, unused)
        stage.dropped |= _count_unread(len(source.subjects()), len(chosen), len(plan.subjects))
        write_shards(stage.folder, tables, recipe.shard_rows)
        if recipe.reconstruct:
            codec = attach_reconstruction(codec, learn_reconstruction(codec, people, plan, folds))
        write_bytes(stage.folder / CODEC_FILE, dump_codec(codec))
        write_text(stage.folder / REPORT_FILE, render_data_report(recipe, source, codec, tables, stage))
        write_text(stage.folder / "README.md", render_readme(recipe, source, tables, stage))
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def open_source(recipe: CorpusRecipe, raw_dir: str | Path) -> Source:
    """Return the raw data as a corpus of this recipe reads it."""
    source: Source = SOURCES[recipe.source.name](Path(raw_dir), recipe.source, recipe.preprocessing)
    return source


def describe_codec(codec: Codec) -> dict[str, Any]:
    """Return what a codec declares of itself, for manifests and cards."""
    keys = ("name", "supervised", "normalization", "n_values", "n_tokens", "levels", "error_bound", "legend")
    return {key: getattr(codec, key) for key in keys} | {"alphabet": "".join(codec.alphabet)}


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
    counts = read_manifest(corpus_dir).facts.get("splits")
    if counts is None:
        raise InputError(f"{Path(corpus_dir).name}: is not a corpus")
    if split not in counts:
        raise InputError(f"split {split!r}: unknown; accepted: {', '.join(counts)}")
    files = sorted((Path(corpus_dir) / "data").glob(f"{split}-*.parquet"))
    try:
        table = pa.concat_tables(
            [SCHEMA.empty_table(), *(pq.read_table(path) for path in files)], promote_options="default"
        )
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


def _choose_subjects(source: Source) -> list[str]:
    known, wanted = source.subjects(), source.config.subjects
    if wanted == "all":
        return known
    if unknown := sorted(set(wanted) - set(known)):
        raise InputError(f"source.subjects: {', '.join(unknown)} not found; {len(known)} subjects are there")
    return sorted(wanted)


def _describe_tokenizer(path: str | Path | None) -> list[Artifact]:
    if path is None:
        return []
    file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
    return [describe_file(file, file.parent)]


def _fingerprint(source: Source, subjects: list[str], reads: str) -> str:
    files = [path for subject in subjects for path in source.files(subject, reads)]
    return f"{fingerprint_files([*source.tables(), *files], source.root)} library {LIBRARY.version}"


def _refuse_empty(facts: list[SubjectFacts], plan: SplitPlan) -> None:
    """Stop when nobody is left to fit on, with the first reason there is."""
    usable = {person.subject for person in facts if person.state == "used"}
    if not usable & set(plan.train_subjects):
        first = next((person.detail for person in facts if person.state != "used"), "no subject takes part in training")
        raise InputError(f"{len(facts) - len(usable)} of {len(facts)} subjects cannot be used: {first}")


def _count(table: pa.Table) -> dict[str, int]:
    return {"rows": table.num_rows, "subjects": len(set(table["subject"].to_pylist()))}


def _describe_trained(facts: list[SubjectFacts], train: pa.Table, source: Source) -> dict[str, Any] | None:
    """Return by what the training subjects can be recognised, also by those who get the model without the corpus."""
    names = set(train["subject"].to_pylist())
    return describe_people([person for person in facts if person.subject in names], source.info.name)


def _summarise(person: SubjectFacts) -> dict[str, Any]:
    """Return what the report and the manifest tell of one subject."""
    return {
        "subject": person.subject,
        "state": person.state,
        "trials": len(person.trials),
        "why": person.detail,
        "notes": person.notes,
    }


def _count_unread(known: int, chosen: int, planned: int) -> dict[str, int]:
    counts = {
        "subject not among source.subjects": known - chosen,
        "subject outside the split's ranges": chosen - planned,
    }
    return {reason: count for reason, count in counts.items() if count}


def _count_dropped(facts: list[SubjectFacts], unused: int) -> dict[str, int]:
    dropped: Counter[str] = Counter()
    for person in facts:
        dropped.update(person.left_out if person.state == "used" else [person.reason])
    if unused:
        dropped["trial without a label or outside the protocol"] = unused
    return dict(dropped)

"""The record stage: recording file + GGUF file -> folder with the drafted record in every asked format.

::

    record/
      record.json     all of it, for programs
      record.html     one printable page
      manifest.json   what was read and done; names no recording
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from copilot.answer import answer_recording
from copilot.gate import cap_age
from copilot.record import FORMATS, REVIEW, Record, name_file
from copilot.record.build import build_record
from copilot.record.provenance import describe_model
from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, Artifact, Manifest, hash_file, read_manifest, write_bytes
from dataset_builder.prompts import get_style
from dataset_builder.recipe import StrictModel
from dataset_builder.sources.recordings import read_recording
from dataset_builder.sparse import fill_before, find_reconstruction, list_missing
from dataset_builder.stage import open_stage
from model_recipes.engine import Engine
from model_recipes.exporting.gguf_file import read_copilot_gguf

#: Files that belong to a header file: BrainVision's markers and samples, EEGLAB's samples.
_SIDECARS = (".vmrk", ".eeg", ".fdt")


class RecordOptions(StrictModel):
    """Options of a record.

    Parameters
    ----------
    age : int or None
        Years, 0 to 120; every age above 89 is kept as 90, which a record shows as "90 or older".
    sex : {"F", "M"} or None
    synthetic : bool
        The recording is made up; the record says so.
    formats : list of str
        Keys of `copilot.record.FORMATS`.
    fill_channels : {"spline", "learned"} or None
        How scalp channels that the recording lacks are reconstructed for the code; None: not at all.
    seed : int
        Seed of the generated answer.
    """

    age: Annotated[int, Field(ge=0, le=120), AfterValidator(cap_age)] | None = None
    sex: Literal["F", "M"] | None = None
    synthetic: bool = False
    formats: list[Literal["json", "html", "pdf", "fhir"]] = Field(default=["json", "html"], min_length=1)
    fill_channels: Literal["spline", "learned"] | None = None
    seed: int = Field(default=17, ge=0)


def draft_record(
    options: RecordOptions,
    recording_path: str | Path,
    model_path: str | Path,
    out: str | Path,
    n_threads: int | None = None,
) -> tuple[Record, Manifest]:
    """Read a recording, ask the model, write the record.

    Parameters
    ----------
    options : RecordOptions
    recording_path : str or Path
        EDF, BDF, FIF, EEGLAB or BrainVision file. Its name enters nothing that is written.
    model_path : str or Path
        GGUF file of this project; it holds the codec too.
    out : str or Path
        Folder to write. An older record there is replaced once the new one is complete.
    n_threads : int, optional
        Threads of the engine.

    Returns
    -------
    tuple of Record and Manifest

    Raises
    ------
    InputError
        If a file cannot be used, or `out` holds something other than a record.
    """
    recording_path, model_path, out = Path(recording_path), Path(model_path), Path(out)
    _refuse_other_work(out)
    model = read_copilot_gguf(model_path)
    recording = read_recording(recording_path, age=options.age, sex=options.sex)
    recording = model.codec.cut(replace(recording, synthetic=recording.synthetic or options.synthetic))
    inputs, codec = describe_inputs(recording_path), model.codec
    if options.fill_channels and list_missing(recording.channels):
        filling = find_reconstruction(codec, options.fill_channels)
        codec = fill_before(codec, filling)
        recording = replace(recording, notes=(*recording.notes, filling.tell(recording.channels)))
    with Engine(model_path, n_threads=n_threads) as engine:
        answer = answer_recording(recording, engine, codec, get_style(model.prompt), seed=options.seed)
    record = build_record(recording, answer, describe_model(model, model_path), sha256=inputs[0].sha256)
    parents = [model_path.parent] if (model_path.parent / MANIFEST).is_file() else []
    with open_stage("record", out, options, parents=parents, inputs=inputs, seed=options.seed) as stage:
        stage.synthetic = stage.synthetic or record.synthetic or bool(record.provenance.synthetic_training)
        stage.facts = _summarise(record)
        for name in options.formats:
            write_bytes(stage.folder / name_file(name), FORMATS[name](record))
    assert stage.manifest is not None
    return record, stage.manifest


def describe_inputs(recording_path: Path) -> list[Artifact]:
    """Return the recording's files by content, under a name that tells nothing: ``recording.edf``."""
    sidecars = [recording_path.with_suffix(suffix) for suffix in _SIDECARS]
    return [
        Artifact(name=f"recording{path.suffix.lower()}", bytes=path.stat().st_size, sha256=hash_file(path))
        for path in (recording_path, *sidecars)
        if path.is_file()
    ]


def _refuse_other_work(out: Path) -> None:
    """Fail before the model is asked, not after, when `out` must not be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or read_manifest(out).stage != "record":
        raise InputError(f"{out.name}: holds something other than a record; choose an empty or new folder")
    if any(out.glob(f"{REVIEW}*")):  # a save that was interrupted leaves it under another name
        raise InputError(f"{out.name}: holds a record that people have reviewed; choose an empty or new folder")


def _summarise(record: Record) -> dict[str, object]:
    estimate = record.estimate
    return {
        "emotion": estimate.emotion,
        "scores": {score.emotion: round(score.probability, 6) for score in estimate.scores},
        "abstained": estimate.abstained,
        "low_confidence": estimate.low_confidence,
        "n_windows": record.recording.n_windows,
        "model": {"name": record.provenance.model, "sha256": record.provenance.gguf_sha256},
    }

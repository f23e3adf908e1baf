"""The paper's experiments with the record at their end, and the page that tells all of it."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from copilot.record import Record
from copilot.record_stage import RecordOptions, draft_record
from dataset_builder.corpus import load_split
from dataset_builder.errors import InputError
from dataset_builder.manifest import write_text
from dataset_builder.recipe import validate
from dataset_builder.sources.faced import FacedSource
from dataset_builder.sources.synthetic import write_recording_file
from model_recipes.paper import PaperRun, run_experiments
from model_recipes.paper_study.recipes import PaperOptions
from model_recipes.paper_study.report import REPORT_FILE, format_findings, render_paper
from model_recipes.reproduce_report import Chapter

#: Trials in a row that make the recording, as in the demo.
_RECORDED_TRIALS = range(7)

RECORD = "record"


def reproduce_paper(options: PaperOptions, workers: int = 1) -> str:
    """Run every experiment that is not finished yet, draft one record, write the report.

    Parameters
    ----------
    options : PaperOptions
    workers : int
        Processes that read recordings.

    Returns
    -------
    str
        The findings and where the report lies, for a terminal.

    Raises
    ------
    CopilotError
        From whichever stage cannot go on; finished stages stay.
    """
    run = run_experiments(options, workers)
    record = draft_example(run, Path(options.faced))
    section = None if record is None else render_record(record)
    write_text(run.root / REPORT_FILE, render_paper(options, run, section))
    return f"{format_findings(run)}\n\nwrote {run.root / REPORT_FILE}"


def draft_example(run: PaperRun, raw: Path) -> Record | None:
    """Draft the record of the last person with waveforms whom no model met; None if there is nobody."""
    source = FacedSource(raw)
    corpus = next(chapter.folder for chapter in run.chapters.values() if chapter.manifest.stage == "corpus")
    unseen = [
        subject for split in ("validation", "test") for subject in sorted(set(load_split(corpus, split)["subject"]))
    ]
    for subject in reversed(unseen):
        try:
            person = source.read(subject, reads="signal_uv")
        except InputError:
            continue  # features alone; the page says so if nobody has more
        recording = write_recording_file(person, run.root / "recording.edf", list(_RECORDED_TRIALS))
        values = {"age": person.age, "sex": person.sex, "synthetic": person.synthetic}
        model = sorted(run.folder("gguf").glob("*.gguf"))[0]
        known = validate(RecordOptions, values, where="record")
        record, manifest = draft_record(known, recording, model, run.root / RECORD)
        run.chapters[RECORD] = Chapter("record", run.root / RECORD, manifest)
        return record
    return None


def render_record(record: Record) -> Markup:
    """Return one record as a section of a page: what went in, what came back, the fields it became."""
    environment = Environment(loader=PackageLoader("copilot"), undefined=StrictUndefined, autoescape=True)
    return Markup(environment.get_template("paper_record.html.jinja").render(record=record, folder=RECORD))  # noqa: S704

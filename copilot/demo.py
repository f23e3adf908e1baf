"""The whole path in one call, every stage real: EEG -> corpus -> model -> GGUF -> record -> report."""

import json
from pathlib import Path

from pydantic import Field

from copilot.record_stage import RecordOptions, draft_record
from copilot.report import Step, format_table, make_table, render_report
from dataset_builder.corpus import CorpusRecipe, build_corpus, load_split
from dataset_builder.manifest import Manifest, write_text
from dataset_builder.recipe import Model, StrictModel, check_changes, load_recipe, validate
from dataset_builder.sources.faced import FacedSource
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort, write_recording_file
from model_recipes.adapter import AdapterRecipe, train_adapter
from model_recipes.base import BaseRecipe, make_base
from model_recipes.bases.hub import check_cached
from model_recipes.evaluate import EvaluateRecipe, evaluate_models
from model_recipes.gguf import GgufRecipe, export_gguf
from model_recipes.merge import MergeRecipe, merge_adapter
from model_recipes.prune import PruneRecipe, prune_model
from model_recipes.recover import RecoverRecipe, recover_model

_ROOT = Path(__file__).parents[1]

#: Bases with recipes of their own; any other name takes those written for Qwen2-0.5B.
_RECIPE_FOLDERS = {"tiny": "tiny", "smollm2": "smollm2"}

#: Bases that come from elsewhere than the Hub.
MADE_HERE = ("tiny", "smollm2")

#: The made-up cohort; only its last subject, who is of the test split, has waveforms to draft a record from.
_COHORT = SynthRecipe(subjects=100, signals=["sub099"])

#: The block of four neutral films makes the recording: the only block that belongs to one emotion, so that one estimate
#: for the whole recording means something. It is an easy case, taken after nine sets of trials were tried; over films
#: of several emotions the scores mostly tie and no estimate is given. Two of the four films are new to the model.
_RECORDED_TRIALS = range(12, 16)


class DemoOptions(StrictModel):
    """What the demo runs on.

    Parameters
    ----------
    out : str
        Folder that gets one folder per stage and ``report.html``.
    faced : str, optional
        FACED-layout folder; a synthetic cohort is made without it.
    base : str
        ``tiny``, ``smollm2``, a Hub id or a model folder.
    text : str, optional
        Plain text file or folder for pruning and recovery.
    set : list of str
        ``"stage.key=value"`` changes of recipe keys.
    """

    out: str
    faced: str | None = None
    base: str = "tiny"
    text: str | None = None
    set: list[str] = Field(default_factory=list)


class DemoRecipes(StrictModel):
    """One recipe per stage; the names are what ``--set STAGE.KEY=VALUE`` takes."""

    corpus: CorpusRecipe
    base: BaseRecipe
    prune: PruneRecipe
    recover: RecoverRecipe
    adapter: AdapterRecipe
    merge: MergeRecipe
    gguf: GgufRecipe
    evaluate: EvaluateRecipe


STAGES: tuple[str, ...] = tuple(DemoRecipes.model_fields)


def run_demo(options: DemoOptions) -> str:
    """Run every stage that is not finished yet, then write the report.

    Parameters
    ----------
    options : DemoOptions

    Returns
    -------
    str
        The report's table and where the pages lie, for a terminal.

    Raises
    ------
    CopilotError
        From whichever stage cannot go on; finished stages stay.
    """
    recipes = load_recipes(options)
    if recipes.base.name not in MADE_HERE:
        check_cached(recipes.base.name, recipes.base.revision)  # before minutes of work, not after
    root = Path(options.out)
    cohort = root / "cohort"
    raw = Path(options.faced) if options.faced else cohort
    corpus = root / "eeg-emotion-copilot"
    base, pruned, recovered, adapter, merged, gguf, evaluation = (
        root / name for name in ("base", "pruned", "recovered", "adapter", "merged", "gguf", "evaluation")
    )
    steps: list[Step] = []

    def keep(title: str, folder: Path, manifest: Manifest) -> None:
        steps.append(Step(title, folder, manifest))

    if options.faced is None:
        keep("synthetic cohort", cohort, write_cohort(_COHORT, cohort))
    keep("corpus", corpus, build_corpus(recipes.corpus, raw, corpus))
    keep("base", base, make_base(recipes.base, base, corpus))
    keep("pruned", pruned, prune_model(recipes.prune, base, pruned, corpus))
    keep("recovered", recovered, recover_model(recipes.recover, pruned, base, recovered, corpus))
    keep("adapter", adapter, train_adapter(recipes.adapter, recovered, corpus, adapter))
    keep("merged", merged, merge_adapter(recipes.merge, recovered, adapter, merged))
    keep("gguf", gguf, export_gguf(recipes.gguf, merged, corpus, gguf))
    models = [base, pruned, recovered, merged, *sorted(gguf.glob("*.gguf"))]
    keep("evaluation", evaluation, evaluate_models(recipes.evaluate, corpus, models, evaluation))
    recorded = _find_unseen_person(raw, corpus)
    if recorded:
        keep("record", root / "record", _draft_record(raw, recorded, models[-1], root))
    write_text(root / "report.html", render_report(steps, root))
    pages = [step.folder / "record.html" for step in steps if step.manifest.stage == "record"]
    lines = [f"wrote {page}" for page in (root / "report.html", *pages)]
    if not recorded:
        lines.append(f"no record: no unseen person has waveforms here; eeg-copilot record FILE --model {models[-1]}")
    return "\n".join([format_table(make_table(steps, root)), "", *lines])


def _find_unseen_person(raw: Path, corpus: Path) -> str | None:
    """Return a subject with waveforms whom the model never met: the last of the test split, else of validation."""
    unseen = [
        subject for split in ("validation", "test") for subject in sorted(set(load_split(corpus, split)["subject"]))
    ]
    return next((s for s in reversed(unseen) if (raw / "Processed_data" / f"{s}.pkl").is_file()), None)


def _draft_record(raw: Path, subject: str, model: Path, root: Path) -> Manifest:
    """Write one person's recording as an EDF file, as it would come from an amplifier, and draft their record."""
    person = FacedSource(raw).read(subject, reads="signal_uv")
    recording = write_recording_file(person, root / "recording.edf", list(_RECORDED_TRIALS))
    values = {"age": person.age, "sex": person.sex, "synthetic": person.synthetic}
    options = validate(RecordOptions, values, where="record")
    return draft_record(options, recording, model, root / "record")[1]


def load_recipes(options: DemoOptions) -> DemoRecipes:
    """Read every recipe of a run before any work begins, with the changes that the options ask for.

    Raises
    ------
    RecipeError
        If a change names no stage, or does not fit the stage's recipe.
    """
    check_changes(options.set, STAGES)
    folder = _ROOT / "model_recipes" / "recipes" / _RECIPE_FOLDERS.get(options.base, "qwen2-0.5b")
    corpus = "demo-synthetic" if options.faced is None else "faced-qa"

    def load(stage: str, path: Path, model: type[Model]) -> Model:
        first = []
        if stage == "base":
            first.append(f"base.name={options.base}")
        if options.text and "text" in model.model_fields:
            first.append(f"{stage}.text={{path: {json.dumps(options.text)}}}")
        return load_recipe(path, model, [*first, *options.set], stage=stage)

    def pick(stage: str) -> Path:
        """Return the recipe for a first look where the base has one."""
        fast = folder / f"{stage}-fast.yaml"
        return fast if fast.is_file() else folder / f"{stage}.yaml"

    return DemoRecipes(
        corpus=load("corpus", _ROOT / "dataset_builder" / "recipes" / f"{corpus}.yaml", CorpusRecipe),
        base=load("base", folder / "base.yaml", BaseRecipe),
        prune=load("prune", pick("prune"), PruneRecipe),
        recover=load("recover", pick("recover"), RecoverRecipe),
        adapter=load("adapter", folder / "adapter.yaml", AdapterRecipe),
        merge=load("merge", folder / "merge.yaml", MergeRecipe),
        gguf=load("gguf", folder / "gguf.yaml", GgufRecipe),
        evaluate=load("evaluate", folder / "evaluate.yaml", EvaluateRecipe),
    )

"""One command from EEG features to a trained reader, its GGUF file and its evaluation, for both protocols.

The reader of known clips is trained beside one for which people and clips are both new: the first number without the
second would be taken for more than it is, recognition of the film and not of a feeling.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from dataset_builder.corpus import CorpusRecipe, build_corpus, open_source
from dataset_builder.errors import RecipeError
from dataset_builder.manifest import Manifest, write_text
from dataset_builder.recipe import Model, StrictModel, check_changes, load_recipe
from model_recipes.base import BaseRecipe, make_base
from model_recipes.evaluate import EvaluateRecipe, evaluate_models
from model_recipes.gguf import GgufRecipe, export_gguf
from model_recipes.reader import ReaderRecipe, train_reader
from model_recipes.reproduce_report import Chapter, format_summary, render_reproduction

_ROOT = Path(__file__).parents[1]
_CORPORA = _ROOT / "dataset_builder" / "recipes"
_MODELS = _ROOT / "model_recipes" / "recipes" / "tiny"

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Experiment:
    """Which corpus recipes belong together.

    Parameters
    ----------
    corpus : str
        New people, known clips.
    unseen : str
        New people, new clips.
    """

    corpus: str
    unseen: str


#: What can be reproduced, by name.
EXPERIMENTS: dict[str, Experiment] = {
    "faced-reader": Experiment("faced-reader", "faced-reader-unseen"),
    "faced-reader-segments": Experiment("faced-reader-segments", "faced-reader-segments-unseen"),
}


class ReproduceOptions(StrictModel):
    """What is reproduced, and from what.

    Parameters
    ----------
    experiment : str
        A name in `EXPERIMENTS`.
    faced : str
        Folder in FACED's release layout; features are enough.
    out : str
        Folder that gets one folder per stage and ``report.html``.
    normalization : {"session", "none", "calibration", "causal"}
        Which of a person's trials set the scale; ``none`` reads one trial of a stranger.
    set : list of str
        ``"stage.key=value"`` changes of recipe keys.
    """

    experiment: str
    faced: str
    out: str
    normalization: Literal["session", "none", "calibration", "causal"] = "session"
    set: list[str] = Field(default_factory=list)


class ReproduceRecipes(StrictModel):
    """One recipe per stage; the names are what ``--set STAGE.KEY=VALUE`` takes.

    ``unseen`` and ``unseen_reader`` are of the second protocol. The fold of clips that its corpus holds out is held out
    by its reader and its evaluation too, whatever their own recipes say.
    """

    corpus: CorpusRecipe
    unseen: CorpusRecipe
    base: BaseRecipe
    reader: ReaderRecipe
    unseen_reader: ReaderRecipe
    gguf: GgufRecipe
    evaluate: EvaluateRecipe


STAGES: tuple[str, ...] = tuple(ReproduceRecipes.model_fields)


def reproduce(options: ReproduceOptions, workers: int = 1) -> str:
    """Run every stage that is not finished yet, then write the report.

    Parameters
    ----------
    options : ReproduceOptions
    workers : int
        Processes that read recordings.

    Returns
    -------
    str
        The report's numbers and where it lies, for a terminal.

    Raises
    ------
    CopilotError
        From whichever stage cannot go on; finished stages stay.
    """
    recipes = load_recipes(options)
    root, raw = Path(options.out), Path(options.faced)
    chapters: list[Chapter] = []

    def keep(title: str, name: str, manifest: Manifest) -> Path:
        chapters.append(Chapter(title, root / name, manifest))
        return root / name

    corpus = keep("corpus", "corpus", build_corpus(recipes.corpus, raw, root / "corpus", workers))
    base = keep("base", "base", make_base(recipes.base, root / "base", corpus))
    reader = keep("reader", "reader", train_reader(recipes.reader, base, corpus, root / "reader"))
    gguf = keep("GGUF", "gguf", export_gguf(recipes.gguf, reader, corpus, root / "gguf"))
    models = [reader, *sorted(gguf.glob("*.gguf"))]
    source = open_source(recipes.corpus, raw)
    found = evaluate_models(recipes.evaluate, corpus, models, root / "evaluation", source=source)
    keep("evaluation", "evaluation", found)

    fold = recipes.unseen.split.held_out_fold
    unseen = keep(
        "corpus, clips new", "corpus-unseen", build_corpus(recipes.unseen, raw, root / "corpus-unseen", workers)
    )
    held_out = recipes.unseen_reader.model_copy(update={"held_out_fold": fold})
    second = keep("reader, clips new", "reader-unseen", train_reader(held_out, base, unseen, root / "reader-unseen"))
    asked = recipes.evaluate.model_copy(update={"held_out_fold": fold})
    found = evaluate_models(asked, unseen, [second], root / "evaluation-unseen", source=source)
    keep("evaluation, clips new", "evaluation-unseen", found)
    write_text(root / REPORT_FILE, render_reproduction(options.experiment, options.normalization, chapters, root))
    return f"{format_summary(chapters)}\n\nwrote {root / REPORT_FILE}"


def load_recipes(options: ReproduceOptions) -> ReproduceRecipes:
    """Read every recipe of a run before any work begins, with the changes that the options ask for.

    Raises
    ------
    RecipeError
        If the experiment or a changed stage is unknown, or a change does not fit the stage's recipe.
    """
    if options.experiment not in EXPERIMENTS:
        raise RecipeError(f"reproduce {options.experiment}: unknown; accepted: {', '.join(EXPERIMENTS)}")
    check_changes(options.set, STAGES)
    chosen = EXPERIMENTS[options.experiment]
    scale = f"codec.normalization={{mode: {options.normalization}}}"

    def load(stage: str, path: Path, model: type[Model], *first: str) -> Model:
        return load_recipe(path, model, [*(f"{stage}.{one}" for one in first), *options.set], stage=stage)

    return ReproduceRecipes(
        corpus=load("corpus", _CORPORA / f"{chosen.corpus}.yaml", CorpusRecipe, scale),
        unseen=load("unseen", _CORPORA / f"{chosen.unseen}.yaml", CorpusRecipe, scale),
        base=load("base", _MODELS / "base-reader.yaml", BaseRecipe),
        reader=load("reader", _MODELS / "reader.yaml", ReaderRecipe),
        unseen_reader=load("unseen_reader", _MODELS / "reader-unseen.yaml", ReaderRecipe),
        gguf=load("gguf", _MODELS / "gguf.yaml", GgufRecipe, "name=eeg-emotion-copilot-reader"),
        evaluate=load("evaluate", _MODELS / "evaluate-people.yaml", EvaluateRecipe),
    )

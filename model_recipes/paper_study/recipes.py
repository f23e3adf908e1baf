"""Recipes of the paper's experiments: those of the base's folder, cut to a budget, on codes of equal length."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from dataset_builder.corpus import CorpusRecipe, open_source
from dataset_builder.errors import InputError
from dataset_builder.recipe import Model, StrictModel, check_changes, load_recipe
from dataset_builder.sources.base import Source
from dataset_builder.splits import SPLITS, plan_splits
from model_recipes.base import BaseRecipe
from model_recipes.evaluate import EvaluateRecipe
from model_recipes.exporting.recipe import GgufRecipe
from model_recipes.merge import MergeRecipe
from model_recipes.prune import PruneRecipe
from model_recipes.pseudo_quantise import PseudoQuantiseRecipe
from model_recipes.recover import RecoverRecipe
from model_recipes.training.adapter_recipe import AdapterRecipe

_ROOT = Path(__file__).parents[2]

#: Bases with recipes of their own; any other name takes those written for Qwen2-0.5B.
_RECIPE_FOLDERS = {"tiny": "tiny", "smollm2": "smollm2"}

#: The codes of the signal-length study; each writes 50 values a channel, so prompts are equally long.
CODES: dict[str, dict[str, object]] = {
    "original": {"name": "raw", "points": 50},
    "wavelet": {"name": "wavelet", "points": 50},
    "segmented": {"name": "wavelet_segments", "points": 500, "segments": 10, "keep": "first"},
}

#: Where no waveforms are: digits of band power, and no signal-length study.
_FEATURE_CODE: dict[str, object] = {"name": "band_power", "space": "regions", "windows": 1, "levels": 10}

#: People of the small budget, by split; evenly spaced, so both cohorts of FACED are among them.
_SMALL_PEOPLE = {"train": 24, "validation": 6, "test": 6}

#: What the small budget changes, by stage.
_SMALL = {
    "adapter": ["steps=300"],
    "evaluate": ["max_rows=168", "probes=[emotion]"],
    "gguf": ["types=[F16]"],
}


class PaperOptions(StrictModel):
    """What the paper's experiments run on.

    Parameters
    ----------
    faced : str
        Folder in FACED's release layout. With waveforms the codes are the paper's; features alone give band power.
    out : str
        Folder that gets one folder per stage and ``report.html``.
    base : str
        ``tiny``, ``smollm2``, a Hub id or a model folder.
    questions : int
        Trials whose answers are compared between codes.
    budget : {"small", "full"}
        ``small``: 36 people and few steps, minutes with the tiny base. ``full``: everybody, recipes as they are.
    larger : list of str
        Hub ids or folders of larger bases to stand beside, each adapted without pruning.
    text : str, optional
        Plain text file or folder as public text.
    set : list of str
        ``"stage.key=value"`` changes of recipe keys.
    """

    faced: str
    out: str
    base: str = "tiny"
    questions: int = Field(default=18, ge=2)
    budget: Literal["small", "full"] = "small"
    larger: list[str] = Field(default_factory=list)
    text: str | None = None
    set: list[str] = Field(default_factory=list)


class PaperRecipes(StrictModel):
    """One recipe per kind of stage; the names are what ``--set STAGE.KEY=VALUE`` takes.

    ``corpus`` is that of the wavelet code; the other codes differ in their codec alone. ``recover`` is the public text
    of the retraining orders and ``adapter`` their specific part; ``recover_paper`` and ``steps`` are the published
    values.
    """

    corpus: CorpusRecipe
    base: BaseRecipe
    prune: PruneRecipe
    recover_paper: RecoverRecipe
    steps: AdapterRecipe
    recover: RecoverRecipe
    adapter: AdapterRecipe
    merge: MergeRecipe
    pseudo_quantise: PseudoQuantiseRecipe
    gguf: GgufRecipe
    evaluate: EvaluateRecipe


STAGES: tuple[str, ...] = tuple(PaperRecipes.model_fields)


def load_paper_recipes(options: PaperOptions) -> tuple[PaperRecipes, dict[str, CorpusRecipe]]:
    """Read every recipe before any work begins.

    Returns
    -------
    tuple of (PaperRecipes, dict of str to CorpusRecipe)
        The recipes, and the corpus recipe of each code that the data allow: all of `CODES`, or band power alone.

    Raises
    ------
    RecipeError
        If a change names no stage, or does not fit the stage's recipe.
    InputError
        If the folder holds nobody to work on.
    """
    check_changes(options.set, STAGES)
    folder = _ROOT / "model_recipes" / "recipes" / _RECIPE_FOLDERS.get(options.base, "qwen2-0.5b")
    length = [f"max_length={1024 if options.base == 'tiny' else 2048}"]

    def load(stage: str, path: Path, model: type[Model], *first: str) -> Model:
        text = [f"text={{path: {json.dumps(options.text)}}}"] if options.text and "text" in model.model_fields else []
        small = _SMALL.get(stage, []) if options.budget == "small" else []
        given = [f"{stage}.{one}" for one in (*first, *text, *small)]
        return load_recipe(path, model, [*given, *options.set], stage=stage)

    def load_corpus(codec: dict[str, object], people: str) -> CorpusRecipe:
        path = _ROOT / "dataset_builder" / "recipes" / "faced-qa-paper.yaml"
        first = [
            f"name=paper-{codec['name']}".replace("_", "-"),
            f"codec={json.dumps(codec)}",
            f"source.subjects={people}",
        ]
        return load("corpus", path, CorpusRecipe, *first)

    whole = load_corpus(_FEATURE_CODE, "all")
    people, has_waveforms = _choose_people(options, whole)
    codes = {name: codec | _count_values(options.base) for name, codec in CODES.items()}
    codes = codes if has_waveforms else {"band power": _FEATURE_CODE}
    corpora = {name: load_corpus(codec, people) for name, codec in codes.items()}
    recipes = PaperRecipes(
        corpus=corpora["wavelet" if has_waveforms else "band power"],
        base=load("base", folder / "base.yaml", BaseRecipe, f"name={json.dumps(options.base)}"),
        prune=load("prune", folder / "prune-paper.yaml", PruneRecipe),
        recover_paper=load("recover_paper", folder / "recover-paper.yaml", RecoverRecipe),
        steps=load("steps", folder / "adapter-paper.yaml", AdapterRecipe, *length),
        recover=load("recover", folder / "recover.yaml", RecoverRecipe, "rows_share=0.0"),
        adapter=load("adapter", folder / "adapter.yaml", AdapterRecipe, *length),
        merge=load("merge", folder / "merge.yaml", MergeRecipe),
        pseudo_quantise=load("pseudo_quantise", folder / "pseudo-quantise-paper.yaml", PseudoQuantiseRecipe),
        gguf=load("gguf", folder / "gguf.yaml", GgufRecipe),
        evaluate=load("evaluate", folder / "evaluate.yaml", EvaluateRecipe),
    )
    return recipes, corpora


def _count_values(base: str) -> dict[str, object]:
    """Return channels and decimals: one channel where a model of two million parameters has to read them."""
    if base == "tiny":
        return {"channels": ["Cz"], "decimals": 1}
    return {"channels": ["Fz", "Cz", "Pz"], "decimals": 2}


def _choose_people(options: PaperOptions, recipe: CorpusRecipe) -> tuple[str, bool]:
    """Return the value of ``source.subjects``, and whether everybody chosen has waveforms."""
    source = open_source(recipe, options.faced)
    subjects = source.subjects() if recipe.source.subjects == "all" else list(recipe.source.subjects)
    homes = plan_splits(subjects, recipe.split).homes
    chosen = [subject for split in SPLITS for subject in _thin(split, homes)]
    whole = sorted(chosen) if options.budget == "small" else subjects
    return json.dumps(whole), all(_has_waveforms(source, subject) for subject in whole)


def _thin(split: str, homes: dict[str, str]) -> list[str]:
    """Return evenly spaced people of a split, at most as many as the small budget allows."""
    members = [subject for subject, home in homes.items() if home == split]
    count = min(len(members), _SMALL_PEOPLE[split])
    return [members[i] for i in np.linspace(0, len(members) - 1, count).round().astype(int).tolist()] if count else []


def _has_waveforms(source: Source, subject: str) -> bool:
    try:
        return bool(source.files(subject, "signal_uv"))
    except InputError:
        return False

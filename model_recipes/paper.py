"""The paper's experiments as stages: signal length, retraining orders, five steps, model sizes.

Published values (`recover_paper`, `steps`) stand beside ours (`recover`, `adapter`): at a rate of 1e-5 a hundred steps
change next to nothing, and orders that change nothing cannot be told apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dataset_builder.corpus import CorpusRecipe, build_corpus
from dataset_builder.manifest import Manifest
from model_recipes.adapter import train_adapter
from model_recipes.base import BaseRecipe, make_base
from model_recipes.evaluate import evaluate_models
from model_recipes.gguf import export_gguf
from model_recipes.merge import merge_adapter
from model_recipes.paper_study.answers import AnswersRecipe, Asked, compare_answers
from model_recipes.paper_study.recipes import PaperOptions, PaperRecipes, load_paper_recipes
from model_recipes.paper_study.steps import StepsRecipe, train_in_steps
from model_recipes.prune import prune_model
from model_recipes.pseudo_quantise import pseudo_quantise_model
from model_recipes.recover import recover_model
from model_recipes.reproduce_report import Chapter

#: Which code the models other than those of the length study read.
_MAIN = ("wavelet", "band power")


@dataclass(frozen=True)
class PaperRun:
    """Finished stages of a run.

    Parameters
    ----------
    root : Path
    main : str
        The code of all experiments but the signal-length study.
    chapters : dict of str to Chapter
        By folder, in the order of the work.
    """

    root: Path
    main: str
    chapters: dict[str, Chapter]

    def folder(self, name: str) -> Path:
        """Return where a stage lies."""
        return self.chapters[name].folder

    def manifest(self, name: str) -> Manifest | None:
        """Return a stage's manifest; None where the stage had nothing to work on."""
        return self.chapters[name].manifest if name in self.chapters else None

    def name_adapter(self, code: str) -> str:
        """Return the folder of the adapter that reads a code."""
        return "public-specific" if code == self.main else f"reads-{code}"


def run_experiments(options: PaperOptions, workers: int = 1) -> PaperRun:
    """Run every stage that is not finished yet.

    Parameters
    ----------
    options : PaperOptions
    workers : int
        Processes that read recordings.

    Returns
    -------
    PaperRun

    Raises
    ------
    CopilotError
        From whichever stage cannot go on; finished stages stay.
    """
    recipes, corpora = load_paper_recipes(options)
    main = next(name for name in _MAIN if name in corpora)
    run = PaperRun(Path(options.out), main, {})
    lab = _Laboratory(run, recipes)
    lab.build_corpora(corpora, Path(options.faced), workers)
    lab.prepare()
    lab.take_steps()
    lab.compare_orders()
    lab.compare_sizes(options.larger)
    if len(corpora) > 1:
        lab.compare_lengths(list(corpora), options.questions)
    lab.evaluate(list(corpora))
    lab.export()
    return run


@dataclass(frozen=True)
class _Laboratory:
    """The experiments; each method adds its stages to the run."""

    run: PaperRun
    recipes: PaperRecipes

    def build_corpora(self, corpora: dict[str, CorpusRecipe], raw: Path, workers: int) -> None:
        for name, recipe in corpora.items():
            self._keep(_name_corpus(name), f"corpus, {name}", partial(_build, recipe, raw, workers))

    def prepare(self) -> None:
        """Make the base, and prune it as published."""
        r, run = self.recipes, self.run
        self._keep("base", "base", partial(_make_base, r.base, self._corpus))
        self._keep("pruned", "pruned", lambda out: prune_model(r.prune, run.folder("base"), out, self._corpus))

    def take_steps(self) -> None:
        """Recover with the published values, then train the published schedule."""
        r = self.recipes
        self._recover("recovered-paper", "recovered, published values", "pruned", published=True)
        recipe, model = StepsRecipe(adapter=r.steps, evaluate=r.evaluate), self.run.folder("recovered-paper")
        self._keep("steps", "five steps", lambda out: train_in_steps(recipe, model, self._corpus, out))

    def compare_orders(self) -> None:
        """Train on public text and specific rows, in either order, and on specific rows alone."""
        self._recover("public", "public", "pruned")
        self._adapt("specific", "specific only", "pruned")
        self._merge("specific-merged", "specific only, merged", "pruned", "specific")
        self._recover("specific-public", "specific, then public", "specific-merged")
        self._adapt("public-specific", "public, then specific", "public")
        self._merge("public-specific-merged", "public, then specific, merged", "public", "public-specific")

    def compare_sizes(self, larger: list[str]) -> None:
        """Adapt the unpruned base and larger ones as the pruned one was, and round the latter."""
        r, run = self.recipes, self.run
        self._adapt("unpruned", "unpruned, adapted", "base")
        merged = run.folder("public-specific-merged")
        self._keep("rounded", "pseudo-quantised", lambda out: pseudo_quantise_model(r.pseudo_quantise, merged, out))
        for number, name in enumerate(larger, start=1):
            recipe = r.base.model_copy(update={"name": name})
            folder = f"larger-{number}-base"
            self._keep(folder, f"larger base {number}", partial(_make_base, recipe, self._corpus))
            self._adapt(f"larger-{number}", f"larger base {number}, adapted", folder)

    def compare_lengths(self, codes: list[str], questions: int) -> None:
        """Train one model for each code and ask all of them the same questions."""
        run = self.run
        for code in codes:
            if code != run.main:
                self._adapt(f"reads-{code}", f"reads {code}", "public", _name_corpus(code))
        asked = [
            Asked(code, run.folder(_name_corpus(code)), run.folder("public"), run.folder(self.run.name_adapter(code)))
            for code in codes
        ]
        recipe = AnswersRecipe(
            questions=questions, held_out_fold=self.recipes.adapter.held_out_fold, seed=self.recipes.adapter.seed
        )
        base = run.folder("base")
        self._keep("answers", "answers", lambda out: compare_answers(recipe, asked, base, out))

    def evaluate(self, codes: list[str]) -> None:
        """Measure every model under both protocols, one evaluation for each code."""
        larger = [name for name in self.run.chapters if name.startswith("larger-") and not name.endswith("-base")]
        names = ["unpruned", "specific", "public-specific", "specific-public", "rounded", *larger]
        for code in codes:
            models = [self.run.folder(n) for n in (names if code == self.run.main else [self.run.name_adapter(code)])]
            corpus = self.run.folder(_name_corpus(code))
            self._keep(
                name_evaluation(code),
                f"evaluation, {code}",
                partial(evaluate_models, self.recipes.evaluate, corpus, models),
            )

    def export(self) -> None:
        """Write the GGUF file that drafts the record."""
        merged = self.run.folder("public-specific-merged")
        self._keep("gguf", "GGUF", lambda out: export_gguf(self.recipes.gguf, merged, self._corpus, out))

    @property
    def _corpus(self) -> Path:
        return self.run.folder(_name_corpus(self.run.main))

    def _recover(self, name: str, title: str, model: str, published: bool = False) -> None:
        recipe = self.recipes.recover_paper if published else self.recipes.recover
        start, teacher = self.run.folder(model), self.run.folder("base")
        self._keep(name, title, lambda out: recover_model(recipe, start, teacher, out))

    def _adapt(self, name: str, title: str, model: str, corpus: str | None = None) -> None:
        start, rows = self.run.folder(model), self._corpus if corpus is None else self.run.folder(corpus)
        self._keep(name, title, lambda out: train_adapter(self.recipes.adapter, start, rows, out))

    def _merge(self, name: str, title: str, model: str, adapter: str) -> None:
        start, change = self.run.folder(model), self.run.folder(adapter)
        self._keep(name, title, lambda out: merge_adapter(self.recipes.merge, start, change, out))

    def _keep(self, name: str, title: str, work: Callable[[Path], Manifest]) -> None:
        folder = self.run.root / name
        self.run.chapters[name] = Chapter(title, folder, work(folder))


def _build(recipe: CorpusRecipe, raw: Path, workers: int, out: Path) -> Manifest:
    return build_corpus(recipe, raw, out, workers)


def _make_base(recipe: BaseRecipe, corpus: Path, out: Path) -> Manifest:
    return make_base(recipe, out, corpus)


def _name_corpus(code: str) -> str:
    return f"corpus-{code}".replace(" ", "-")


def name_evaluation(code: str) -> str:
    """Return the folder of the evaluation on one code."""
    return f"evaluation-{code}".replace(" ", "-")

"""The page of the paper's experiments: every claim beside what was measured, from manifests alone."""

import base64

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from dataset_builder.figures import FAINT, STYLE, to_png
from dataset_builder.manifest import Manifest
from model_recipes.evaluation.trials import UNSEEN_CLIPS, UNSEEN_SUBJECTS
from model_recipes.paper import PaperRun
from model_recipes.paper_study.answers import FLOOR, TRUTH
from model_recipes.paper_study.claims import PAPER, STEPS_F1, guess_within_valence
from model_recipes.paper_study.findings import BY_DESIGN, Finding, explain_valence, list_findings
from model_recipes.paper_study.recipes import PaperOptions

REPORT_FILE = "report.html"

#: Blue and vermilion are told apart with every common colour vision (see `dataset_builder.figures`).
_BLUE, _RED = "#0072b2", "#d55e00"


def render_paper(options: PaperOptions, run: PaperRun, record: Markup | None = None) -> str:
    """Return a self-contained HTML page.

    Parameters
    ----------
    options : PaperOptions
    run : PaperRun
    record : Markup, optional
        One person's drafted record as HTML; the page says so where there is none.
    """
    loader = ChoiceLoader([PackageLoader("model_recipes"), PackageLoader("dataset_builder")])
    environment = Environment(loader=loader, undefined=StrictUndefined, autoescape=True)
    environment.filters["data_uri"] = lambda data: f"data:image/png;base64,{base64.b64encode(data).decode()}"
    chapters = list(run.chapters.values())
    return environment.get_template("paper.html.jinja").render(
        paper=PAPER,
        budget=options.budget,
        base=run.chapters["base"].manifest.recipe["name"],
        main=run.main,
        findings=[(one, tell_verdict(one, run)) for one in list_findings(run)],
        figures=list_figures(run),
        valence=explain_valence(),
        record=record,
        synthetic=any(chapter.manifest.synthetic for chapter in chapters),
        chapters=chapters,
        seconds=sum(chapter.manifest.seconds for chapter in chapters),
        pages=[page.relative_to(run.root).as_posix() for c in chapters for page in sorted(c.folder.glob("*.html"))],
        relative=lambda path: path.relative_to(run.root).as_posix(),
        hardware=chapters[-1].manifest.hardware,
        packages=chapters[-1].manifest.packages,
    )


def format_findings(run: PaperRun) -> str:
    """Return one paragraph per finding for a terminal."""
    lines = [f"{one.title}: {tell_verdict(one, run)}. {one.measured}" for one in list_findings(run)]
    return "\n".join([*lines, explain_valence()])


def tell_verdict(finding: Finding, run: PaperRun) -> str:
    """Return a verdict; what made-up data or the tiny base show says nothing of the paper."""
    if finding.verdict in (BY_DESIGN, "not measured"):
        return finding.verdict
    synthetic = any(chapter.manifest.synthetic for chapter in run.chapters.values())
    tiny = run.chapters["base"].manifest.recipe["name"] == "tiny"
    doubt = "synthetic data" if synthetic else "a model of two million parameters" if tiny else ""
    return f"{finding.verdict} ({doubt}: no evidence)" if doubt else finding.verdict


def list_figures(run: PaperRun) -> dict[str, bytes]:
    """Return the pictures by title of the finding that they belong to."""
    drawn = {"Five steps of three passes": _plot_steps(run.chapters["steps"].manifest)}
    if answers := run.manifest("answers"):
        drawn["Signal length"] = _plot_answers(answers)
    return drawn


def _plot_steps(steps: Manifest) -> bytes:
    """Draw the loss over all steps, and F1 after each beside the published one."""
    told = steps.facts["steps"]
    with rc_context(STYLE):
        figure = Figure(figsize=(8, 2.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        done = 0
        for step in told:
            points = [(done + at, loss) for at, loss in step["loss"]]
            left.plot([at for at, _ in points], [loss for _, loss in points], color=_BLUE)
            done += step["steps"]
            left.axvline(done, color=FAINT, linewidth=0.6, linestyle=":")
        left.set(xlabel="update", ylabel="training loss", title="Loss by step")
        numbers = range(1, len(told) + 1)
        for protocol, style, colour in ((UNSEEN_SUBJECTS, "o-", _BLUE), (UNSEEN_CLIPS, "s--", _BLUE)):
            found = [steps.metric("macro_f1", protocol=protocol, reader=f"step {n}") for n in numbers]
            if all(found):
                right.plot(numbers, [m.value for m in found if m], style, color=colour, label=protocol, ms=4)
        right.plot(range(1, 6), [nine for nine, _ in STEPS_F1], "^-", color=_RED, label="published, W", ms=4)
        right.axhline(guess_within_valence()[0], color=FAINT, linewidth=0.8, linestyle=":")
        right.set(xlabel="step", ylabel="F1, nine emotions", ylim=(0, 0.5), xticks=range(1, 6), title="After each step")
        right.legend(frameon=False, fontsize=8)
        return to_png(figure)


def _plot_answers(answers: Manifest) -> bytes:
    """Draw the cosines to the true answers, with those of exchanged true answers as a line."""
    readers = [r for r in dict.fromkeys(m.reader for m in answers.metrics) if r not in (TRUTH, FLOOR)]
    with rc_context(STYLE):
        figure = Figure(figsize=(8, 1.2 + 0.4 * len(readers)), layout="constrained")
        for axes, kind in zip(figure.subplots(1, 2, sharey=True), ("tfidf", "states"), strict=True):
            for place, reader in enumerate(readers):
                found = answers.metric(f"cosine_{kind}", protocol=TRUTH, reader=reader)
                if found and found.interval:
                    low, high = found.interval
                    axes.plot([low, high], [place, place], color=_BLUE)
                    axes.plot(found.value, place, "o", color=_BLUE)
            floor = answers.metric(f"cosine_{kind}", protocol=TRUTH, reader=FLOOR)
            if floor:
                axes.axvline(floor.value, color=_RED, linestyle="--", linewidth=1)
            axes.set(title=f"cosine to the true answer, {kind}", yticks=range(len(readers)), yticklabels=readers)
            axes.set_ylim(len(readers) - 0.5, -0.5)
        return to_png(figure)

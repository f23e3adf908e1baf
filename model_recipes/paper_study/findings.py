"""Tables of the paper's experiments, and what each measurement says of the paper's claim. Nothing is measured here."""

from dataclasses import dataclass, field

from dataset_builder.manifest import Manifest, Metric
from model_recipes.evaluation.trials import UNSEEN_CLIPS, UNSEEN_SUBJECTS
from model_recipes.paper import PaperRun, name_evaluation
from model_recipes.paper_study.answers import CONTROL, FLOOR, TRUTH
from model_recipes.paper_study.claims import (
    CLAIMS,
    FULL_PARAMETERS,
    HALF_PARAMETERS,
    SEGMENT_STEPS_F1,
    SIZES,
    STEPS_F1,
    guess_within_valence,
)
from model_recipes.paper_study.tables import (
    READER_HEADINGS,
    READER_NOTE,
    compare_metrics,
    describe_reader,
    read_metric,
    show_chance,
    show_metric,
)

#: Rows of the retraining table: title, stage that was evaluated, stage whose perplexity is told.
_ORDERS = (
    ("specific only", "specific", "specific-merged"),
    ("public, then specific", "public-specific", "public-specific-merged"),
    ("specific, then public", "specific-public", "specific-public"),
)


#: Verdict on what follows from published numbers alone, whatever data were at hand.
BY_DESIGN = "differs by design"


@dataclass(frozen=True)
class Table:
    """One table, as text.

    Parameters
    ----------
    title : str
    headings : list of str
    rows : list of list of str
    note : str
    """

    title: str
    headings: list[str]
    rows: list[list[str]]
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """A claim beside what was measured.

    Parameters
    ----------
    title, claim : str
    measured : str
    verdict : {"agrees", "contradicts", "cannot be told", "not measured", "differs by design"}
    tables : list of Table
    """

    title: str
    claim: str
    measured: str
    verdict: str
    tables: list[Table] = field(default_factory=list)


def list_findings(run: PaperRun) -> list[Finding]:
    """Return all findings of a run, in the order of the report."""
    return [_find_lengths(run), _find_orders(run), _find_steps(run), _find_sizes(run), _find_ratio(run)]


def explain_valence() -> str:
    """Say what the published pair of scores is worth: that of a guesser who knows the valence and nothing else."""
    nine, three = guess_within_valence()
    best = SIZES[0]
    return (
        f"The paper's best model reaches F1 {best.nine_f1:.3f} over nine emotions and {best.three_f1:.3f} over three "
        f"valences. Whoever knows the valence and guesses among its emotions reaches {nine:.3f} and {three:.3f}. So "
        "the nine-class score holds hardly more than the valence does, and the prompt of figure 15 states the valence "
        "(the facial features of that person are given as negative). Here prompts are rendered from columns that do "
        "not follow from the label, and a corpus in which one does is refused."
    )


def _find_lengths(run: PaperRun) -> Finding:
    answers = run.manifest("answers")
    if answers is None:
        told = "No waveforms are here, and band features cannot be wavelet-compressed: give Processed_data or Data."
        return Finding("Signal length", CLAIMS["lengths"], told, "not measured")
    codes = list(dict.fromkeys(m.reader for m in answers.metrics if m.reader != TRUTH))
    short, long = (_get(answers, "label_agreement", TRUTH, code) for code in ("wavelet", "segmented"))
    floor = _get(answers, "cosine_tfidf", TRUTH, FLOOR)
    nearest = max((_get(answers, "cosine_tfidf", TRUTH, code) for code in codes if code != FLOOR), key=_value)
    told = (
        f"Answers name the intended emotion in {show_metric(short)} of cases with W and {show_metric(long)} with W->S. "
        f"Nearest to the true answers by cosine (TF-IDF) is {nearest.reader if nearest else '-'} with "
        f"{show_metric(nearest)}; true answers of other trials have {show_metric(floor)}, so that much of the "
        "similarity is form."
    )
    tables = [_compare_codes(run, answers, codes, goal) for goal in (TRUTH, CONTROL)]
    return Finding("Signal length", CLAIMS["lengths"], told, compare_metrics(short, long), tables)


def _compare_codes(run: PaperRun, answers: Manifest, codes: list[str], goal: str) -> Table:
    names = ["label_agreement", "cosine_tfidf", "euclidean_tfidf", "cosine_states", "euclidean_states"]
    headings = ["code", "same emotion", "cosine, TF-IDF", "distance, TF-IDF", "cosine, states", "distance, states"]
    rows = [[code, *(show_metric(_get(answers, name, goal, code)) for name in names)] for code in codes]
    if goal == TRUTH:
        headings += [f"accuracy, {UNSEEN_SUBJECTS}", f"accuracy, {UNSEEN_CLIPS}", "valid"]
        for row in rows:
            row += [show_metric(m) for m in _accuracies(run, row[0])]
            row.append(show_metric(_get(answers, "text_valid", TRUTH, row[0])))
    note = "; ".join(f"{name}: {what}" for name, what in answers.facts["embeddings"].items())
    return Table(f"Compared with the {goal}", headings, rows, f"{answers.facts['questions']} questions. {note}.")


def _find_orders(run: PaperRun) -> Finding:
    evaluation = run.manifest(name_evaluation(run.main))
    first, second, _ = (read_metric(evaluation, "macro_f1", name) for _, name, _ in _ORDERS)
    rows = [
        [title, show_metric(_perplexity(run, text)), *describe_reader(evaluation, name)]
        for title, name, text in _ORDERS
    ]
    told = (
        f"F1 over nine emotions for new people: specific only {show_metric(first)}, public first "
        f"{show_metric(second)}; chance {show_chance(first)}."
    )
    table = Table("Retraining after pruning", ["order", "perplexity", *READER_HEADINGS], rows, READER_NOTE)
    return Finding("Retraining order after pruning", CLAIMS["orders"], told, compare_metrics(first, second), [table])


def _find_steps(run: PaperRun) -> Finding:
    steps = run.manifest("steps")
    assert steps is not None  # every run has them
    told = steps.facts["steps"]
    readers = [f"step {number}" for number in range(1, len(told) + 1)]
    rows = []
    for number, (reader, step) in enumerate(zip(readers, told, strict=True)):
        published = [f"{value:.3f}" for value in (*STEPS_F1[number], *SEGMENT_STEPS_F1[number])] if number < 5 else []
        whose = "all" if step["device_sfreq_hz"] is None else f"{step['device_sfreq_hz']:g} Hz"
        loss = f"{step['loss'][-1][1]:.3f}" if step["loss"] else "-"
        words = [len(answer["answer"].split()) for answer in step["answers"]]
        cells = [reader, whose, str(step["rows"] * step["epochs"]), loss, f"{step.get('label_loss', float('nan')):.3f}"]
        cells.append(f"{sum(words) / max(1, len(words)):.0f}")
        rows.append([*cells, *describe_reader(steps, reader), *published])
    first, last = (_get(steps, "macro_f1", UNSEEN_SUBJECTS, reader) for reader in (readers[0], readers[-1]))
    sentence = (
        f"F1 over nine emotions for new people: {show_metric(first)} after the first step, {show_metric(last)} after "
        f"the last; chance {show_chance(first)}. Loss of the label: {told[0].get('label_loss', '-')} and "
        f"{told[-1].get('label_loss', '-')} nats (nine alike: 2.197)."
    )
    headings = ["step", "people", "rows seen", "last loss", "label loss, nats", "words an answer", *READER_HEADINGS]
    headings += ["paper W: nine", "three", "paper W->S: nine", "three"]
    table = Table("The five steps", headings, rows, f"{READER_NOTE} Published scores are F1, split not stated.")
    side = Table(
        "Answers after each step",
        ["row", "intended", *readers],
        [
            [one["row"], one["emotion"], *(step["answers"][place]["answer"] for step in told)]
            for place, one in enumerate(told[0]["answers"])
        ],
    )
    return Finding("Five steps of three passes", CLAIMS["steps"], sentence, compare_metrics(last, first), [table, side])


def _find_sizes(run: PaperRun) -> Finding:
    evaluation = run.manifest(name_evaluation(run.main))
    larger = [name for name in run.chapters if name.startswith("larger-") and not name.endswith("-base")]
    models = [("unpruned", "unpruned", "base"), ("pruned", "public-specific", "public-specific-merged")]
    models += [("pruned and pseudo-quantised", "rounded", "rounded")]
    models += [(_name_larger(run, name), name, f"{name}-base") for name in larger]
    rows = []
    for title, name, source in models:
        manifest = run.manifest(source)
        facts = manifest.facts if manifest else {}
        stored = facts.get("pseudo_quantised", {}).get("bytes", facts["model"]["parameters"] * 2)
        size = [f"{facts['model']['parameters'] / 1e6:.2f} M", f"{stored / 1e6:.1f} MB"]
        rows.append([title, *size, show_metric(_perplexity(run, source)), *describe_reader(evaluation, name)])
    pruned, whole = (read_metric(evaluation, "macro_f1", name) for name in ("public-specific", "unpruned"))
    told = (
        f"F1 over nine emotions for new people: pruned {show_metric(pruned)}, unpruned {show_metric(whole)}; "
        f"chance {show_chance(whole)}."
    )
    headings = ["model", "parameters", "bytes, half precision", "perplexity", *READER_HEADINGS]
    note = f"{READER_NOTE} Unpruned and larger: perplexity before their adapter."
    published = [[m.name, f"{m.parameters:g} B", f"{m.nine_f1:.3f}", f"{m.three_f1:.3f}"] for m in SIZES]
    tables = [
        Table("Measured here", headings, rows, note),
        Table("Published (method W, top-k 50)", ["model", "parameters", "F1, nine", "F1, three"], published),
    ]
    return Finding("Model size", CLAIMS["sizes"], told, compare_metrics(pruned, whole), tables)


def _find_ratio(run: PaperRun) -> Finding:
    base, pruned = (run.manifest(name) for name in ("base", "pruned"))
    assert base is not None and pruned is not None  # every run has them  # noqa: PT018
    before, after = (m.facts["model"]["parameters"] for m in (base, pruned))
    told = (
        f"Those are {HALF_PARAMETERS / FULL_PARAMETERS:.1%}, not half, and 444 query columns are no whole number "
        f"of heads of width 64, so neither Transformers nor llama.cpp loads such a model as a Qwen2. Here {after:,} of "
        f"{before:,} parameters are left ({after / before:.1%}), in a plain Qwen2 folder."
    )
    return Finding("What a ratio of 0.5 leaves", CLAIMS["ratio"], told, BY_DESIGN)


def _accuracies(run: PaperRun, code: str) -> list[Metric | None]:
    if code == FLOOR:
        return [None, None]
    evaluation, name = run.manifest(name_evaluation(code)), run.name_adapter(code)
    return [read_metric(evaluation, "accuracy", name, protocol) for protocol in (UNSEEN_SUBJECTS, UNSEEN_CLIPS)]


def _perplexity(run: PaperRun, name: str) -> Metric | None:
    manifest = run.manifest(name)
    return None if manifest is None else manifest.metric("perplexity")


def _name_larger(run: PaperRun, name: str) -> str:
    manifest = run.manifest(f"{name}-base")
    return name if manifest is None else str(manifest.facts["base"].get("name", name))


def _get(manifest: Manifest, name: str, protocol: str, reader: str) -> Metric | None:
    return manifest.metric(name, protocol=protocol, reader=reader)


def _value(metric: Metric | None) -> float:
    return -1.0 if metric is None else metric.value

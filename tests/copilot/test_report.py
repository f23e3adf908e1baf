"""The report shows what manifests hold, and nothing else."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from copilot.demo import DemoOptions, _find_unseen_person, run_demo
from copilot.report import Step, format_table, make_table, render_report
from dataset_builder.corpus import CorpusRecipe, build_corpus
from dataset_builder.errors import RecipeError
from dataset_builder.manifest import Metric, read_manifest, write_bytes
from dataset_builder.recipe import StrictModel, validate
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.stage import open_stage


class Recipe(StrictModel):
    pass


def measure(reader: str, protocol: str, value: float, chance: float = 0.111) -> Metric:
    return Metric(
        name="accuracy",
        value=value,
        n=108,
        unit="trials",
        split="test",
        protocol=protocol,
        interval=[value - 0.05, value + 0.05],
        chance=chance,
        reader=reader,
    )


def measure_text(reader: str, value: float) -> Metric:
    return Metric(name="perplexity", value=value, n=500, unit="tokens", split="python-docs", reader=reader)


@pytest.fixture
def steps(tmp_path: Path) -> list[Step]:
    with open_stage("merge", tmp_path / "merged", Recipe()) as stage:
        stage.synthetic = True
        stage.facts["model"] = {"parameters": 854_144}
        stage.facts["loss"] = [[1, 2.0], [2, 1.5]]
        stage.metrics.append(measure_text("language model", 177.12))
        stage.notes.append("a note with <b>markup</b>")
    with open_stage("gguf", tmp_path / "gguf", Recipe(), parents=[tmp_path / "merged"]) as stage:
        write_bytes(stage.folder / "model-Q8_0.gguf", b"x" * 1234)
        stage.facts["parameters"] = 854_144
        stage.metrics.append(measure_text("GGUF Q8_0", 180.5))
    with open_stage("evaluate", tmp_path / "evaluation", Recipe(), parents=[tmp_path / "merged"]) as stage:
        for reader, value in (("linear probe", 0.25), ("language model (merged)", 0.15), ("language model Q8_0", 0.14)):
            stage.metrics.append(measure(reader, "unseen subjects", value))
            stage.metrics.append(measure(reader, "unseen subjects and clips", value / 2, chance=0.12))
    return [Step(name, tmp_path / name, read_manifest(tmp_path / name)) for name in ("merged", "gguf", "evaluation")]


def test_each_number_stands_where_it_belongs(steps: list[Step], tmp_path: Path) -> None:
    rows = {row.stage.strip(): row for row in make_table(steps, tmp_path)}
    assert (rows["merged"].parameters, rows["merged"].perplexity) == ("0.85 M", "177.1")
    assert rows["merged"].seen == "0.150 [0.100, 0.200] n=108"
    assert (rows["Q8_0"].parameters, rows["Q8_0"].size, rows["Q8_0"].perplexity) == ("0.85 M", "1.2 kB", "180.5")
    assert rows["Q8_0"].unseen == "0.070 [0.020, 0.120] n=108"
    assert rows["linear probe"].seen.startswith("0.250")
    assert (rows["chance"].seen, rows["chance"].unseen) == ("0.111", "0.120")
    assert (rows["gguf"].seen, rows["gguf"].perplexity) == ("-", "-")


def test_terminal_and_page_show_the_same_table(steps: list[Step], tmp_path: Path) -> None:
    table, page = format_table(make_table(steps, tmp_path)), render_report(steps, tmp_path)
    for row in make_table(steps, tmp_path):
        for text in (row.stage.strip(), row.seen, row.perplexity, row.folder):
            assert text in table
            assert text in page


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def test_page_is_self_contained_and_marked(steps: list[Step], tmp_path: Path) -> None:
    page = render_report(steps, tmp_path)
    parser = _References()
    parser.feed(page)
    assert "script" not in parser.tags
    assert all(ref.startswith("data:image/png") or (tmp_path / ref).exists() for ref in parser.found)
    assert "Synthetic data." in page
    assert "Not a medical device" in page
    assert "<b>markup" not in page
    assert str(tmp_path) not in page


@pytest.mark.parametrize("change", ["adapter", "nothing.steps=1", "steps=1", "adapter.steps=x", "gguf.types=[F17]"])
def test_unknown_changes_are_refused_before_any_work(change: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"--set|yaml"):
        run_demo(DemoOptions(out=str(tmp_path / "demo"), set=[change]))
    assert not (tmp_path / "demo").exists()


def test_a_record_is_drafted_of_somebody_the_model_never_met(tmp_path: Path) -> None:
    split = {"protocol": "ranges", "train": [0, 1], "validation": [2, 2], "test": [3, 4]}
    recipe = validate(
        CorpusRecipe, {"name": "x", "version": 1, "codec": {"name": "band_power"}, "split": split}, where="test"
    )
    for signals, expected in ((["sub000", "sub002", "sub003"], "sub003"), (["sub000"], None)):
        folder = tmp_path / str(expected)
        write_cohort(SynthRecipe(subjects=5, signals=signals), folder / "raw")
        build_corpus(recipe, folder / "raw", folder / "corpus")
        assert _find_unseen_person(folder / "raw", folder / "corpus") == expected

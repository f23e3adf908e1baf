import re
from pathlib import Path

import pytest
from finished import finish_stage

from dataset_builder.errors import InputError
from dataset_builder.manifest import Metric
from model_recipes import run_prune_report
from model_recipes.bases.qwen2 import Shape
from model_recipes.pruning.figures import Point, plot_influence, plot_language, plot_losses, plot_parts
from model_recipes.pruning.report import (
    describe_entry,
    format_metric,
    read_entries,
    render_prune_report,
    tell_incomparable,
    tell_results,
)

BASE = Shape(hidden=64, heads=4, kv_heads=2, head_dim=16, ffn=128, layers=4, vocab=768)
PRUNED = BASE.with_(layers=2, ffn=96)
COMPARABLE = "2 windows, per token of the unpruned vocabulary"


def measure(value, method="2 windows", split="wiki, last fifth", protocol=""):
    interval = [0.9 * value, 1.1 * value]
    return Metric(
        name="perplexity",
        value=value,
        n=99,
        unit="tokens",
        split=split,
        method=method,
        interval=interval,
        protocol=protocol,
    )


def finish_model(folder: Path, stage: str, shape: Shape, perplexity: Metric | None, parents=(), **facts) -> Path:
    model = {"parameters": shape.parameters, "shape": shape.as_dict(), "tied": True}
    metrics = [] if perplexity is None else [perplexity]
    if rounded := facts.pop("before", None):
        metrics.append(rounded)
    finish_stage(folder, stage, {"config.json": b"{}"}, parents, facts={"model": model} | facts, metrics=metrics)
    return folder


@pytest.fixture
def chain(tmp_path):
    """Return folders of base, pruned, recovered and rounded models, with the facts that their stages write."""
    base = finish_model(tmp_path / "base", "base", BASE, measure(20.0))
    plan = {"reason": "asked: half", "candidates": [PRUNED.as_dict() | {"ratio": 0.5, "flops_per_token": 2_500_000}]}
    missed = {"before": 0.5, "after": 0.25}
    surgery = {
        "kept_layers": [0, 3],
        "block_influence": [0.9, 0.01, 0.02, 0.4],
        "dropped": [{"dropped": 1, "divergence": 0.125}],
        "reconstruction": [{"layer": 0, "attention": missed, "ffn": missed}],
        "importance": "activation",
        "calibration_tokens": 4096,
    }
    vocabulary = {"size": 768, "of": 900, "text": "wiki", "tokens_before": 1000, "tokens_after": 1100}
    facts = {"plan": plan, "surgery": surgery, "vocabulary": vocabulary}
    pruned = finish_model(tmp_path / "pruned", "prune", PRUNED, measure(200.0), (base,), **facts)
    loss = [[1, 5.0], [2, 4.0]]
    recovered = finish_model(tmp_path / "recovered", "recover", PRUNED, measure(30.0), (pruned, base), loss=loss)
    return {"base": base, "pruned": pruned, "recovered": recovered}


def test_ancestors_are_found_once_and_come_first(chain):
    entries = read_entries([chain["recovered"], chain["pruned"]])
    assert [entry.name for entry in entries] == ["base", "pruned", "recovered"]
    assert [entry.parent for entry in entries] == [None, 0, 1]
    assert [entry.stage for entry in entries] == ["unpruned", "pruned", "recovered"]


def test_a_changed_ancestor_is_not_shown(chain):
    finish_model(chain["base"], "base", BASE, measure(21.0))
    entries = read_entries([chain["pruned"]])
    assert [entry.name for entry in entries] == ["pruned"]


def test_costs_and_perplexity_are_those_of_the_unpruned_model_times_something(chain):
    entries = read_entries([chain["recovered"]])
    row = describe_entry(entries[2], entries)
    assert row["share"] == PRUNED.parameters / BASE.parameters
    assert row["factor"] == pytest.approx(1.5)
    assert sum(row["parts"].values()) == row["parameters"] == PRUNED.parameters
    assert 0 < row["flops_share"] < 1


def test_result_is_told_of_the_last_model_alone(chain):
    (sentence,) = tell_results(read_entries([chain["recovered"]]))
    assert sentence.startswith("recovered: ")
    assert "perplexity 30 on wiki, last fifth, 1.5 times the unpruned model's" in sentence


@pytest.mark.parametrize(("method", "comparable"), [("2 windows", False), (COMPARABLE, True)])
def test_perplexity_of_a_cut_vocabulary_is_only_compared_per_token_of_the_whole(tmp_path, method, comparable):
    base = finish_model(tmp_path / "base", "base", BASE, measure(20.0))
    small = BASE.with_(vocab=512)
    cut = finish_model(tmp_path / "cut", "prune", small, measure(25.0, method), (base,))
    entries = read_entries([cut])
    assert (describe_entry(entries[1], entries)["factor"] is not None) is comparable
    assert tell_incomparable(entries) == (
        "" if comparable else "Per token of a vocabulary of its own, not to be compared: cut."
    )
    assert ("times the unpruned" in tell_results(entries)[0]) is comparable


def test_another_text_is_not_compared(tmp_path):
    base = finish_model(tmp_path / "base", "base", BASE, measure(20.0))
    cut = finish_model(tmp_path / "cut", "prune", PRUNED, measure(25.0, split="tales, last fifth"), (base,))
    entries = read_entries([cut])
    assert describe_entry(entries[1], entries)["factor"] is None
    assert render_prune_report(entries).count("Perplexity against parameters") == 2, "one picture a text"


def test_page_holds_every_number_and_nothing_from_outside(chain):
    page = render_prune_report(read_entries([chain["recovered"]]))
    for number in (
        f"{BASE.parameters:,}",
        f"{PRUNED.parameters:,}",
        "200 [180, 220]",
        "+10.0%",
        "0.125",
        "25.0%",
        "4,096",
    ):
        assert number in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "<script" not in page
    assert page.count("<img") == 4
    assert str(chain["base"].parent) not in page


def test_page_of_a_base_alone_and_without_perplexity(tmp_path):
    base = finish_model(tmp_path / "base", "base", BASE, None)
    page = render_prune_report(read_entries([base]))
    assert "not measured" in page
    assert page.count("<img") == 1


def test_rounded_models_have_a_table(tmp_path, chain):
    before = measure(30.0, protocol="before pseudo-quantisation")
    facts = {"rounded_share": 0.99, "bits_per_weight": 4.43, "bytes": 2e6, "bytes_f16": 8e6}
    out = finish_model(
        tmp_path / "rounded",
        "pseudo-quantise",
        PRUNED,
        measure(33.0),
        (chain["recovered"],),
        before=before,
        pseudo_quantised=facts,
    )
    entries = read_entries([out])
    assert entries[-1].perplexity.value == 33.0
    entries[-1].manifest.recipe.update(mode="others", unit="channel", share=0.01, bits=4, group=64)
    page = render_prune_report(entries)
    for text in ("all but the most important 1 %", "30 [27, 33]", "33 [29.7, 36.3]", "4.43", "2 MB", "8 MB"):
        assert text in page


def test_same_manifests_same_page(chain):
    entries = read_entries([chain["recovered"]])
    assert render_prune_report(entries) == render_prune_report(entries)


def test_pictures_are_drawn_at_any_size():
    points = [
        Point(f"m{i}", stage, 10**i, 10.0**i, None, i - 1 if i else None) for i, stage in enumerate(["base", "merge"])
    ]
    pictures = [
        plot_language(points, "x"),
        plot_parts(["a"], [{"embedding": 1, "ffn": 2}]),
        plot_influence([0.5], [0], "x"),
        plot_losses({f"m{i}": [[1, 2.0]] for i in range(9)}),
    ]
    assert all(png.startswith(b"\x89PNG") for png in pictures)


def test_a_dash_stands_for_what_was_not_measured():
    assert format_metric(None) == "–"


def test_command_writes_one_page(chain, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert run_prune_report.main([str(chain["recovered"]), "--out", str(out)]) == 0
    assert "1.5 times" in capsys.readouterr().out
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_bad_folders_are_one_line(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_entries([tmp_path / "absent"])
    finish_stage(tmp_path / "corpus", "corpus", {"x": b"y"})
    with pytest.raises(InputError, match="corpus: holds no model"):
        read_entries([tmp_path / "corpus"])
    with pytest.raises(InputError, match="is a folder"):
        run_prune_report.main([str(tmp_path / "corpus"), "--out", str(tmp_path)])

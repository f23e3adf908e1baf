import importlib
import re
import shlex

import pytest
import yaml
from finished import CORPUS_README, emotion_metrics, finish_chain, finish_corpus, finish_stage

from cards.chain import KINDS, read_chain
from cards.lint import lint_card, read_front_matter
from cards.render import CardNames, render_card
from cards.run_card import main
from dataset_builder.errors import InputError
from dataset_builder.manifest import read_manifest

NAMES = CardNames(repo_id="lab/eeg-copilot", base_model="lab/eeg-pruned", dataset="lab/eeg-corpus")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return finish_chain(tmp_path_factory.mktemp("chain"))


@pytest.mark.parametrize("names", [None, NAMES], ids=["local", "named"])
@pytest.mark.parametrize("stage", ["corpus", "base", "pruned", "recovered", "adapter", "merged", "gguf"])
def test_every_stage_has_a_clean_card(places, stage, names):
    text = render_card(places[stage], names)
    assert lint_card(text) == []
    assert str(places[stage].parent) not in text
    assert "Not a medical device" in text
    assert "10}, pages = {740}" in text
    assert "2410.00166" in text
    assert "SYNTHETIC" not in text
    assert "\n\n\n" not in text


def test_huggingface_hub_reads_the_cards(places):
    from huggingface_hub import DatasetCard, ModelCard

    assert DatasetCard(render_card(places["corpus"])).data.size_categories == ["n<1K"]
    card = ModelCard(render_card(places["adapter"], NAMES))
    assert card.data.base_model == "lab/eeg-pruned"
    assert card.data.base_model_relation == "adapter"
    assert {round(result.metric_value, 4) for result in card.data.eval_results} == {0.2345, 0.1234}


def test_corpus_card_keeps_what_load_dataset_reads(places):
    kept, _ = read_front_matter(CORPUS_README.decode())
    header, _ = read_front_matter(render_card(places["corpus"]))
    assert header["configs"] == kept["configs"]
    assert header["license"] == "other"
    assert header["license_link"].startswith("https://")


def test_rendering_changes_nothing_in_the_folder(places):
    before = {path: path.stat().st_mtime_ns for path in places["corpus"].rglob("*")}
    render_card(places["corpus"], NAMES)
    assert {path: path.stat().st_mtime_ns for path in places["corpus"].rglob("*")} == before


def test_recipe_stands_in_the_card_verbatim(places):
    block = re.search(r"```yaml\n(.*?)```", render_card(places["gguf"]), flags=re.DOTALL)
    assert yaml.safe_load(block.group(1)) == read_manifest(places["gguf"]).recipe


def test_numbers_come_with_their_circumstances(places):
    text = render_card(places["gguf"])
    row = next(line for line in text.splitlines() if "0.1234" in line)
    assert all(word in row for word in ("0.07340 to 0.1734".replace("0.07340", "0.0734"), "0.1111", "224 trials"))
    assert "unseen subjects and clips" in row
    assert "recognition of the clip" in text
    assert "105.2" in text  # the pruned stage's perplexity, three stages back


def test_relation_and_licence_follow_the_chain(places):
    pruned, _ = read_front_matter(render_card(places["pruned"]))
    assert (pruned["base_model"], pruned["base_model_relation"]) == ("Qwen/Qwen2-0.5B", "finetune")
    assert pruned["license"] == "apache-2.0"
    assert "pruned" in pruned["tags"]
    gguf, _ = read_front_matter(render_card(places["gguf"]))
    assert "base_model" not in gguf, "the unpruned original does not fit a GGUF's shapes"
    assert read_front_matter(render_card(places["gguf"], NAMES))[0]["base_model_relation"] == "quantized"


def test_synthetic_is_said_loudly_and_never_ranked(tmp_path):
    places = finish_chain(tmp_path, synthetic=True)
    for stage in ("corpus", "adapter", "merged", "gguf"):
        text = render_card(places[stage], NAMES)
        header, _ = read_front_matter(text)
        assert "**SYNTHETIC.**" in text
        assert "synthetic" in header["tags"]
        assert "model-index" not in header
    assert "SYNTHETIC" not in render_card(places["pruned"])


def test_a_rebuilt_parent_lends_no_numbers(tmp_path):
    places = finish_chain(tmp_path)
    finish_stage(places["adapter"], "adapter", {"adapter_config.json": b"{ }"}, metrics=emotion_metrics())
    chain = read_chain(places["merged"])
    assert "adapter" in chain.missing
    text = render_card(places["merged"])
    assert "0.2345" not in text
    assert "The adapter stage before it is not at hand" in text


def test_a_folder_without_licence_says_unknown_until_told(tmp_path, places):
    finish_stage(tmp_path / "m", "merge", {"config.json": b"{}"})
    assert read_front_matter(render_card(tmp_path / "m"))[0]["license"] == "unknown"
    assert read_front_matter(render_card(tmp_path / "m", CardNames(licence="mit")))[0]["license"] == "mit"
    with pytest.raises(InputError, match="the base says 'apache-2.0'"):
        render_card(places["merged"], CardNames(licence="mit"))
    with pytest.raises(InputError, match="'free' is not a licence"):
        CardNames(licence="free")


def test_an_evaluation_lends_its_numbers_to_what_it_measured(tmp_path):
    places = finish_chain(tmp_path)
    metrics = [*emotion_metrics(), *emotion_metrics("language model Q8_0")]
    read = (places["corpus"], places["merged"], places["gguf"])
    finish_stage(tmp_path / "evaluation", "evaluate", {"scores.json": b"{}"}, read, metrics=metrics)
    assert "model-index" not in render_card(places["gguf"], NAMES)
    for stage, reader in (("gguf", "language model Q8_0"), ("merged", "language model")):
        text = render_card(places[stage], NAMES, [tmp_path / "evaluation"])
        results = read_front_matter(text)[0]["model-index"][0]["results"]
        assert [result["metrics"][0]["name"] for result in results] == [f"{reader}, n=224"] * 2
        assert f"| evaluate | balanced accuracy | {reader} | 0.2345 |" in text
        assert "| evaluate | balanced accuracy | linear probe | 0.3456 |" in text
    assert "| evaluate |" in render_card(places["corpus"], NAMES, [tmp_path / "evaluation"])
    with pytest.raises(InputError, match="did not measure recovered as it is now"):
        render_card(places["recovered"], NAMES, [tmp_path / "evaluation"])


def test_a_base_from_a_folder_is_not_taken_for_one_of_the_hub(tmp_path):
    facts = {"base": {"model_id": "lab/x", "source": "model folder"}}
    finish_stage(tmp_path / "m", "base", {"config.json": b"{}"}, facts=facts)
    assert "base_model" not in read_front_matter(render_card(tmp_path / "m"))[0]


@pytest.mark.parametrize("stage", ["gguf", "corpus"])
def test_commands_in_cards_parse(places, stage):
    from copilot.cli import COMMANDS

    lines = [line for line in render_card(places[stage]).splitlines() if line.startswith("eeg-copilot ")]
    assert bool(lines) is (stage == "gguf")
    for _, command, *arguments in map(shlex.split, lines):
        importlib.import_module(COMMANDS[command][0]).make_parser().parse_args(arguments)


def test_refusals(tmp_path):
    finish_stage(tmp_path / "other", "lunch", {"a.txt": b"a"})
    with pytest.raises(InputError, match="'lunch' has no card"):
        render_card(tmp_path / "other")
    with pytest.raises(InputError, match="no such folder"):
        render_card(tmp_path / "nothing")
    with pytest.raises(InputError, match="--repo-id: 'x' is not"):
        CardNames(repo_id="x")
    finish_corpus(tmp_path / "corpus")
    (tmp_path / "corpus" / "README.md").unlink()
    with pytest.raises(InputError, match="README.md: missing"):
        render_card(tmp_path / "corpus")


def test_every_kind_has_a_template(places):
    from cards.render import _environment

    templates = set(_environment().list_templates())
    assert {f"{kind}.md.jinja" for kind in KINDS.values()} == templates - {"base.md.jinja"}


def test_command_prints_or_writes(places, tmp_path, capsys):
    assert main([str(places["gguf"])]) == 0
    printed = capsys.readouterr().out
    assert main([str(places["gguf"]), "--out", str(tmp_path / "README.md")]) == 0
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == printed
    with pytest.raises(InputError, match="lies in the folder"):
        main([str(places["gguf"]), "--out", str(places["gguf"] / "README.md")])

import importlib
import json
import re
import shlex

import pytest
import yaml
from finished import (
    CORPUS_README,
    emotion_metrics,
    finish_chain,
    finish_corpus,
    finish_evaluation,
    finish_space,
    finish_stage,
    make_verdicts,
)

from cards.chain import KINDS, read_chain
from cards.claims import list_verdicts, say_verdict
from cards.figures import count_labels
from cards.lint import lint_card, read_front_matter
from cards.names import CardNames
from cards.render import make_card, render_card
from cards.run_card import main
from dataset_builder.errors import InputError, RecipeError
from dataset_builder.manifest import MANIFEST, Metric, read_manifest, write_text

NAMES = CardNames(repo_id="lab/eeg-copilot", base_model="lab/eeg-pruned", dataset="lab/eeg-corpus")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return finish_chain(tmp_path_factory.mktemp("chain"))


@pytest.mark.parametrize("names", [None, NAMES], ids=["local", "named"])
@pytest.mark.parametrize("stage", ["corpus", "base", "pruned", "recovered", "adapter", "merged", "gguf"])
def test_every_stage_has_a_clean_card(places, stage, names):
    card = make_card(places[stage], names)
    text = card.text
    assert card.lint([path.relative_to(places[stage]).as_posix() for path in places[stage].rglob("*")]) == []
    assert len(text.encode()) <= 20_000
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
    assert card.data.eval_results is None, "no evaluation with controls is at hand"


def test_corpus_card_keeps_what_load_dataset_reads(places):
    kept, _ = read_front_matter(CORPUS_README.decode())
    header, _ = read_front_matter(render_card(places["corpus"]))
    assert header["configs"] == kept["configs"]
    assert (header["license"], header["license_name"]) == ("other", "faced-terms")
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


@pytest.mark.parametrize(
    ("invented_training", "invented_people", "said"),
    [
        (True, True, "Made from invented recordings: no person was recorded."),
        (True, False, "Made from invented recordings; only the people of its evaluation were recorded."),
        (False, True, "Measured on invented recordings."),
        (False, False, ""),
    ],
)
def test_a_card_tells_which_recordings_were_invented(tmp_path, invented_training, invented_people, said):
    places = finish_chain(tmp_path, synthetic=invented_training)
    facts = {"made_up_people": invented_people}
    parents = (places["corpus"], places["merged"])
    invented = invented_training or invented_people
    finish_stage(tmp_path / "evaluation", "evaluate", {"x.json": b"{}"}, parents, facts=facts, synthetic=invented)
    assert read_chain(places["merged"], [tmp_path / "evaluation"]).tell_invented() == said
    text = render_card(places["merged"], NAMES, [tmp_path / "evaluation"])
    assert (f"**SYNTHETIC.** {said}" in text) is bool(said)
    assert (f"Nothing is claimed of it. {said}" in text) is bool(said)


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
    evaluation = finish_evaluation(tmp_path, places, {"language model": True, "language model Q8_0": True})
    assert "model-index" not in render_card(places["gguf"], NAMES)
    for stage, reader in (("gguf", "language model Q8_0"), ("merged", "language model"), ("adapter", "language model")):
        card = make_card(places[stage], NAMES, [evaluation])
        results = read_front_matter(card.text)[0]["model-index"][0]["results"]
        assert [result["metrics"][0]["value"] for result in results] == [0.2345, 0.1234]
        assert all(result["metrics"][0]["name"].startswith(f"{reader}, unseen subjects") for result in results)
        assert all("n=224 trials, 95 % interval" in result["metrics"][0]["name"] for result in results)
        assert f"| evaluate | balanced accuracy | {reader} | 0.2345 |" in card.text
        assert "| evaluate | balanced accuracy | linear probe | 0.3456 |" in card.text
        assert json.loads(card.files["assets/card-evaluation.json"])["stage"] == "evaluate"
        said = " ".join(card.text.split())
        assert "people and clips that training never met, its answers depend on the EEG; they are not shown" in said
        assert "| reads which film was shown: +0.1 | films were known |" in said
        assert "scores what the reader scores, by construction" in said
        assert "not measured here" not in said
        assert card.lint([f"eeg-copilot-{kind}.gguf" for kind in ("f16", "Q8_0")]) == []
    assert "| evaluate |" in render_card(places["corpus"], NAMES, [evaluation])
    with pytest.raises(InputError, match="did not measure recovered as it is now"):
        render_card(places["recovered"], NAMES, [evaluation])


def test_controls_that_failed_leave_the_numbers_but_no_claim(tmp_path):
    places = finish_chain(tmp_path)
    evaluation = finish_evaluation(tmp_path, places, {"language model": True, "language model Q8_0": False})
    card = make_card(places["gguf"], NAMES, [evaluation])
    assert "model-index" not in read_front_matter(card.text)[0]
    assert "| evaluate | balanced accuracy | language model Q8_0 | 0.2345 |" in card.text
    assert "not shown that its answers depend on the EEG" in " ".join(card.text.split())
    assert card.lint(["eeg-copilot-Q8_0.gguf"]) == []
    boast = card.text.replace("## Licence", "It reads the EEG.\n\n## Licence")
    assert any("claims" in line for line in lint_card(boast, "model", None, card.verdicts))


def test_a_card_says_that_unseen_clips_were_not_measured(tmp_path):
    places = finish_chain(tmp_path)
    metrics = [metric for metric in emotion_metrics() if metric.protocol == "unseen subjects"]
    finish_stage(tmp_path / "reader", "reader", {"config.json": b"{}"}, (places["base"],), metrics=metrics)
    assert "*Unseen subjects* with *unseen clips*: not measured here." in render_card(tmp_path / "reader")
    assert "not measured here" not in render_card(places["adapter"]), "both protocols were"
    assert "not measured here" not in render_card(places["pruned"]), "no emotion was"


@pytest.mark.parametrize(
    ("reads", "said"),
    [
        ([("unseen subjects", "nothing")], "it is not shown that its answers depend on the EEG"),
        ([("unseen subjects", "film")], "at known clips, its answers depend on the EEG; they are not shown to"),
        ([("unseen subjects", "eeg")], "at known clips, its answers depend on the EEG, and on more of it than"),
        ([("unseen subjects", "eeg"), ("unseen subjects and clips", "film")], "anything of the person beyond the film"),
        (
            [("subjects seen in training", "film")],
            "Nothing is claimed of it: no evaluation with controls on people whom",
        ),
        ([("subjects not known to be unseen", "eeg")], "Nothing is claimed of it: no evaluation with controls on peo"),
    ],
)
def test_the_sentence_of_a_card_follows_the_strictest_protocol(tmp_path, reads, said):
    where = {"split": "test", "reader": "language model", "text": "", "clips": ""}
    verdicts = [where | {"protocol": protocol, "reads": value} for protocol, value in reads]
    finish_stage(tmp_path / "reader", "reader", {"config.json": b"{}"})
    finish_stage(
        tmp_path / "evaluation", "evaluate", {"x.json": b"{}"}, (tmp_path / "reader",), facts={"verdicts": verdicts}
    )
    assert said in say_verdict(read_chain(tmp_path / "reader", [tmp_path / "evaluation"]))


def test_people_of_the_training_make_no_result(tmp_path):
    places = finish_chain(tmp_path)
    metrics = [metric.model_copy(update={"protocol": "subjects seen in training"}) for metric in emotion_metrics()]
    verdicts = [v | {"protocol": "subjects seen in training"} for v in make_verdicts("language model", passed=True)]
    read, facts = (places["corpus"], places["merged"]), {"verdicts": verdicts}
    finish_stage(tmp_path / "evaluation", "evaluate", {"x.json": b"{}"}, read, metrics=metrics, facts=facts)
    assert "model-index" not in render_card(places["merged"], NAMES, [tmp_path / "evaluation"])


def test_the_file_that_commands_name_decides_what_a_card_says(tmp_path):
    places = finish_chain(tmp_path)
    evaluation = finish_evaluation(tmp_path, places, {"language model F16": True, "language model Q8_0": False})
    chain = read_chain(places["gguf"], [evaluation])
    assert "it is not shown that its answers depend on the EEG" in say_verdict(chain)
    assert [verdict["reader"][-4:] for verdict in list_verdicts(chain)] == ["Q8_0", "Q8_0"]


def test_many_verdicts_do_not_make_a_card_too_long(tmp_path):
    places = finish_chain(tmp_path)
    readers = [f"language model ({number}) Q8_0" for number in range(40)]
    verdicts = [v | {"text": "x" * 250} for reader in readers for v in make_verdicts(reader, passed=True)]
    own = [v | {"reader": "language model Q8_0"} for v in verdicts]
    read, facts = (places["corpus"], places["gguf"]), {"verdicts": own}
    finish_stage(tmp_path / "evaluation", "evaluate", {"x.json": b"{}"}, read, facts=facts)
    text = render_card(places["gguf"], NAMES, [tmp_path / "evaluation"])
    assert len(text.encode()) <= 20_000
    assert "more are in the manifests." in text


def test_invented_people_who_were_asked_change_no_data_set_of_recorded_ones(tmp_path):
    places = finish_chain(tmp_path)
    evaluation = finish_evaluation(tmp_path, places, {"language model": True}, synthetic=True)
    assert render_card(places["corpus"], NAMES, [evaluation]) == render_card(places["corpus"], NAMES)
    assert "Measured on invented recordings." in render_card(places["merged"], NAMES, [evaluation])


@pytest.mark.parametrize(
    ("protocol", "said"),
    [("ranges", "No subject is in two splits."), ("few-shot", "No subject of train is in another")],
)
def test_a_data_set_tells_what_its_splits_share(tmp_path, protocol, said):
    finish_corpus(tmp_path / "corpus")
    manifest = read_manifest(tmp_path / "corpus")
    recipe = manifest.recipe | {"split": {"by": "subject", "protocol": protocol}}
    write_text(tmp_path / "corpus" / MANIFEST, manifest.model_copy(update={"recipe": recipe}).model_dump_json())
    assert said in render_card(tmp_path / "corpus")


def test_a_model_that_was_not_pruned_is_not_called_so(tmp_path):
    finish_stage(tmp_path / "base", "base", {"config.json": b"{}"})
    finish_stage(tmp_path / "adapter", "adapter", {"adapter_config.json": b"{}"}, (tmp_path / "base",))
    finish_stage(tmp_path / "merged", "merge", {"config.json": b"{}"}, (tmp_path / "base", tmp_path / "adapter"))
    for stage in ("adapter", "merged"):
        assert "pruned" not in render_card(tmp_path / stage).partition("## Results")[0]
    assert "pruned language model" in render_card(finish_chain(tmp_path / "chain")["merged"])


def test_pictures_are_the_same_each_time_and_say_what_they_show(tmp_path):
    places = finish_chain(tmp_path, synthetic=True)
    png = b"\x89PNG picture"
    pictures = {"confusion-language-model-Q8_0.png": png, "trust-language-model-Q8_0.png": png + b"2"}
    evaluation = finish_evaluation(tmp_path, places, {"language model Q8_0": False}, pictures)
    one, two = (make_card(places["gguf"], NAMES, [evaluation]) for _ in range(2))
    assert one.files == two.files
    names = {f"assets/card-{kind}" for kind in ("accuracy.png", "confusion.png", "trust.png", "evaluation.json")}
    assert set(one.files) == names
    assert one.files["assets/card-confusion.png"] == png
    assert all(one.files[name].startswith(b"\x89PNG") for name in names if name.endswith(".png"))
    assert "![Confusion matrix of language model Q8_0 under each protocol: rows intended" in one.text
    (evaluation / "confusion-language-model-Q8_0.png").write_bytes(b"other")
    with pytest.raises(InputError, match="differs from its manifest; evaluate again"):
        make_card(places["gguf"], NAMES, [evaluation])


def test_pictures_of_sizes_come_from_the_chain(tmp_path):
    root = tmp_path
    weights = {"config.json": b"{}"}

    def add(stage, parents, parameters, value):
        metric = Metric(
            name="perplexity", value=value, n=9, unit="tokens", split="manual", interval=[value - 1, value + 1]
        )
        facts = {"model": {"parameters": parameters, "shape": {"vocab": 64}}}
        finish_stage(root / stage, stage, weights, parents, facts=facts, metrics=[metric])

    add("base", (), 2_000_000, 20.0)
    assert make_card(root / "base").files == {}, "one point is no comparison"
    add("prune", (root / "base",), 1_000_000, 30.0)
    add("recover", (root / "prune", root / "base"), 1_000_000, 25.0)
    card = make_card(root / "recover")
    assert set(card.files) == {"assets/card-perplexity.png"}
    assert "(base 2 M: 20, prune 1 M: 30, recover 1 M: 25)" in card.text
    files = [{"name": f"m-{kind}.gguf", "type": kind, "bytes": size} for kind, size in (("F16", 4000), ("Q8_0", 2000))]
    agreement = [
        Metric(name="label_agreement", value=0.9, n=9, unit="prompts", split="test", reader=f"GGUF {file['type']}")
        for file in files
    ]
    made = {file["name"]: b"GGUF\x00" for file in files}
    finish_stage(root / "gguf", "gguf", made, (root / "recover",), facts={"files": files}, metrics=agreement)
    assert set(make_card(root / "gguf").files) == {"assets/card-perplexity.png", "assets/card-files.png"}


def test_labels_are_counted_in_the_files_of_the_manifest(places):
    counts = count_labels(places["corpus"], read_manifest(places["corpus"]))
    assert sum(counts["train"].values()) == 28
    assert counts["train"]["anger"] == 4
    assert "assets/card-labels.png" in make_card(places["corpus"]).files


def test_a_card_stays_short_whatever_its_manifest_holds(tmp_path):
    places = finish_chain(tmp_path)
    facts = {"base": {"licence": "apache-2.0"}} | {f"fact_{i}": "x" * 70 for i in range(500)}
    finish_stage(places["merged"], "merge", {"config.json": b"{}"}, facts=facts)
    card = make_card(places["merged"])
    assert len(card.text.encode()) <= 20_000
    assert "`manifest.json` has all of them." in card.text
    assert card.lint() == []


def test_a_space_keeps_how_it_is_run(tmp_path):
    space = finish_space(tmp_path / "space", emoji="🧠", python_version="3.11", tags=["demo"])
    card = make_card(space, CardNames("lab/eeg-demo", "lab/eeg-GGUF", "lab/eeg-corpus"))
    header, _ = read_front_matter(card.text)
    assert (header["sdk"], header["sdk_version"], header["app_file"]) == ("gradio", "6.31.0", "app.py")
    assert (header["python_version"], header["emoji"]) == ("3.11", "🧠")
    assert (header["models"], header["datasets"]) == (["lab/eeg-GGUF"], ["lab/eeg-corpus"])
    assert {"demo", "research-only"} <= set(header["tags"])
    assert "leaves your machine" in card.text
    assert card.lint(["app.py"]) == []


@pytest.mark.parametrize(
    ("header", "error", "message"),
    [
        ({"sdk": "streamlit"}, RecipeError, "sdk"),
        ({"colorfrom": "blue"}, RecipeError, "unknown key"),
        ({"app_file": "main.py"}, InputError, "app_file 'main.py' is not among the files"),
        ({"short_description": "x" * 61}, RecipeError, "short_description"),
    ],
)
def test_a_space_that_could_not_run_has_no_card(tmp_path, header, error, message):
    with pytest.raises(error, match=message):
        make_card(finish_space(tmp_path / "space", **header))


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
    assert {f"{kind}.md.jinja" for kind in KINDS.values()} == templates - {"base.md.jinja", "macros.md.jinja"}


def test_command_prints_or_writes(places, tmp_path, capsys):
    assert main([str(places["gguf"])]) == 0
    printed = capsys.readouterr().out
    assert main([str(places["gguf"]), "--out", str(tmp_path / "README.md")]) == 0
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == printed
    with pytest.raises(InputError, match="lies in the folder"):
        main([str(places["gguf"]), "--out", str(places["gguf"] / "README.md")])

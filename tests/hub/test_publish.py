"""What a push promises beside the files: who may see them, versions, proposals, collections, a whole run at once."""

import pytest
from finished import finish_chain, finish_corpus, finish_evaluation, finish_stage

from cards.front_matter import read_front_matter
from dataset_builder.errors import CopilotError, InputError
from hub_scripts.patience import HubError, read_retry_after
from hub_scripts.run_push import main
from hub_scripts.stages import list_items
from tests.hub_server.faults import Fault

SPACE = b"---\ntitle: EEG\nsdk: gradio\nsdk_version: 6.0.0\napp_file: app.py\nlicense: apache-2.0\n---\n\n# EEG\n"


@pytest.fixture
def places(tmp_path):
    return finish_chain(tmp_path / "run")


def push(capsys, kind, folder, repo_id, *options):
    assert main([kind, str(folder), "--repo-id", repo_id, "--yes", *options]) == 0
    return capsys.readouterr().out


def test_new_data_are_private_and_gated_before_they_arrive(hub, places, capsys):
    seen = []
    hub.faults.before_next("POST", "/commit/", lambda: seen.append((repo().private, repo().gated)))

    def repo():
        return hub.repo("datasets", "lab/eeg")

    assert "gated: manual" in push(capsys, "dataset", places["corpus"], "lab/eeg")
    assert seen == [(True, "manual")]
    assert "nothing changed" in push(capsys, "dataset", places["corpus"], "lab/eeg")
    assert "gated: auto" in push(capsys, "dataset", places["corpus"], "lab/eeg", "--gated", "auto")
    assert "no longer gated" in push(capsys, "dataset", places["corpus"], "lab/eeg", "--gated", "no")
    push(capsys, "dataset", places["corpus"], "lab/eeg")
    assert repo().gated is False, "a gate that somebody opened stays open"


def test_public_comes_last(hub, places, capsys):
    push(capsys, "model", places["merged"], "lab/m")
    assert hub.repo("models", "lab/m").private
    assert "made public" in push(capsys, "model", places["merged"], "lab/m", "--public", "--licence-confirmed")
    assert not hub.repo("models", "lab/m").private


def test_a_tag_is_set_once_and_never_moved(hub, places, capsys):
    assert "tagged v1" in push(capsys, "model", places["merged"], "lab/m", "--tag", "v1")
    repo = hub.repo("models", "lab/m")
    assert repo.tags == {"v1": repo.branches["main"]}
    assert "nothing changed" in push(capsys, "model", places["merged"], "lab/m", "--tag", "v1")
    requests = hub.count("/commit/|/lfs/")
    with pytest.raises(InputError, match="'v1' exists and holds other files"):
        push(capsys, "model", places["recovered"], "lab/m", "--tag", "v1")
    assert hub.count("/commit/|/lfs/") == requests
    assert "tagged v2" in push(capsys, "model", places["recovered"], "lab/m", "--tag", "v2")


@pytest.mark.parametrize("pattern", ["/tag/", "/commit/"])
def test_an_answer_lost_on_the_way_makes_no_second_tag(hub, places, capsys, pattern):
    hub.faults.plan("POST", pattern, "lost")
    push(capsys, "model", places["merged"], "lab/m", "--tag", "v1")
    assert len(hub.repo("models", "lab/m").titles) == 2
    assert list(hub.repo("models", "lab/m").tags) == ["v1"]


def test_a_proposal_is_made_once(hub, places, capsys):
    push(capsys, "model", places["base"], "lab/m")
    hub.faults.plan("POST", "/commit/", "lost")
    assert "/discussions/1" in push(capsys, "model", places["merged"], "lab/m", "--pr")
    assert "proposed already" in push(capsys, "model", places["merged"], "lab/m", "--pr")
    repo = hub.repo("models", "lab/m")
    assert len(repo.proposals) == 1
    repo.proposals[0].status = "closed"
    assert "/discussions/2" in push(capsys, "model", places["merged"], "lab/m", "--pr")
    with pytest.raises(InputError, match="there is no model lab/none"):
        push(capsys, "model", places["merged"], "lab/none", "--pr")


def test_a_list_of_old_files_that_cannot_be_read_is_no_empty_list(hub, places, capsys, tmp_path):
    """Else the old shards of a corpus would stay beside the new ones."""
    push(capsys, "dataset", places["corpus"], "lab/eeg")
    finish_stage(
        tmp_path / "c", "corpus", {"README.md": b"---\nconfigs: []\n---\n"}, facts={"splits": {}, "source": {}}
    )
    hub.faults.plan("HEAD", "/resolve/.*/manifest.json", "503", times=3)
    push(capsys, "dataset", tmp_path / "c", "lab/eeg")
    assert not [name for name in hub.files("datasets", "lab/eeg") if name.endswith(".parquet")]


@pytest.mark.parametrize(("retry_after", "waited"), [("7", 7.0), ("0", 0.0), ("", 0.0)])
def test_the_hub_says_how_long_to_wait(hub, places, retry_after, waited):
    from huggingface_hub import HfApi

    from cards.render import CardNames
    from hub_scripts.payload import collect_payload
    from hub_scripts.publish import Target
    from hub_scripts.publish import push as push_payload

    hub.faults.planned.append(Fault("POST", "/commit/", "429", retry_after=retry_after))
    waits: list[float] = []
    payload = collect_payload("model", places["merged"], CardNames(repo_id="lab/m"))
    push_payload(payload, Target("lab/m"), HfApi(), sleep=waits.append)
    assert waits == [waited]


def test_the_wait_is_found_below_what_wraps_it():
    class Answer:
        headers = {"Retry-After": "7"}

    refused = OSError("too many requests")
    refused.response = Answer()
    wrapped = RuntimeError("failed in a thread")
    wrapped.__cause__ = refused
    assert read_retry_after(wrapped) == 7.0
    assert read_retry_after(OSError("no answer")) == 0.0


def test_an_hour_is_too_long_to_wait(hub, places, capsys):
    hub.faults.planned.append(Fault("POST", "/commit/", "429", times=9, retry_after="3600"))
    with pytest.raises(HubError, match="429"):
        push(capsys, "model", places["merged"], "lab/m")
    assert hub.count("/commit/") == 1


def test_a_full_account_is_told_at_once(hub, places, capsys):
    hub.faults.plan("PUT", "/lfs/", "507", times=9)
    with pytest.raises(HubError, match="lab/m: 507 no room left"):
        push(capsys, "model", places["merged"], "lab/m")
    assert hub.repo("models", "lab/m").titles == ["initial commit"]
    hub.faults.planned.clear()
    push(capsys, "model", places["merged"], "lab/m")


def test_a_collection_holds_the_repositories_once(hub, places, capsys):
    for _ in range(2):
        told = push(capsys, "model", places["merged"], "lab/m", "--collection", "EEG Emotion Copilot")
    assert f"collection: {hub.url}/collections/lab/eeg-emotion-copilot-" in told
    (made,) = hub.store.collections.values()
    assert (made.private, [item["id"] for item in made.items]) == (True, ["lab/m"])


def test_what_ollama_reads_goes_beside_the_gguf_files(hub, places, tmp_path, capsys):
    files = {"x-Q8_0.gguf": b"GGUF\x00", "template": b"{{ .Prompt }}", "system": b"You read EEG.", "params": b"{}"}
    finish_stage(tmp_path / "g", "gguf", files, (places["merged"],))
    push(capsys, "gguf", tmp_path / "g", "lab/g-GGUF")
    there = hub.files("models", "lab/g-GGUF")
    assert {name: there[name] for name in files} == files
    card = there["README.md"].decode()
    assert "| `x-Q8_0.gguf` | 0.0 MB |\n\n" in card, "the table of files ends with the model"
    assert "--model g-GGUF/x-Q8_0.gguf" in card


def test_a_space_keeps_how_it_is_run_and_gets_its_card(hub, tmp_path, capsys):
    finish_stage(tmp_path / "s", "space", {"README.md": SPACE, "app.py": b"import gradio\n", ".env": b"A=1"})
    push(capsys, "space", tmp_path / "s", "lab/demo", "--base-model", "lab/eeg-GGUF")
    assert hub.repo("spaces", "lab/demo").sdk == "gradio"
    assert set(hub.files("spaces", "lab/demo")) == {".gitattributes", "README.md", "app.py", "manifest.json"}
    header, _ = read_front_matter(hub.files("spaces", "lab/demo")["README.md"].decode())
    assert (header["title"], header["sdk_version"], header["app_file"]) == ("EEG", "6.0.0", "app.py")
    assert header["models"] == ["lab/eeg-GGUF"]
    again = push(capsys, "space", tmp_path / "s", "lab/demo", "--base-model", "lab/eeg-GGUF")
    assert "nothing changed" in again


@pytest.mark.parametrize(
    ("readme", "message"),
    [
        (b"# no front matter\n", "front matter"),
        (SPACE.replace(b"gradio", b"streamlit"), "sdk: input should be 'gradio'"),
        (SPACE.replace(b"app.py", b"main.py"), "app_file 'main.py'"),
    ],
)
def test_a_space_that_could_not_run_is_refused(tmp_path, readme, message):
    finish_stage(tmp_path / "s", "space", {"README.md": readme, "app.py": b""})
    with pytest.raises(CopilotError, match=message):
        main(["space", str(tmp_path / "s"), "--repo-id", "lab/demo"])


def test_pictures_go_with_the_card_and_leave_with_it(hub, places, capsys):
    """What lies beside a card is in no manifest: it is known by its name, and nobody else's picture is touched."""
    root = places["corpus"].parent
    evaluation = finish_evaluation(root, places, {"language model Q8_0": False})
    push(capsys, "gguf", places["gguf"], "lab/g-GGUF", "--evaluation", str(evaluation))
    there = hub.files("models", "lab/g-GGUF")
    assert {name for name in there if name.startswith("assets/")} == {
        "assets/card-accuracy.png",
        "assets/card-evaluation.json",
    }
    assert there["assets/card-evaluation.json"] == (evaluation / "manifest.json").read_bytes()
    repo = hub.repo("models", "lab/g-GGUF")
    files = dict(repo.tree("main"))
    repo.commit("main", files | {"assets/theirs.png": files["README.md"]}, "a picture")
    assert "removed 2" in push(capsys, "gguf", places["gguf"], "lab/g-GGUF")
    assert {name for name in hub.files("models", "lab/g-GGUF") if name.startswith("assets/")} == {"assets/theirs.png"}


def test_a_whole_run_names_each_base_on_the_hub(hub, places, capsys):
    root = places["corpus"].parent
    finish_stage(root / "space", "space", {"README.md": SPACE, "app.py": b""})
    options = ["--namespace", "lab", "--yes", "--collection", "EEG"]
    assert main(["all", str(root), *options]) == 0
    names = {"eeg-emotion-copilot" + end for end in ("-pruned", "-adapter", "-merged", "-GGUF")}
    assert {name for kind, name in hub.repos if kind == "models"} == {f"lab/{name}" for name in names}
    cards = {name: hub.files("models", f"lab/{name}")["README.md"].decode() for name in names}
    assert "base_model: Qwen/Qwen2-0.5B\n" in cards["eeg-emotion-copilot-pruned"]
    for end, relation in (("-adapter", "adapter"), ("-merged", "finetune")):
        assert "base_model: lab/eeg-emotion-copilot-pruned\n" in cards["eeg-emotion-copilot" + end]
        assert f"base_model_relation: {relation}\n" in cards["eeg-emotion-copilot" + end]
    assert (
        "base_model: lab/eeg-emotion-copilot-merged\nbase_model_relation: quantized\n"
        in cards["eeg-emotion-copilot-GGUF"]
    )
    assert len(next(iter(hub.store.collections.values())).items) == 6
    commits = hub.count("/commit/")
    assert main(["all", str(root), *options]) == 0
    assert hub.count("/commit/") == commits == 6
    capsys.readouterr()


@pytest.mark.parametrize(
    ("trained_on", "again", "adapter_base"),
    [
        ("recovered", (), "lab/eeg-pruned"),
        ("pruned", (), None),  # the repository holds the recovered one
        ("base", (), None),
        ("recovered", ("recovered",), None),  # made again since
    ],
)
def test_only_what_a_stage_was_made_from_is_named(places, trained_on, again, adapter_base):
    root, weights = places["corpus"].parent, {"config.json": b"{}"}
    used = (places[trained_on], places["corpus"])
    finish_stage(places["adapter"], "adapter", {"adapter_config.json": b"{}"}, used)
    finish_stage(places["merged"], "merge", weights, (places[trained_on], places["adapter"]))
    finish_stage(places["gguf"], "gguf", {"x.gguf": b"GGUF"}, (places["merged"],))
    for name in again:
        finish_stage(places[name], "recover", weights | {"more.json": b"{}"}, (places["pruned"],))
    names = {item.folder.name: item.names for item in list_items(root, "lab", "eeg")}
    assert {name: found.base_model for name, found in names.items()} == {
        "corpus": None,
        "recovered": None,
        "adapter": adapter_base,
        "merged": adapter_base,
        "gguf": "lab/eeg-merged",
    }
    with_data = {name for name, found in names.items() if found.dataset == "lab/eeg"}
    assert with_data == {"adapter", "merged", "gguf"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["all"], "needs --namespace"),
        (["model", "--repo-id", "lab/m", "--namespace", "lab"], "not --namespace"),
        (["model"], "needs --repo-id"),
        (["model", "--repo-id", "lab/m", "--tag", "v 1"], "--tag: found"),
        (["model", "--repo-id", "lab/m", "--pr", "--tag", "v1"], "--tag: a proposal"),
        (["space", "--repo-id", "lab/m", "--gated", "auto"], "Spaces have no gate"),
        (["model", "--repo-id", "lab/m", "--collection", "x" * 60], "--collection: found 60"),
    ],
)
def test_options_that_do_not_fit(places, options, message):
    with pytest.raises(InputError, match=message):
        main([options[0], str(places["merged"]), *options[1:]])


def test_offline_is_respected(places):
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        main(["model", str(places["merged"]), "--repo-id", "lab/m", "--yes"])


def test_two_stages_of_a_kind_are_not_guessed(tmp_path):
    for name in ("one", "two"):
        finish_corpus(tmp_path / "run" / name)
    with pytest.raises(InputError, match="one and two both hold stage 'corpus'"):
        main(["all", str(tmp_path / "run"), "--namespace", "lab"])


def test_a_server_without_xet_gets_large_files_over_lfs(hub, places, capsys, monkeypatch):
    """The client has no way back by itself: it asks for a Xet token, gets 404 and gives up."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    push(capsys, "model", places["merged"], "lab/m")
    assert hub.count("xet-write-token") == 1
    assert hub.count("PUT /lfs/") == 1
    assert hub.files("models", "lab/m")["model.safetensors"] == (places["merged"] / "model.safetensors").read_bytes()

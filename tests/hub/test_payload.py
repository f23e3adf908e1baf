import json

import pytest
from finished import finish_chain, finish_space, finish_stage

from cards.render import CardNames
from dataset_builder.errors import InputError
from hub_scripts.payload import collect_payload
from hub_scripts.publish import check_licence

NAMES = CardNames(repo_id="lab/copilot")
HOME = "/ho" + "me/anna/eeg"


@pytest.fixture
def places(tmp_path):
    return finish_chain(tmp_path)


def test_only_listed_files_are_taken(places):
    (places["merged"] / "diary.txt").write_text("private")
    (places["merged"] / ".env").write_text("TOKEN=1")
    payload = collect_payload("model", places["merged"], NAMES)
    names = [file.name for file in payload.files]
    assert names == ["README.md", "config.json", "manifest.json", "model.safetensors"]
    assert payload.repo_type == "model"


def test_dotfiles_are_not_taken_even_if_listed(tmp_path):
    finish_stage(tmp_path / "m", "merge", {".env": b"x", ".cache/x.json": b"{}", "a/.b/c.json": b"{}", "d.json": b"{}"})
    names = {file.name for file in collect_payload("model", tmp_path / "m", NAMES).files}
    assert names == {"README.md", "d.json", "manifest.json"}


def test_digests_are_those_of_git_and_the_hub(places):
    from tests.hub_server import Blob

    for file in collect_payload("model", places["merged"], NAMES).files:
        data = file.content if isinstance(file.content, bytes) else file.content.read_bytes()
        assert (file.bytes, file.sha256, file.git_sha1) == (len(data), Blob(data).sha256, Blob(data).oid)


@pytest.mark.parametrize("kind", ["dataset", "adapter", "gguf"])
def test_kind_must_fit_the_stage(places, kind):
    with pytest.raises(InputError, match=f"pushed as model, not as {kind}"):
        collect_payload(kind, places["merged"], NAMES)


def test_records_are_never_published(tmp_path):
    finish_stage(tmp_path / "rec1", "record", {"record.json": b"{}"})
    with pytest.raises(InputError, match=r"^rec1: holds stage 'record', which is never published; .* dataset: corpus$"):
        collect_payload("dataset", tmp_path / "rec1", NAMES)


def test_unfinished_stage_is_refused(places):
    (places["merged"] / "manifest.json").unlink()
    with pytest.raises(InputError, match="not a finished stage"):
        collect_payload("model", places["merged"], NAMES)


def test_changed_or_missing_file_is_refused(places):
    (places["merged"] / "config.json").write_bytes(b"[]")
    with pytest.raises(InputError, match="config.json: changed since"):
        collect_payload("model", places["merged"], NAMES)
    (places["merged"] / "config.json").unlink()
    with pytest.raises(InputError, match="config.json: listed in the manifest but not there"):
        collect_payload("model", places["merged"], NAMES)


@pytest.mark.parametrize("text", [json.dumps({"base": HOME}), "hf" + "_" + "a" * 34])
def test_private_text_stops_the_push_without_repeating_it(tmp_path, text):
    finish_stage(tmp_path / "m", "merge", {"config.json": text.encode()})
    with pytest.raises(InputError, match="config.json: holds") as refusal:
        collect_payload("model", tmp_path / "m", NAMES)
    assert "anna" not in str(refusal.value)
    assert text not in str(refusal.value)


def test_private_text_in_the_manifest_stops_the_push(tmp_path):
    finish_stage(tmp_path / "m", "merge", {"config.json": b"{}"}, facts={"where": {"deep": [[HOME]]}})
    with pytest.raises(InputError, match="manifest.json: holds a path of this machine"):
        collect_payload("model", tmp_path / "m", NAMES)


def test_vocabularies_may_hold_any_word(tmp_path):
    finish_stage(tmp_path / "m", "merge", {"tokenizer.json": json.dumps({"vocab": [HOME]}).encode()})
    assert collect_payload("model", tmp_path / "m", NAMES).files


def test_adapter_names_its_base_on_the_hub(places):
    names = CardNames(repo_id="lab/adapter", base_model="lab/pruned")
    files = {file.name: file.content for file in collect_payload("adapter", places["adapter"], names).files}
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "lab/pruned"
    assert b"base_model: lab/pruned" in files["README.md"]
    assert json.loads((places["adapter"] / "adapter_config.json").read_text())["base_model_name_or_path"] is None


def test_unknown_licence_stays_private(tmp_path):
    finish_stage(tmp_path / "m", "merge", {"config.json": b"{}"})
    payload = collect_payload("model", tmp_path / "m", NAMES)
    check_licence(payload, public=False, confirmed=False)
    with pytest.raises(InputError, match="no manifest tells the licence"):
        check_licence(payload, public=True, confirmed=True)


@pytest.mark.parametrize(("told", "refused"), [(None, "no manifest tells the licence"), ("cc-by-nc-4.0", None)])
def test_a_space_has_the_licence_of_its_weights(tmp_path, told, refused):
    facts = {"base": {"model_id": "lab/m", "source": "Hugging Face Hub", "licence": told}}
    finish_stage(tmp_path / "gguf", "gguf", {"x.gguf": b"GGUF"}, facts=facts)
    space = finish_space(tmp_path / "space")
    kept = {name: (space / name).read_bytes() for name in ("README.md", "app.py")}
    finish_stage(space, "space", kept | {"model/x.gguf": b"GGUF"}, (tmp_path / "gguf",))
    payload = collect_payload("space", space, NAMES)
    card = next(file.content for file in payload.files if file.name == "README.md")
    assert payload.licence == (told or "unknown")
    assert f"Licence: `apache-2.0`; of the model: `{payload.licence}`.".encode() in card
    with pytest.raises(InputError, match=refused or "that 'cc-by-nc-4.0' lets you publish this"):
        check_licence(payload, public=True, confirmed=bool(refused))
    assert collect_payload("space", finish_space(tmp_path / "bare"), NAMES).licence == "apache-2.0"

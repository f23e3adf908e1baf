"""The Space's folder, and the same page started by its app.py and by the command, with a real small model."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from cards.render import CardNames, make_card
from copilot.run_space import main
from copilot.space import SpaceRecipe, build_space, name_requirement
from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, read_manifest
from dataset_builder.sources.recordings import read_recording
from tests.copilot.app.app_fakes import PLANTED, write_named_edf
from tests.copilot.app.browser import CHROMIUM, browse, find_texts, serve
from tests.copilot.copilot_fakes import write_fake_gguf


def in_browser(test):
    """Mark a test that starts a program and a browser."""
    marks = (
        pytest.mark.slow,
        pytest.mark.timeout(420),
        pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    )
    for mark in marks:
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("space")
    build_space(SpaceRecipe(), write_fake_gguf(root / "tiny-F16.gguf"), root / "space")
    return root / "space"


def test_folder_holds_what_a_space_needs(space):
    names = sorted(path.relative_to(space).as_posix() for path in space.rglob("*") if path.is_file())
    assert names == ["README.md", "app.py", MANIFEST, "model/tiny-F16.gguf", "requirements.txt", "sample.edf"]
    assert (space / "requirements.txt").read_text() == f"{name_requirement()}\n"
    assert name_requirement().startswith("eeg-emotion-copilot[app]>=")
    assert ",<" in name_requirement()
    compile((space / "app.py").read_text(), "app.py", "exec")
    manifest = read_manifest(space)
    assert manifest.stage == "space"
    assert manifest.synthetic
    assert {item.name for item in manifest.outputs} == set(names) - {MANIFEST}


def test_card_is_as_the_hub_wants_it(space):
    card = make_card(space, CardNames("lab/eeg-demo", "lab/eeg-copilot-GGUF"))
    assert card.lint([item.name for item in read_manifest(space).outputs]) == []
    assert "sdk: gradio" in card.text
    assert "leaves" in card.text


def test_sample_is_a_recording_of_nobody(space):
    assert len(read_recording(space / "sample.edf")) == 4
    assert b"synthetic" in (space / "sample.edf").read_bytes()[:256]


def test_same_recipe_and_model_are_not_made_again(space):
    before = read_manifest(space)
    model = space.parent / "tiny-F16.gguf"
    assert build_space(SpaceRecipe(), model, space) == before
    assert build_space(SpaceRecipe(title="Another"), model, space) != before
    assert build_space(SpaceRecipe(), model, space).key == before.key


def test_names_that_tell_too_much_are_refused(tmp_path):
    model = write_fake_gguf(tmp_path / "my model.gguf")
    with pytest.raises(InputError, match="letters"):
        build_space(SpaceRecipe(), model, tmp_path / "space")
    assert not (tmp_path / "space").exists()


@pytest.mark.parametrize(
    "values", [{"requirement": "gradio"}, {"python_version": "3.9"}, {"title": ""}, {"colour": "red"}]
)
def test_recipe_refuses_what_cannot_run(values):
    with pytest.raises(ValidationError):
        SpaceRecipe(**values)


def test_command_tells_what_it_wrote(tmp_path, capsys):
    model = write_fake_gguf(tmp_path / "tiny-F16.gguf")
    assert main(["--gguf", str(model), "--out", str(tmp_path / "space"), "--title", "Demo"]) == 0
    assert "5 files" in capsys.readouterr().out
    assert "title: Demo" in (tmp_path / "space" / "README.md").read_text()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Return a real GGUF file with random weights."""
    from model_recipes.gguf import GgufRecipe, export_gguf
    from tests.factories import make_corpus, make_tiny_model

    root = tmp_path_factory.mktemp("g")
    corpus, base = make_corpus(root / "corpus", n_train=2), make_tiny_model(root / "base")
    export_gguf(GgufRecipe(name="tiny", types=["F16"], perplexity_windows=2), base, corpus, root / "gguf")
    return next((root / "gguf").glob("*.gguf"))


@pytest.fixture(scope="module")
def running(model, tmp_path_factory) -> Iterator[tuple]:
    root = tmp_path_factory.mktemp("s")
    build_space(SpaceRecipe(), model, root / "space")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPACE_ID", "lab/eeg-demo")
        with serve([str(root / "space" / "app.py")], root) as server:
            yield server, root


@in_browser
def test_space_says_that_data_leave_and_shows_the_sample_only(running, tmp_path):
    server, _ = running
    with browse(server.address, tmp_path / "profile") as browser:
        page = browser.page
        page.wait_for_selector("#model-facts table")
        assert "leaves your computer" in page.inner_text("#head")
        assert page.locator("#upload").count() == 0
        assert page.locator("#model-path").count() == 0
        page.click("#sample")
        page.locator("#header .synthetic").wait_for()
        page.locator("#steps").get_by_role("tab", name="3 Estimate").click()
        page.click("#ask")
        page.wait_for_selector("#answer .headline")
        assert page.locator("#answer .scores tbody tr").count() == 9
        assert browser.beyond == []
        assert browser.complaints == []


@in_browser
def test_command_ends_without_a_trace(model, tmp_path_factory):
    root = tmp_path_factory.mktemp("c")
    program = f"from copilot.run_app import main; main(['--model', {str(model)!r}, '--no-browser'])"
    with serve(["-c", program], root) as server, browse(server.address, root / "profile") as browser:
        page = browser.page
        page.wait_for_selector("#model-facts table")
        page.set_input_files("#upload input[type=file]", str(write_named_edf(root / "raw")))
        page.wait_for_selector("#header table")
        page.locator("#steps").get_by_role("tab", name="3 Estimate").click()
        page.click("#ask")
        page.wait_for_selector("#answer .headline")
        assert server.stop(signal.SIGINT) == 0  # in the middle of the session
        assert browser.beyond == []
    assert list((root / "tmp").iterdir()) == []
    assert list((root / "work").iterdir()) == []
    left = find_texts(root / "home", PLANTED) + find_texts(root / "tmp", PLANTED)
    assert left == []
    log = (root / "server.log").read_text()
    assert [text for text in PLANTED if text in log] == []
    assert "nothing of the session is left" in log


def test_manifest_names_no_place_of_this_machine(space):
    text = json.dumps(read_manifest(space).model_dump(mode="json"))
    assert str(space.parent) not in text

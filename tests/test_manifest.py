import json
from pathlib import Path

import pytest

from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, hash_file, read_manifest, write_text
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import find_finished, open_stage


class Recipe(StrictModel):
    value: int = 1


def run_stage(out: Path, recipe: Recipe, text: str = "done", **options: object) -> None:
    with open_stage("test", out, recipe, **options) as stage:  # type: ignore[arg-type]
        write_text(stage.folder / "result.txt", text)
        (stage.folder / "checkpoints").mkdir(exist_ok=True)


def test_finished_stage_is_complete_and_traceable(tmp_path: Path) -> None:
    run_stage(tmp_path / "a", Recipe())
    run_stage(tmp_path / "b", Recipe(), parents=[tmp_path / "a"])
    manifest = read_manifest(tmp_path / "b")
    assert [item.name for item in manifest.outputs] == ["result.txt"]
    assert manifest.outputs[0].sha256 == hash_file(tmp_path / "b" / "result.txt")
    assert manifest.parents[0].folder == "../a"
    assert manifest.parents[0].sha256 == hash_file(tmp_path / "a" / MANIFEST)
    assert str(tmp_path) not in (tmp_path / "b" / MANIFEST).read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_stage_that_fails_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    run_stage(tmp_path / "out", Recipe(), "old")
    with pytest.raises(KeyboardInterrupt), open_stage("test", tmp_path / "out", Recipe(value=2)) as stage:
        write_text(stage.folder / "result.txt", "half")
        raise KeyboardInterrupt
    assert (tmp_path / "out" / "result.txt").read_text() == "old"
    assert find_finished("test", tmp_path / "out", Recipe(value=2)) is None
    with pytest.raises(InputError, match="not a finished stage"):
        read_manifest(tmp_path / "out.partial")


def test_interrupted_work_is_resumed_only_with_the_same_key(tmp_path: Path) -> None:
    for value, expected in ((1, False), (1, True), (2, False)):
        with pytest.raises(RuntimeError), open_stage("test", tmp_path / "out", Recipe(value=value)) as stage:
            assert stage.resumed is expected
            assert (stage.folder / "checkpoint").exists() is expected
            write_text(stage.folder / "checkpoint", "state")
            raise RuntimeError


def test_nothing_stays_after_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(InputError), open_stage("test", tmp_path / "out", Recipe()) as stage:
        write_text(stage.folder / "result.txt", "half")
        raise InputError("bad file")
    assert list(tmp_path.iterdir()) == []


def test_finished_work_is_found_until_something_changes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_stage(out, Recipe())
    assert find_finished("test", out, Recipe()) is not None
    assert find_finished("test", out, Recipe(value=2)) is None
    assert find_finished("other", out, Recipe()) is None
    write_text(out / "result.txt", "evil")
    assert find_finished("test", out, Recipe()) is None


def test_foreign_folders_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds files but no manifest.json"):
        run_stage(tmp_path / "mine", Recipe())
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        run_stage(tmp_path / "file", Recipe())
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"stage": "x"}), json.dumps({"colour": "red"})])
def test_damaged_manifests_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(Exception, match=MANIFEST) as caught:
        read_manifest(tmp_path)
    assert type(caught.value).__module__ == "dataset_builder.errors"
    assert "\n" not in str(caught.value)

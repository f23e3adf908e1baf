"""A review that is interrupted at any of its writes is as it was before or as it would be after, and can go on."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from copilot.record import render_json
from copilot.record.review_files import load_review
from dataset_builder.stage_folder import lock_folder
from tests.copilot.record.review_fakes import quick_record
from tests.robustness.trouble import Ending, preload, run_stage

#: What the log may say after a second change that was troubled: it was not made, or it was.
BEFORE, AFTER = ["draft", "edit"], ["draft", "edit", "edit"]

#: Beside the review until it is saved the next time; holds the number of a process.
LOCK = "review.lock"


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a made-up record and a review of one change."""
    preload("copilot.run_review")
    folder = tmp_path_factory.mktemp("reviewed") / "record"
    folder.mkdir()
    (folder / "record.json").write_bytes(render_json(quick_record()))
    assert run_stage("review", folder, folder).code == 0
    return folder


@pytest.fixture
def change(reviewed: Path, tmp_path: Path) -> Callable[..., tuple[Path, Ending]]:
    """Return a function that changes a new copy of the review, with a trouble at one of the writes."""

    def run(trouble: str = "", at: int = 0) -> tuple[Path, Ending]:
        folder = tmp_path / f"{trouble}{at}" / "record"
        shutil.copytree(reviewed, folder)
        return folder, run_stage("review-again", tmp_path, folder, trouble, at)

    return run


#: Every third write is enough for `make test`; all of them are tried at night.
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("trouble", ["kill", "full", "read-only", "interrupt"])
def test_a_review_is_never_half_saved(trouble: str, step: int, change: Callable[..., tuple[Path, Ending]]) -> None:
    whole, undisturbed = change()
    assert (undisturbed.code, list_steps(whole)) == (0, AFTER)
    for at in range(1, undisturbed.writes + 1, step) if trouble != "read-only" else [1]:
        place = f"{trouble} at write {at} of {undisturbed.writes}"
        folder, troubled = change(trouble, at)
        accepted = {"kill": (-9,), "full": (0, 2), "read-only": (2,), "interrupt": (2,)}[trouble]
        assert troubled.code in accepted, f"{place}: {troubled.message}"
        assert troubled.message.isprintable()
        assert str(folder.parent) not in troubled.message
        assert list_steps(folder) in (BEFORE, AFTER), place
        assert run_stage("review", folder, folder).code == 0
        assert run_stage("review-again", folder, folder).code == 0
        assert load_review(folder).record.assessment.text == "Written anew."
        assert list_names(folder) == list_names(whole), f"left behind: {place}"


def test_the_second_who_saves_a_review_is_told(reviewed: Path) -> None:
    before = list_names(reviewed)
    with lock_folder(reviewed / "review"):
        ending = run_stage("review-again", reviewed, reviewed)
    assert ending.code == 2
    assert "is writing this folder" in ending.message
    assert (list_steps(reviewed), list_names(reviewed)) == (BEFORE, before)


def list_steps(folder: Path) -> list[str]:
    """Return what the saved log says; every digest is checked."""
    return [entry.action for entry in load_review(folder).log.entries]


def list_names(folder: Path) -> list[str]:
    """Return all files below a folder but the lock."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name != LOCK)

"""Kill -9, Ctrl-C, a full disk, a read-only folder, a lost input and a turned clock, at each stage of the pipeline.

After a restart the result is byte for byte that of a run that was left alone, apart from times. `make nightly` tries
the whole matrix, `make test` a part that holds every trouble.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataset_builder.stage_folder import lock_folder
from tests.robustness.stages import STAGES
from tests.robustness.trouble import TROUBLES, Ending, copy_inputs, preload, read_tree, restore_inputs, run_stage

REPO = Path(__file__).parents[2]

#: How a stage is opened under a name.
OPENED = r"open_stage\('|open_shared_stage\(processes, '"

#: Where in a stage's writes a trouble comes: at the first, in the middle, at the last.
POINTS: dict[str, tuple[float, ...]] = {
    "kill": (0.0, 0.5, 1.0),
    "interrupt": (0.5,),
    "full": (0.0, 0.5, 1.0),
    "lost-input": (0.0, 0.6),
    "clock": (0.5,),
    "read-only": (0.0,),
}

#: In `make test`: every trouble, on stages that a worker starts within seconds.
DIAGONAL = [
    ("synth", "kill", 0.5),
    ("synth", "read-only", 0.0),
    ("corpus", "kill", 1.0),
    ("corpus", "interrupt", 0.5),
    ("corpus", "full", 0.5),
    ("corpus", "lost-input", 0.0),
    ("corpus", "clock", 0.5),
    ("export", "kill", 0.5),
    ("card", "full", 0.0),
    ("card", "read-only", 0.0),
]


@pytest.fixture(scope="module")
def torch_loaded() -> None:
    """Spare each of hundreds of processes the seconds that these imports take."""
    preload("torch", "transformers", "peft", "trl", "datasets", "mne", "model_recipes.adapter", "model_recipes.gguf")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, int]]:
    """Return a function that runs a stage undisturbed, and before it those it needs, and tells how often it writes."""
    folder = tmp_path_factory.mktemp("pipeline")
    writes: dict[str, int] = {}

    def run_up_to(name: str) -> tuple[Path, int]:
        for needed in STAGES[name].needs:
            run_up_to(needed)
        if name not in writes:
            if prepare := STAGES[name].prepare:
                prepare(folder)
            ending = run_stage(name, folder, folder / name)
            assert ending.code == 0, f"{name}: {ending.message}"
            writes[name] = ending.writes
        return folder, writes[name]

    return run_up_to


def list_faults(name: str, trouble: str, point: float, pipeline: Any, tmp_path: Path) -> list[str]:
    """Run a stage with a trouble, then again without, and return what is not as in the undisturbed run."""
    whole, writes = pipeline(name)
    inputs = copy_inputs(whole, tmp_path / "inputs")
    out = tmp_path / "results" / name
    out.parent.mkdir()
    at = 1 + round(point * (writes - 1))
    ending = run_stage(name, inputs, out, trouble, at)
    restore_inputs(inputs)
    faults = judge_ending(ending, trouble, at, writes, tmp_path, loose=STAGES[name].loose)
    again = run_stage(name, inputs, out)
    if again.code:
        return [*faults, f"after {trouble} at write {at} of {writes}: {again.message}"]
    beside = sorted(path.name for path in out.parent.iterdir())
    if beside != [name]:
        faults.append(f"left behind: {beside}")
    expected, found = read_tree(whole / name), read_tree(out)
    return faults if found == expected else [*faults, find_difference(expected, found)]


def judge_ending(ending: Ending, trouble: str, at: int, writes: int, tmp_path: Path, *, loose: bool) -> list[str]:
    """Return what is wrong with how a troubled run ended."""
    place = f"{trouble} at write {at} of {writes}"
    if trouble == "kill":
        return [] if ending.code == -9 else [f"{place}: ended with {ending.code}"]
    if trouble == "interrupt":
        heard = ending.message.startswith(("KeyboardInterrupt", "stopped; "))
        return [] if ending.code and heard else [f"{place}: ended with {ending.code}: {ending.message}"]
    unseen = trouble == "read-only" or (
        trouble == "full" and at < writes and (at == 1 or not loose)  # the last write of a stage only removes the lock
    )
    accepted = {0} if trouble == "clock" else {2} if unseen else {0, 2}
    faults = [] if ending.code in accepted else [f"{place}: ended with {ending.code}: {ending.message}"]
    if ending.code and not ending.message.isprintable():
        faults.append(f"{place}: more than a line: {ending.message!r}")
    return [*faults, f"{place}: tells a path"] if str(tmp_path) in ending.message else faults


def find_difference(expected: Any, found: Any, place: str = "") -> str:
    """Return the first place where two trees of values differ."""
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        return next(
            (find_difference(expected[k], found[k], f"{place}/{k}") for k in expected if expected[k] != found[k]), ""
        )
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = zip(expected, found, strict=True)
        return next((find_difference(a, b, f"{place}/{i}") for i, (a, b) in enumerate(pairs) if a != b), "")
    return f"{place}: {str(expected)[:200]} became {str(found)[:200]}"


@pytest.mark.parametrize(("name", "trouble", "point"), DIAGONAL)
def test_a_part_of_the_matrix(name: str, trouble: str, point: float, pipeline: Any, tmp_path: Path) -> None:
    assert list_faults(name, trouble, point, pipeline, tmp_path) == []


@pytest.mark.nightly
@pytest.mark.parametrize("trouble", list(TROUBLES))
@pytest.mark.parametrize("name", list(STAGES))
@pytest.mark.usefixtures("torch_loaded")
def test_the_whole_matrix(name: str, trouble: str, pipeline: Any, tmp_path: Path) -> None:
    for number, point in enumerate(POINTS[trouble]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert list_faults(name, trouble, point, pipeline, folder) == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name, case in STAGES.items() if not case.loose])
@pytest.mark.usefixtures("torch_loaded")
def test_the_second_who_writes_is_told(name: str, pipeline: Any, tmp_path: Path) -> None:
    whole, _ = pipeline(name)
    with lock_folder(tmp_path / name):
        ending = run_stage(name, whole, tmp_path / name)
    assert (ending.code, "is writing this folder" in ending.message) == (2, True), ending.message
    assert list(tmp_path.iterdir()) == []


def test_every_trouble_is_in_the_quick_part() -> None:
    assert {trouble for _, trouble, _ in DIAGONAL} == set(TROUBLES) == set(POINTS)


def list_stages() -> Iterator[str]:
    """Yield the name of each function of ours that opens a stage of its own."""
    for package in ("dataset_builder", "model_recipes", "copilot", "cards", "hub_scripts"):
        for path in (REPO / package).rglob("*.py"):
            functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
            yield from (function.name for function in functions if re.search(OPENED, ast.unparse(function)))


def test_every_stage_meets_the_troubles() -> None:
    tried = (REPO / "tests" / "robustness" / "stages.py").read_text()
    found = set(list_stages())
    assert {"build_corpus", "train_adapter", "evaluate_models", "evaluate_people", "train_in_steps"} <= found
    assert [name for name in sorted(found) if f"{name}(" not in tried] == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", list(STAGES))
@pytest.mark.usefixtures("torch_loaded")
def test_two_undisturbed_runs_are_equal(name: str, pipeline: Any, tmp_path: Path) -> None:
    whole, _ = pipeline(name)
    assert run_stage(name, whole, tmp_path / name).code == 0
    assert read_tree(tmp_path / name) == read_tree(whole / name)

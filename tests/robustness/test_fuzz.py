"""Damaged files: whatever they hold, a reader reads them or refuses them with one line of ours.

``make test`` reads a dozen inputs or more with every reader, ``make nightly`` twenty thousand in all, and with
``EEG_COPILOT_FUZZ_FILES=FOLDER`` also damaged copies of one's own files (`real_files`).
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from dataset_builder.seeds import make_rng
from tests.robustness.fuzzing import Outcome, fuzz_target, share_inputs
from tests.robustness.mutations import DIALECTS, MAX_BYTES, mutate
from tests.robustness.real_files import FILES_VARIABLE, count_inputs, find_real_files
from tests.robustness.targets import TARGETS

WEIGHTS = {name: target.weight for name, target in TARGETS.items()}
NIGHTLY = share_inputs(20_000, WEIGHTS)

#: Inputs of each reader in `make test`: most where the worker starts at once, without MNE or torch.
QUICK = dict.fromkeys(TARGETS, 12)
QUICK |= dict.fromkeys(("ratings", "csv-people", "csv-recordings", "npy", "manifest", "card"), 40)
QUICK |= {"pickle": 120, "mat": 60, "recipe": 60, "xlsx": 25, "xlsx-channels": 25}


def test_the_nightly_run_is_large_enough() -> None:
    assert sum(NIGHTLY.values()) >= 20_000
    assert min(NIGHTLY.values()) >= 100
    assert sum(QUICK.values()) >= 600
    assert min(QUICK.values()) >= 12


def test_equal_numbers_give_equal_inputs() -> None:
    data = Path(__file__).read_bytes()
    for dialect in DIALECTS:
        made = [mutate(data, [data], dialect, make_rng(1, dialect, str(number))) for number in (1, 1, 2)]
        assert made[0] == made[1]
        assert made[0] != made[2]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Outcome]]]:
    """Return what becomes of the few inputs; two workers run at a time, as most of each one's time is its start."""
    folder = tmp_path_factory.mktemp("fuzz")
    pool = ThreadPoolExecutor(2)
    yield {name: pool.submit(fuzz_target, name, folder, count) for name, count in QUICK.items()}
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", list(QUICK))
def test_a_few_damaged_files(name: str, outcomes: dict[str, Future[Outcome]]) -> None:
    outcome = outcomes[name].result()
    assert outcome.faults == []
    assert outcome.counts["refused"] > QUICK[name] // 8
    assert outcome.counts.total() == QUICK[name]


@pytest.mark.nightly
@pytest.mark.parametrize("name", list(TARGETS))
def test_many_damaged_files(name: str, tmp_path: Path) -> None:
    outcome = fuzz_target(name, tmp_path, NIGHTLY[name])
    assert outcome.faults == []
    assert outcome.counts["refused"] > NIGHTLY[name] // 10


@pytest.mark.nightly
@pytest.mark.skipif(not find_real_files(), reason=f"{FILES_VARIABLE} names no folder with files that are read here")
@pytest.mark.parametrize("name", list(find_real_files()) or ["real"])
def test_many_damaged_real_files(name: str, tmp_path: Path) -> None:
    outcome = fuzz_target(name, tmp_path, count_inputs())
    assert outcome.faults == []
    assert outcome.counts.total() == count_inputs()


@pytest.fixture
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder that is searched for real files; here they are made up."""
    monkeypatch.setenv(FILES_VARIABLE, str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    find_real_files.cache_clear()
    yield tmp_path / "own"
    find_real_files.cache_clear()


def test_real_files_are_found_damaged_in_copies_and_called_by_number(own_files: Path, tmp_path: Path) -> None:
    table = b"sub,Age\nsub000,24\n" * 20
    for place in ("a", "b/c"):
        (own_files / place).mkdir(parents=True)
        (own_files / place / "Recording_info.csv").write_bytes(table)
    (own_files / "huge.edf").write_bytes(b"0" * (MAX_BYTES + 1))
    (own_files / "notes.txt").write_text("not ours")
    assert list(find_real_files()) == ["real-people-1", "real-people-2"]
    outcome = fuzz_target("real-people-2", tmp_path / "work", 20)
    assert (outcome.faults, outcome.counts["refused"]) == ([], 20)
    assert (own_files / "b/c/Recording_info.csv").read_bytes() == table


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("bad-exec", "execution"), ("bad-reach", "reach"), ("bad-crash", "crash"), ("bad-path", "message")]
    + [("bad-memory", "memory"), ("bad-death", "death"), ("bad-hang", "hang")],
)
def test_the_harness_sees_what_it_looks_for(name: str, verdict: str, tmp_path: Path) -> None:
    outcome = fuzz_target(name, tmp_path, 2)
    assert outcome.counts[verdict] == 2
    assert len(outcome.faults) == 2

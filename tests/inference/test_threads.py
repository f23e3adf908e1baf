"""How many threads the engine takes: cores, quotas of containers, and the user's wish."""

import os

import pytest

from dataset_builder.errors import InputError
from model_recipes.runtime import threads
from model_recipes.runtime.threads import THREADS_VARIABLE, count_threads, read_quota


@pytest.fixture
def cores(monkeypatch):
    """Let the machine have so many cores of two logical processors each."""

    def set_cores(n: int) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(2 * n)), raising=False)
        monkeypatch.setattr(threads, "_read_siblings", lambda cpu: str(cpu % n))
        monkeypatch.setattr(threads, "read_quota", lambda: None)

    return set_cores


@pytest.mark.parametrize(("n", "wanted"), [(1, 1), (2, 1), (4, 3), (16, 15)])
def test_one_physical_core_stays_free(cores, n, wanted):
    cores(n)
    assert count_threads() == wanted


@pytest.mark.parametrize(("quota", "wanted"), [(0.5, 1), (1.0, 1), (2.5, 2), (64.0, 7)])
def test_a_quota_of_a_container_is_kept(cores, monkeypatch, quota, wanted):
    cores(8)
    monkeypatch.setattr(threads, "read_quota", lambda: quota)
    assert count_threads() == wanted


def test_the_variable_decides(cores, monkeypatch):
    cores(4)
    monkeypatch.setenv(THREADS_VARIABLE, "9")
    assert count_threads() == 9
    for wrong in ("0", "-1", "many", "1.5"):
        monkeypatch.setenv(THREADS_VARIABLE, wrong)
        with pytest.raises(InputError, match=rf"^{THREADS_VARIABLE}: found '{wrong}'; accepted: 1 or more$"):
            count_threads()


def test_this_machine():
    assert 1 <= count_threads() <= max(1, (os.cpu_count() or 1) - 1)


@pytest.mark.parametrize(
    ("files", "group", "wanted"),
    [
        ({"box/job/cpu.max": "150000 100000\n"}, "0::/box/job", 1.5),
        ({"box/job/cpu.max": "max 100000", "box/cpu.max": "200000 100000"}, "0::/box/job", 2.0),
        ({"box/job/cpu.max": "400000 100000", "box/cpu.max": "100000 100000"}, "1:x:/\n0::/box/job", 1.0),
        ({"cpu.max": "300000 100000"}, "0::/", 3.0),
        ({"cpu.max": "max 100000"}, "0::/", None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/x", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/x", None),
        ({"cpu.max": "nonsense"}, "0::/", None),
        ({}, "", None),
    ],
)
def test_quota_of_control_groups(tmp_path, files, group, wanted):
    (tmp_path / "membership").write_text(group)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert read_quota(tmp_path / "cgroup", tmp_path / "membership") == wanted


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert read_quota(tmp_path / "absent", tmp_path / "absent") is None

"""A cluster changes nothing: same bytes as one process, also after a worker was killed in the middle."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dataset_builder.cluster import _WORKER_ENVIRONMENT, run_on_cluster
from dataset_builder.corpus import CorpusRecipe, build_corpus
from dataset_builder.errors import DependencyError, InputError, ResourceError
from dataset_builder.manifest import read_manifest
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort

distributed = pytest.importorskip("distributed")

RECIPE = CorpusRecipe.model_validate(
    {
        "name": "clustered",
        "version": 1,
        "codec": {"name": "band_power"},
        "split": {"protocol": "ranges", "train": [0, 4], "validation": [5, 5], "test": [6, 7]},
    }
)


class DiesOnce:
    """Work that kills its process the first time it meets an item, as a lack of memory would."""

    def __init__(self, folder: Path, victim: str, always: bool = False) -> None:
        self.folder, self.victim, self.always = folder, victim, always

    def __call__(self, item: str) -> str:
        mark = self.folder / f"{item}.died"
        if item == self.victim and (self.always or not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item.upper()


@pytest.fixture(scope="module")
def scheduler():
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    options = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with distributed.LocalCluster(silence_logs="CRITICAL", **options) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster") / "cohort"
    write_cohort(SynthRecipe(subjects=8, signals=0), folder)
    return folder


def read_bytes(folder: Path) -> dict[str, bytes]:
    names = [item.name for item in read_manifest(folder).outputs]
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_same_bytes_though_a_worker_is_killed_in_the_middle(tmp_path, cohort, scheduler):
    build_corpus(RECIPE, cohort, tmp_path / "alone")
    killed = threading.Event()
    killer = threading.Thread(target=kill_one, args=(scheduler, tmp_path / "shared.partial" / "features", killed))
    killer.start()
    build_corpus(RECIPE, cohort, tmp_path / "shared", cluster=scheduler.scheduler_address)
    killer.join(timeout=60)
    assert killed.is_set()
    alone, shared = read_bytes(tmp_path / "alone"), read_bytes(tmp_path / "shared")
    assert alone.keys() == shared.keys()
    assert [name for name in alone if alone[name] != shared[name]] == []
    assert read_manifest(tmp_path / "alone").key == read_manifest(tmp_path / "shared").key


def kill_one(cluster, folder: Path, killed: threading.Event) -> None:
    """Kill a worker as soon as the first subject is there, with others under way."""
    while not any(folder.glob("*.safetensors")):
        time.sleep(0.01)
    os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
    killed.set()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_work_of_a_killed_worker_is_done_by_another(tmp_path, scheduler):
    items = [f"item{number}" for number in range(12)]
    found = dict(run_on_cluster(scheduler.scheduler_address, DiesOnce(tmp_path, "item5"), items))
    assert found == {item: item.upper() for item in items}
    assert (tmp_path / "item5.died").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_item_that_kills_every_worker_is_named(tmp_path, scheduler):
    with pytest.raises(ResourceError, match="bad killed several workers.* run again with more memory"):
        list(run_on_cluster(scheduler.scheduler_address, DiesOnce(tmp_path, "bad", always=True), ["good", "bad"]))


@pytest.mark.slow
def test_workers_keep_freed_memory_and_this_process_its_environment():
    """Without it a worker spends as much time again on pages of memory as on the recording."""
    script = (
        "import os; from dataset_builder.cluster import _WORKER_ENVIRONMENT, open_client; before = dict(os.environ)\n"
        "with open_client('local') as client:\n"
        "    for name, value in _WORKER_ENVIRONMENT.items():\n"
        "        found = set(client.run(os.getenv, name).values()); assert found == {str(value)}, (name, found)\n"
        "print({n: os.environ.get(n) for n in _WORKER_ENVIRONMENT} == {n: before.get(n) for n in _WORKER_ENVIRONMENT})"
    )
    # What a user has set is kept, and another cluster in this process sets it whenever it starts a worker again.
    environment = {name: value for name, value in os.environ.items() if name not in _WORKER_ENVIRONMENT}
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout.strip()) == (0, "True"), found.stderr


def test_a_scheduler_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr("dataset_builder.cluster._PATIENCE_S", 1)
    with pytest.raises(InputError, match=r"^cluster tcp://127.0.0.1:1: no scheduler with a worker answers") as caught:
        list(run_on_cluster("tcp://127.0.0.1:1", str.upper, ["a"]))
    assert "\n" not in str(caught.value)


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DependencyError, match=r"eeg-emotion-copilot\[cluster\]"):
        list(run_on_cluster("local", str.upper, ["a"]))

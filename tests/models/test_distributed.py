"""Two processes train as one does: same loss, same weights, and each takes up the other's checkpoints."""

import os
import subprocess
import sys
from pathlib import Path

import factories
import pytest
import torch
import yaml
from distributed_worker import ADAPTER, LESSONS, compare_weights, make_recover

from dataset_builder.errors import InputError
from dataset_builder.manifest import read_manifest
from model_recipes.adapter import train_adapter
from model_recipes.recover import recover_model
from model_recipes.training.distributed import Processes, divide_batch, join_processes

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "model_recipes" / "accelerate").glob("*.yaml"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train with one process, then with two, in one folder; each begins something that the other ends."""
    root = tmp_path_factory.mktemp("distributed")
    factories.make_corpus(root / "corpus")
    factories.make_tiny_model(root / "base")
    text = factories.make_text()
    (root / "text.txt").write_text(text.fit + text.measure, encoding="utf-8")
    train_adapter(ADAPTER, root / "base", root / "corpus", root / "adapter-one", "cpu")
    train_adapter(LESSONS, root / "base", root / "corpus", root / "lessons-one", "cpu")
    recipe = make_recover(root / "text.txt")
    recover_model(recipe, root / "base", root / "base", root / "recovered-one", device="cpu")
    begin_recovery(recipe, root)
    launch(root)
    train_adapter(ADAPTER, root / "base", root / "corpus", root / "adapter-moved", "cpu")
    return root


def begin_recovery(recipe, root):
    """Stop a recovery of one process after its checkpoint of two steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model_recipes.recover.save_checked", stop)
        with pytest.raises(KeyboardInterrupt):
            recover_model(recipe, root / "base", root / "base", root / "recovered-moved", device="cpu")
    assert (root / "recovered-moved.partial" / "checkpoints" / "last.pt").is_file()


def stop(*_):
    raise KeyboardInterrupt


def launch(root):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    worker = str(Path(__file__).with_name("distributed_worker.py"))
    done = subprocess.run(
        [*command, worker, str(root)], env=environment, capture_output=True, text=True, check=False, cwd=root
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", ["adapter", "lessons", "recovered"])
def test_two_processes_train_as_one_does(trained, stage):
    one, two = (read_manifest(trained / f"{stage}-{name}") for name in ("one", "two"))
    assert [step for step, _ in one.facts["loss"]] == [step for step, _ in two.facts["loss"]]
    assert [loss for _, loss in two.facts["loss"]] == pytest.approx([loss for _, loss in one.facts["loss"]], abs=2e-3)
    for name in ("validation_loss", "label_loss"):
        if name in one.facts:
            assert two.facts[name]["after"] == pytest.approx(one.facts[name]["after"], abs=2e-2)
    assert one.key == two.key  # how many train is the machine's business, not the recipe's
    compare_weights(trained / f"{stage}-one", trained / f"{stage}-two")


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "title"), [("adapter", "two to one"), ("recovered", "one to two")])
def test_a_checkpoint_moves_between_topologies(trained, stage, title):
    whole, moved = (read_manifest(trained / f"{stage}-{name}") for name in ("one", "moved"))
    assert moved.facts["loss"][-1] == pytest.approx(whole.facts["loss"][-1], abs=2e-3), title
    compare_weights(trained / f"{stage}-one", trained / f"{stage}-moved")


def test_a_batch_must_be_shared_equally():
    assert divide_batch(8, Processes(0, 4), "batch_size") == 2
    with pytest.raises(InputError, match="batch_size: 6 rows cannot be shared by 4 processes equally"):
        divide_batch(6, Processes(0, 4), "batch_size")


def test_parts_of_a_batch_are_all_of_it():
    batch = torch.arange(12).view(6, 2)
    parts = [Processes(rank, 3).take_part(batch) for rank in range(3)]
    assert [len(part) for part in parts] == [2, 2, 2]
    assert sorted(torch.cat(parts).flatten().tolist()) == list(range(12))


def test_without_a_launcher_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = join_processes()
    values = [torch.ones(2)]
    alone.average(values)
    assert (alone.is_main, alone.share("x"), values[0].tolist()) == (True, "x", [1.0, 1.0])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_takes_every_configuration(path):
    from accelerate.commands.config.config_args import load_config_from_file

    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    config = load_config_from_file(str(path))
    assert config.num_processes == values["num_processes"]
    assert path.read_text(encoding="utf-8").startswith("#")


def test_there_is_a_configuration_for_each_machine():
    assert {path.stem for path in CONFIGS} == {"cpu", "gpu", "8gpu", "fsdp-8gpu", "multi-node"}

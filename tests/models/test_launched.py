"""The lines of docs/machines.md that start several processes, as they stand there, on made-up data without a GPU."""

import importlib
import os
import re
import shlex
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import factories
import pytest
import yaml
from distributed_worker import ADAPTER, compare_weights, make_recover

from dataset_builder.errors import InputError
from dataset_builder.manifest import read_manifest
from dataset_builder.recipe import load_recipe
from model_recipes.adapter import AdapterRecipe, train_adapter
from model_recipes.recover import RecoverRecipe, recover_model
from model_recipes.training.distributed import Processes, check_sharing, divide_batch, join_processes, refuse_company

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "machines.md"
CONFIGS = ROOT / "model_recipes" / "accelerate"
SHARDED = Path(__file__).with_name("sharded_worker.py")


def list_lines(*parts: str) -> list[str]:
    """Return the documented lines that start processes and have all these parts."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith(("accelerate ", "torchrun ")) and all(p in line for p in parts)]


def list_launches() -> list[str]:
    """Return every line that starts processes: of the page, of the configurations' comments, of the job files."""
    paths = [PAGE, *CONFIGS.glob("*.yaml"), *(ROOT / "hub_scripts" / "jobs").glob("*.yaml")]
    lines = [line.replace("/project/", "") for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted({found[0] for line in lines if (found := re.search(r"\b(accelerate launch|torchrun) -.*", line))})


def count_processes(words: list[str]) -> int:
    """Return how many processes the words before ``-m`` start."""
    given = dict(pairwise(words))
    if count := given.get("--num_processes") or given.get("--nproc-per-node"):
        return int(count)
    return int(yaml.safe_load((ROOT / given["--config_file"]).read_text(encoding="utf-8"))["num_processes"])


@pytest.mark.parametrize("line", list_launches())
def test_every_launched_recipe_can_be_shared(line):
    words = shlex.split(line)
    at = words.index("-m")
    command = importlib.import_module(words[at + 1])
    args = command.make_parser().parse_args(words[at + 2 :])
    kind = {"adapter": AdapterRecipe, "recover": RecoverRecipe}[command.__name__.rpartition("run_")[2]]
    recipe = load_recipe(ROOT / args.recipe, kind, overrides=args.set)
    size = recipe.batch_size if kind is AdapterRecipe else recipe.train.batch_size
    assert divide_batch(size, Processes(count=count_processes(words[:at])), "line") >= 1


def test_the_lines_are_found():
    counts = [count_processes(shlex.split(line.split(" -m ")[0])) for line in list_launches()]
    assert set(counts) == {1, 2, 8, 16}


def start(line: str, root: Path, *options: str) -> subprocess.Popen[str]:
    """Start a documented line in a folder that has what it names; later options are added or win."""
    words = [str(ROOT / word) if word.startswith("model_recipes/") else word for word in shlex.split(line)]
    words[0] = str(Path(sys.executable).with_name(words[0]))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    pipe = subprocess.PIPE
    return subprocess.Popen([*words, *options], cwd=root, env=environment, stdout=pipe, stderr=pipe, text=True)


def finish(*processes: subprocess.Popen[str]) -> list[str]:
    """Wait for all; return what they told."""
    told = []
    try:
        for process in processes:
            out, errors = process.communicate(timeout=400)
            assert process.returncode == 0, errors[-3000:]
            told.append(out)
    finally:
        for process in processes:
            process.kill()
    return told


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make what the lines name, and train with one process."""
    root = tmp_path_factory.mktemp("launched")
    factories.make_corpus(root / "eeg-emotion-copilot")
    for name in ("base", "pruned", "recovered"):
        factories.make_tiny_model(root / name)
    (root / "adapter.yaml").write_text(yaml.safe_dump(ADAPTER.model_dump()), encoding="utf-8")
    train_adapter(ADAPTER, root / "recovered", root / "eeg-emotion-copilot", root / "adapter-one", "cpu")
    return root


def compare(one: Path, other: Path) -> None:
    """Same key, same losses, same weights."""
    expected, found = read_manifest(one), read_manifest(other)
    assert found.key == expected.key
    losses = [loss for _, loss in expected.facts["loss"]]
    assert [loss for _, loss in found.facts["loss"]] == pytest.approx(losses, abs=2e-3)
    compare_weights(one, other)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_launched_process_trains_as_the_plain_command(folder):
    (line,) = [line for line in list_launches() if "cpu.yaml" in line]
    (told,) = finish(start(line, folder, "--recipe", "adapter.yaml", "--out", "adapter-cpu"))
    assert told.count("wrote adapter-cpu") == 1
    compare(folder / "adapter-one", folder / "adapter-cpu")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_line_for_eight_gpus_trains_without_one(folder):
    (line,) = list_lines("8gpu.yaml", "--num_processes 2", "run_adapter", "--device cpu")
    (told,) = finish(start(line, folder, "--recipe", "adapter.yaml", "--out", "adapter-launched"))
    assert told.count("wrote adapter-launched") == 1  # only the first process speaks
    compare(folder / "adapter-one", folder / "adapter-launched")


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_line_of_torchrun_trains(folder):
    (line,) = list_lines("torchrun --standalone", "--device cpu")
    (told,) = finish(start(line, folder, "--recipe", "adapter.yaml", "--out", "adapter-torchrun"))
    assert told.count("wrote adapter-torchrun") == 1
    compare(folder / "adapter-one", folder / "adapter-torchrun")


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_line_of_recover_trains(folder):
    text = factories.make_text()
    (folder / "text.txt").write_text(text.fit + text.measure, encoding="utf-8")
    recipe = make_recover(folder / "text.txt")
    (folder / "recover.yaml").write_text(yaml.safe_dump(recipe.model_dump()), encoding="utf-8")
    corpus = folder / "eeg-emotion-copilot"
    out = folder / "recovered-one"
    recover_model(recipe, folder / "pruned", folder / "base", out, corpus_dir=corpus, device="cpu")
    (line,) = list_lines("8gpu.yaml", "--num_processes 2", "run_recover", "--device cpu")
    (told,) = finish(start(line, folder, "--recipe", "recover.yaml", "--out", "recovered-launched"))
    assert told.count("wrote recovered-launched") == 1
    compare(folder / "recovered-one", folder / "recovered-launched")


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_two_machines_meet(folder):
    """The lines for two machines of eight GPUs, here as two machines of one process each on loopback."""
    lines = list_lines("multi-node.yaml")
    assert [line.split("--machine_rank ")[1][0] for line in lines] == ["0", "1"]
    port = str(find_port())
    processes = []
    for line in lines:
        line = line.replace("10.0.0.1", "127.0.0.1").replace(
            " -m ", f" --num_processes 2 --main_process_port {port} -m "
        )
        options = ["--recipe", "adapter.yaml", "--out", "adapter-machines", "--device", "cpu"]
        processes.append(start(line, folder, *options))
    told = finish(*processes)
    assert ["wrote adapter-machines" in out for out in told] == [True, False]
    compare(folder / "adapter-one", folder / "adapter-machines")


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_shared_weights_train_as_whole_ones(folder):
    """FSDP2 of the documented file, on two processes without a GPU; see the worker for what that takes."""
    config = ROOT / "model_recipes" / "accelerate" / "fsdp-8gpu.yaml"
    (told,) = finish(start(f"accelerate launch --config_file {config} --num_processes 2 {SHARDED}", folder))
    assert told.count("FSDPModule of DTensor") == 2
    compare(folder / "adapter-one", folder / "adapter-sharded")


def test_fsdp_without_gpus_is_refused(monkeypatch):
    """accelerate would train with DDP instead, each process with the whole model, and say nothing."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match=r"^launch: FSDP shares a model among GPUs"):
        join_processes("cpu")


def test_a_checkpoint_of_fsdp_needs_fsdp(tmp_path, monkeypatch):
    (tmp_path / "optimizer.bin").touch()
    check_sharing(None)
    check_sharing(tmp_path)
    (tmp_path / "pytorch_model_fsdp.bin").touch()
    with pytest.raises(InputError, match=r"^adapter: its training began with FSDP; accepted: go on with it"):
        check_sharing(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    check_sharing(tmp_path)


def test_a_reader_is_trained_alone(monkeypatch):
    refuse_company("reader")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"^reader: started as one of 2 processes; accepted: one, without accelerate"):
        refuse_company("reader")


@pytest.mark.nightly
def test_a_launched_reader_says_so(folder):
    line = "torchrun --standalone --nproc-per-node 2 -m model_recipes.run_reader --base base --corpus none"
    process = start(line, folder)
    _, errors = process.communicate(timeout=200)
    assert process.returncode != 0
    assert "error: reader: started as one of 2 processes" in errors
    assert not (folder / "reader").exists()

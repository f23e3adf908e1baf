"""Job files: the hf command takes them, and every line in them is one that our commands and accelerate take."""

import importlib
import tomllib
from pathlib import Path

import pytest
import yaml
from huggingface_hub.cli._cli_utils import parse_volumes

from copilot.cli import COMMANDS
from dataset_builder.errors import InputError, RecipeError
from hub_scripts.job_files import JobFile, copy_project, list_job_words, make_job_command
from hub_scripts.run_job import main

ROOT = Path(__file__).parents[2]
JOBS = sorted((ROOT / "hub_scripts" / "jobs").glob("*.yaml"))


def find_run():
    """Return the parser of ``hf jobs run``, whichever way this version of the client makes it."""
    command = importlib.import_module("huggingface_hub.cli.hf").app
    if not hasattr(command, "make_context"):
        command = importlib.import_module("typer.main").get_command(command)
    for name in ("jobs", "run"):
        command = command.get_command(None, name)
    return command


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_hf_takes_the_command(path):
    command = make_job_command(path, "someone/eeg-runs", str(ROOT))
    parser = find_run()
    with parser.make_context("run", command[3:]) as context:  # parses; what it would start is not called
        told = context.params
    assert told["image"] == "python:3.11"
    assert list(told["command"][:2]) == ["bash", "-ec"]
    assert str(getattr(told["flavor"], "value", told["flavor"])) == yaml.safe_load(path.read_text())["flavor"]


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_every_line_of_a_job_parses(path):
    for words in list_job_words(path):
        if words[0] == "cp":
            assert words[-2:] == [
                "/project",
                "checkout",
            ]  # pip builds where the source lies, and the mount is read-only
            continue
        if words[0] == "pip":
            assert words[-1].startswith("./checkout[")
            extra = words[-1].partition("[")[2].rstrip("]")
            assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
            continue
        if words[0] == "eeg-copilot":
            module, arguments = COMMANDS[words[1]][0], words[2:]
        else:
            launch = importlib.import_module("accelerate.commands.launch").launch_command_parser()
            found = launch.parse_args(words[2:])
            module, arguments = found.training_script, found.training_script_args
            assert found.module
            assert (ROOT / Path(found.config_file).relative_to("/project")).is_file()
        told = importlib.import_module(module).make_parser().parse_args(arguments)
        recipe = getattr(told, "recipe", "")
        assert not str(recipe).startswith("/project") or (ROOT / Path(recipe).relative_to("/project")).is_file()


@pytest.fixture
def checkout(tmp_path):
    """A checkout with things in it that nobody wants on a rented machine."""
    folder = copy_project(ROOT, tmp_path / "checkout")
    (folder / "FACED").mkdir()
    (folder / "FACED" / "sub000.pkl").write_bytes(b"a recording")
    (folder / "copilot" / "patient.edf").write_bytes(b"a recording")
    return folder


def test_a_job_is_shown_and_not_started(checkout, capsys):
    assert main([str(JOBS[0]), "--bucket", "someone/eeg-runs", "--project", str(checkout)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("hf jobs run --flavor ")
    assert "hf://buckets/someone/eeg-runs:/runs:rw" in told
    assert f"{checkout}/build/job:/project:ro" in told


def test_a_job_is_not_started_without_hf(checkout, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([str(JOBS[0]), "--bucket", "someone/eeg-runs", "--project", str(checkout), "--yes"]) == 2
    assert capsys.readouterr().err.startswith("error: --yes: no program hf on PATH")


def test_a_job_gets_the_code_and_no_recording(checkout):
    """hf uploads the whole folder that it mounts."""
    assert main([str(JOBS[0]), "--bucket", "someone/eeg-runs", "--project", str(checkout)]) == 0
    sent = {path.relative_to(checkout / "build" / "job") for path in (checkout / "build" / "job").rglob("*")}
    assert Path("model_recipes/accelerate/gpu.yaml") in sent
    assert {path.parts[0] for path in sent}.isdisjoint({"FACED", "build", ".git"})
    assert {path.suffix for path in sent}.isdisjoint({".pkl", ".edf", ".pyc"})
    main([str(JOBS[0]), "--bucket", "someone/eeg-runs", "--project", str(checkout)])  # again, over the earlier copy
    found = {path.relative_to(checkout / "build" / "job") for path in (checkout / "build" / "job").rglob("*")}
    assert found == sent


def test_all_that_is_installed_is_copied(tmp_path):
    """Every kind of file that pyproject.toml packs."""
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    kinds = {Path(pattern).suffix for pattern in packed["*"]} | {".py"}
    copy = copy_project(ROOT, tmp_path / "copy")
    for package in (path for path in copy.iterdir() if path.is_dir()):
        whole = {p.relative_to(ROOT) for p in (ROOT / package.name).rglob("*") if p.is_file() and p.suffix in kinds}
        assert {p.relative_to(copy) for p in package.rglob("*") if p.is_file()} == whole


def test_a_copy_replaces_nothing_else(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match=r"^project: mine holds other files"):
        copy_project(ROOT, tmp_path / "mine")
    with pytest.raises(InputError, match=r"^project: pyproject.toml is missing"):
        copy_project(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_hf_takes_the_volumes(path):
    words = make_job_command(path, "someone/eeg-runs", str(ROOT))
    given = [word for option, word in zip(words, words[1:], strict=False) if option == "--volume"]
    (bucket,) = parse_volumes([given[0]])
    assert (bucket.type, bucket.source, bucket.mount_path) == ("bucket", "someone/eeg-runs", "/runs")
    assert not bucket.read_only
    assert given[1] == f"{ROOT}:/project:ro"


def test_a_job_without_a_time_limit_is_refused(tmp_path):
    (tmp_path / "job.yaml").write_text("flavor: a10g-small\nimage: python:3.11\ntimeout: forever\ncommands: [ls]\n")
    with pytest.raises(RecipeError, match="timeout"):
        make_job_command(tmp_path / "job.yaml", "someone/eeg-runs")
    assert set(JobFile.model_fields) == {"flavor", "image", "timeout", "commands"}

"""Job files: the hf command takes them, and every line in them is one that our commands and accelerate take."""

import importlib
from pathlib import Path

import pytest
import yaml

from copilot.cli import COMMANDS
from dataset_builder.errors import RecipeError
from hub_scripts.job_files import JobFile, list_job_words, make_job_command
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
        if words[0] == "pip":
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


def test_a_job_is_shown_and_not_started(capsys):
    assert main([str(JOBS[0]), "--bucket", "someone/eeg-runs"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("hf jobs run --flavor ")
    assert "hf://buckets/someone/eeg-runs:/runs:rw" in told


def test_a_job_without_a_time_limit_is_refused(tmp_path):
    (tmp_path / "job.yaml").write_text("flavor: a10g-small\nimage: python:3.11\ntimeout: forever\ncommands: [ls]\n")
    with pytest.raises(RecipeError, match="timeout"):
        make_job_command(tmp_path / "job.yaml", "someone/eeg-runs")
    assert set(JobFile.model_fields) == {"flavor", "image", "timeout", "commands"}

"""What a record needs before its first line of work: nothing that only other commands use."""

import gc
import json
import os
import subprocess
import sys

import pytest

from copilot import cli

#: Loaded by none of the steps from a recording to a record, each a tenth of a second or more.
_UNNEEDED = (
    "openpyxl",
    "pandas",
    "torch",
    "transformers",
    "datasets",
    "mne.preprocessing",
    "dataset_builder.sources.faced",
)


def test_a_record_loads_only_what_it_needs():
    code = "import json, sys, copilot.run_record; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(json.loads(done.stdout))
    assert "dataset_builder.sources.recordings" in loaded
    assert loaded.isdisjoint(_UNNEEDED)


def test_sources_are_found_when_asked_for():
    from dataset_builder import sources

    assert "faced" in sources.SOURCES
    with pytest.raises(AttributeError, match="no attribute 'Faced'"):
        _ = sources.Faced


@pytest.mark.parametrize("arguments", [["--help"], ["prune", "--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_who_leaves_early_is_no_error(arguments, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "copilot.cli", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writing)
    assert done.stderr == ""


def test_the_search_for_garbage_goes_on_after_the_imports(capsys):
    assert cli.main(["record"]) == 2
    assert "--model" in capsys.readouterr().err
    assert gc.isenabled()

"""Job files: a training on rented machines as one ``hf jobs run`` command. Nothing is started here."""

import shlex
from pathlib import Path

from pydantic import Field

from dataset_builder.recipe import StrictModel, load_recipe

#: Where a job finds the project, and the bucket with models, corpora and results.
PROJECT, RUNS = "/project", "/runs"


class JobFile(StrictModel):
    """A job.

    Parameters
    ----------
    flavor : str
        Machine, as ``hf jobs hardware`` names it.
    image : str
        Docker image with Python.
    timeout : str
        After which the job is stopped, for example ``2h``: a bound on its cost.
    commands : list of str
        Shell lines, run one after the other; the first that fails ends the job.
    """

    flavor: str = Field(min_length=1)
    image: str = Field(min_length=1)
    timeout: str = Field(pattern=r"^\d+[smhd]$")
    commands: list[str] = Field(min_length=1)


def make_job_command(path: str | Path, bucket: str, project: str = ".") -> list[str]:
    """Return the words of the ``hf jobs run`` command of a job file.

    Parameters
    ----------
    path : str or Path
    bucket : str
        ``NAMESPACE/NAME`` of a bucket on the Hub, mounted at ``/runs``.
    project : str
        Checkout that is mounted at ``/project``, read-only.

    Raises
    ------
    RecipeError
        If the file is no job.
    """
    job = load_recipe(path, JobFile)
    volumes = [f"hf://buckets/{bucket}:{RUNS}:rw", f"{project}:{PROJECT}:ro"]
    mounted = [word for volume in volumes for word in ("--volume", volume)]
    options = ["--flavor", job.flavor, "--timeout", job.timeout, "--secrets", "HF_TOKEN", *mounted]
    # After the two hyphens nothing is an option: without them hf takes the -e of bash for its own.
    return ["hf", "jobs", "run", *options, "--", job.image, "bash", "-ec", "\n".join(job.commands)]


def list_job_words(path: str | Path) -> list[list[str]]:
    """Return the words of each shell line of a job file."""
    return [shlex.split(line) for line in load_recipe(path, JobFile).commands]

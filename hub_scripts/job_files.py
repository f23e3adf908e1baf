"""Job files: a training on rented machines as one ``hf jobs run`` command. Nothing is started here."""

import shlex
import shutil
from pathlib import Path

from pydantic import Field

from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel, load_recipe

#: Where a job finds the project, and the bucket with models, corpora and results.
PROJECT, RUNS = "/project", "/runs"

#: What of a checkout a job installs, and of its packages the kinds of files: no recording has such a name.
_FILES = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE")
_PACKAGES = ("dataset_builder", "model_recipes", "copilot", "cards", "hub_scripts")
_SUFFIXES = {".py", ".typed", ".yaml", ".jinja", ".css", ".json", ".txt"}


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
        Folder that is mounted at ``/project``, read-only; hf uploads all of it, so give it that of `copy_project`.

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


def copy_project(checkout: str | Path, out: str | Path) -> Path:
    """Copy what a job installs, and nothing else: a checkout may hold environments, models and recordings.

    Parameters
    ----------
    checkout : str or Path
    out : str or Path
        Folder; what lies there is replaced if it is such a copy.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    InputError
        If `checkout` is none, or `out` is something else.
    """
    checkout, out = Path(checkout), Path(out)
    for name in (*_FILES, *_PACKAGES):
        if not (checkout / name).exists():
            raise InputError(f"project: {name} is missing; accepted: a checkout of this project")
    if out.exists():
        if not {path.name for path in out.iterdir()} <= {*_FILES, *_PACKAGES}:
            raise InputError(f"project: {out.name} holds other files; accepted: a new folder, or an earlier copy")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    for name in _FILES:
        shutil.copyfile(checkout / name, out / name)
    for name in _PACKAGES:
        for path in sorted((checkout / name).rglob("*")):
            if path.is_file() and path.suffix in _SUFFIXES:
                target = out / path.relative_to(checkout)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    return out


def list_job_words(path: str | Path) -> list[list[str]]:
    """Return the words of each shell line of a job file."""
    return [shlex.split(line) for line in load_recipe(path, JobFile).commands]

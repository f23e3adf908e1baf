"""The space stage: a GGUF file -> folder of a Gradio Space that shows the page with a made-up recording.

::

    space/
      README.md          front matter: how the Hub runs it; the card's text is rendered when it is pushed
      app.py             a few lines that call `copilot.app.serving.serve_space`
      requirements.txt   this project, with bounds
      model/NAME.gguf    the model
      sample.edf         a made-up recording
      manifest.json
"""

import re
import shutil
from importlib import metadata
from pathlib import Path

import yaml
from pydantic import Field

from copilot.app.sample import write_sample
from dataset_builder.environment import read_own_version
from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, Manifest, describe_file, write_text
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import find_finished, open_stage
from model_recipes.exporting.gguf_file import read_copilot_gguf

_APP = '''"""EEG Emotion Copilot as a Gradio Space. Research use only, not a medical device.

On the Hub only the made-up sample can be opened: what is entered there leaves its owner's computer. Started on your own
computer, ``python app.py`` serves the whole page to you alone.
"""

import os
import sys
from pathlib import Path

from copilot.app.serving import serve_space

if __name__ == "__main__":
    serve_space(Path(__file__).resolve().parent, sys.stdout, space_id=os.environ.get("SPACE_ID"))
'''

_TEXT = """
# {title}

The interface of EEG Emotion Copilot with a small model and a made-up recording. For research use only. Not a medical
device. What is entered into a Space leaves your computer: only the made-up sample can be opened here.
"""


class SpaceRecipe(StrictModel):
    """What a Space is called and what it needs.

    Parameters
    ----------
    title : str
    licence : str
        The Hub's identifier of the code's licence.
    requirement : str or None
        How pip finds this project, for example a Git address; default: the released version with the interface.
    python_version : str
    """

    title: str = Field(default="EEG Emotion Copilot", min_length=1, max_length=80)
    licence: str = Field(default="apache-2.0", pattern=r"^[a-z0-9.-]+$")
    requirement: str | None = Field(default=None, pattern=r"^eeg-emotion-copilot\[app\][^\n]*$")
    python_version: str = Field(default="3.11", pattern=r"^3\.1[1-3]$")


def build_space(recipe: SpaceRecipe, model_path: str | Path, out: str | Path) -> Manifest:
    """Write the folder of a Space.

    Parameters
    ----------
    recipe : SpaceRecipe
    model_path : str or Path
        GGUF file of this project; a small one answers in seconds on the Hub's free hardware.
    out : str or Path
        Folder to write.

    Returns
    -------
    Manifest

    Raises
    ------
    InputError
        If the model cannot be used, or `out` holds something else.
    """
    model_path = Path(model_path)
    model = read_copilot_gguf(model_path)
    inputs = [describe_file(model_path, model_path.parent)]
    parents = [model_path.parent] if (model_path.parent / MANIFEST).is_file() else []
    finished = find_finished("space", out, recipe, parents=parents, inputs=inputs)
    if finished is not None:
        return finished
    with open_stage("space", out, recipe, parents=parents, inputs=inputs) as stage:
        stage.synthetic = stage.synthetic or model.synthetic
        stage.notes.append("sample.edf is made up: nobody was recorded")
        stage.facts = {"model": {"name": model.name, "file_type": model.file_type, "sha256": inputs[0].sha256}}
        (stage.folder / "model").mkdir(exist_ok=True)
        shutil.copyfile(model_path, stage.folder / "model" / _check_name(model_path.name))
        write_sample(stage.folder / "sample.edf")
        write_text(stage.folder / "app.py", _APP)
        write_text(stage.folder / "requirements.txt", f"{recipe.requirement or name_requirement()}\n")
        write_text(stage.folder / "README.md", render_readme(recipe))
    assert stage.manifest is not None
    return stage.manifest


def name_requirement() -> str:
    """Return how pip finds this version of the project, and those that keep its promises."""
    major, minor = read_own_version().split(".")[:2]
    below = f"{major}.{int(minor) + 1}" if major == "0" else str(int(major) + 1)
    return f"eeg-emotion-copilot[app]>={read_own_version()},<{below}"


def render_readme(recipe: SpaceRecipe) -> str:
    """Return a README.md whose front matter tells the Hub how to run the Space."""
    header = {
        "title": recipe.title,
        "emoji": "🧠",
        "colorFrom": "blue",
        "colorTo": "gray",
        "sdk": "gradio",
        "sdk_version": metadata.version("gradio"),
        "python_version": recipe.python_version,
        "app_file": "app.py",
        "license": recipe.licence,
        "short_description": "From an EEG sample to a signed, assisted record",
        "tags": ["eeg", "gguf", "research-only"],
        "models": [],
        "pinned": False,
    }
    front = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n{_TEXT.format(title=recipe.title)}"


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*\.gguf", name):
        raise InputError("--gguf: the file's name goes to the Hub; accepted: letters, digits, dots, dashes, then .gguf")
    return name

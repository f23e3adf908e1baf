"""Every YAML recipe in the tree loads, starts with its story, and is a recipe that a command accepts."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

from copilot.cli import COMMANDS
from dataset_builder.errors import RecipeError
from dataset_builder.recipe import StrictModel, load_recipe

ROOT = Path(__file__).parents[1]
RECIPES = sorted(path for path in ROOT.glob("*/recipes/**/*.yaml") if ".venv" not in path.parts)
IDS = [path.relative_to(ROOT).as_posix() for path in RECIPES]


def read_header(path: Path) -> str:
    """Return the comment lines at the top of a recipe, without their marks."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = lines[: next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))]
    return "\n".join(line.lstrip("# ") for line in head)


def list_commands(path: Path) -> list[list[str]]:
    """Return the ``eeg-copilot`` commands in a recipe's header, as argument lists."""
    commands = [command.strip() for line in read_header(path).splitlines() for command in line.split("&&")]
    return [shlex.split(command)[1:] for command in commands if command.startswith("eeg-copilot ")]


def find_models(command: str) -> list[type[StrictModel]]:
    """Return the recipe classes that the script of `command` knows by name."""
    module = importlib.import_module(COMMANDS[command][0])
    classes = [value for name, value in vars(module).items() if name.endswith("Recipe")]
    return [value for value in classes if isinstance(value, type) and issubclass(value, StrictModel)]


def test_recipes_are_found():
    assert any(name.startswith("dataset_builder/") for name in IDS)
    assert any(name.startswith("model_recipes/") for name in IDS)


@pytest.mark.parametrize("path", RECIPES, ids=IDS)
def test_header_tells_hardware_and_command(path):
    assert re.search(r"CPU|GPU|cores", read_header(path)), "say on what hardware it runs"
    assert list_commands(path), "give the command"


@pytest.mark.parametrize("path", RECIPES, ids=IDS)
def test_recipe_loads(path):
    commands = {command[0] for command in list_commands(path)}
    models = [model for command in sorted(commands) for model in find_models(command)]
    assert models, f"no script among {sorted(commands)} has a recipe class"
    loaded = [load_recipe(path, model) for model in models if _accepts(path, model)]
    assert len(loaded) == 1
    assert yaml.safe_load(path.read_text(encoding="utf-8")).keys() <= loaded[0].model_dump().keys()


def _accepts(path: Path, model: type[StrictModel]) -> bool:
    """With one candidate the error itself is the better message; with several, keys choose."""
    return set(yaml.safe_load(path.read_text(encoding="utf-8"))) <= set(model.model_fields)


def test_every_command_with_a_recipe_takes_the_names_of_shipped_ones():
    found = []
    for command, (name, _) in COMMANDS.items():
        module = importlib.import_module(name)
        actions = module.make_parser()._actions
        if not any("--recipe" in action.option_strings for action in actions):
            continue
        found.append(command)
        needed = {action.option_strings[0] for action in actions if action.required} | {"--recipe"}
        needed |= {"--corpus"} if command == "evaluate" else set()
        arguments = [word for option in sorted(needed) for word in (option, "lost/x.yaml")]
        with pytest.raises(
            RecipeError, match=r"^--recipe lost/x\.yaml: no such file; .* shipped recipe such as \S+\.yaml$"
        ):
            module.main(arguments)
    assert {"corpus", "inspect", "prune", "evaluate"} <= set(found)


@pytest.mark.parametrize("path", RECIPES, ids=IDS)
def test_command_in_header_parses(path):
    commands = list_commands(path)
    assert commands, f"{path.name}: its header holds no command"
    for command in commands:
        module = importlib.import_module(COMMANDS[command[0]][0])
        args = module.make_parser().parse_args(command[1:])
        recipe = getattr(args, "recipe", None)
        if recipe is not None and f"{path.parent.name}/" in str(recipe):
            assert (ROOT / recipe).exists()

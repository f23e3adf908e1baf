"""The shape of the code: imports go one way, libraries stay silent, nothing of a machine is in a file."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: From the ground up: a package may import itself and those to its left.
LAYERS = ("dataset_builder", "model_recipes", "copilot", "cards", "hub_scripts")
MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
#: What a folder must not import, even inside a function.
FORBIDDEN = {
    "dataset_builder": {"torch", "transformers", "peft", "trl", "torch_pruning", "huggingface_hub", "requests"},
    "model_recipes": {"requests"},
    "copilot": {"torch", "transformers", "peft", "trl", "huggingface_hub", "requests"},
    "cards": {"torch", "transformers", "huggingface_hub", "requests", "httpx", "httpx2", "urllib", "http", "socket"},
    "hub_scripts": {"torch", "transformers", "requests", "httpx", "httpx2"},
}
NAMES = [path.relative_to(ROOT).as_posix() for path in MODULES]


def list_imports(path: Path) -> Iterator[str]:
    """Yield every absolute module name that a file imports, also inside functions and by a constant name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: write absolute imports"
            yield node.module or ""
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            yield from (str(argument.value) for argument in node.args if isinstance(argument, ast.Constant))


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_every_layer_has_code():
    for layer in LAYERS:
        assert any(name.startswith(f"{layer}/") for name in NAMES), layer


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_imports_point_one_way(path):
    layer = path.relative_to(ROOT).parts[0]
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    imported = {name.split(".")[0] for name in list_imports(path)}
    assert not imported & above
    assert not imported & FORBIDDEN[layer]
    assert not imported & {"tests", "conftest", "factories", "benchmarks"}


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_libraries_do_not_print_or_exit(path):
    if path.name.startswith("run_") or path.name == "cli.py":
        pytest.skip("a script")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = {_called(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & {"print", "exit", "quit", "basicConfig", "breakpoint"}


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_modules_say_what_they_hold(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or not tree.body
    assert path.stem not in {"utils", "helpers", "misc", "common"}


@pytest.mark.parametrize("path", [p for p in MODULES if p.name.startswith("run_")], ids=lambda path: path.name)
def test_scripts_have_a_parser_and_a_main(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {"make_parser", "main"} <= functions


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("copilot.cli", {"numpy", "pydantic", "torch", "mne"}),
        ("copilot.run_record", {"torch", "transformers", "peft", "trl", "datasets"}),
        ("cards.run_card", {"torch", "huggingface_hub", "datasets"}),
    ],
)
def test_a_command_loads_only_what_it_needs(module, unwanted):
    """The help is instant, and a laptop that only drafts records needs no torch."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert not unwanted & set(done.stdout.split())


def test_no_file_names_a_machine():
    """No home directory, no workspace, no token. Patterns are put together here so that this file holds none."""
    patterns = [r"/wo" + r"rk/", r"/ho" + r"me/\w", r"/ro" + r"ot\b", r"/Us" + r"ers/\w", r"\bhf_" + r"[A-Za-z]{30,}"]
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in list_text_files()
        for match in re.finditer("|".join(patterns), path.read_text(encoding="utf-8"))
    ]
    assert not found


def list_text_files() -> list[Path]:
    """Return the files of the project that hold text: tracked ones, and new ones that are not ignored."""
    git = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(git, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    kinds = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".json", ".jinja", ".css", ".cff", ".html", ""}
    paths = [ROOT / line for line in listing.stdout.splitlines()]
    return [path for path in paths if path.suffix in kinds and path.is_file()]

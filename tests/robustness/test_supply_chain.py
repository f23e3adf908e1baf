"""What comes from others: bounded versions, no format that runs code, known vulnerabilities told."""

import ast
import json
import stat
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.robustness import audit

ROOT = Path(__file__).parents[2]
PACKAGES = ("dataset_builder", "model_recipes", "copilot", "cards", "hub_scripts")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

#: Checkpoints that a run of ours wrote into its own unfinished folder.
OWN_CHECKPOINTS = {
    "model_recipes/training/loop.py",
    "model_recipes/reading/loop.py",
    "model_recipes/training/adapter_lessons.py",
}
#: The one reader of pickles, and what writes the synthetic cohort.
PICKLES = {"dataset_builder/sources/safe_pickle.py": {"Unpickler"}, "dataset_builder/sources/synthetic.py": {"dumps"}}
SAFE_LOADERS = {"_Loader", "_StrictLoader"}


def list_calls(*names: str) -> Iterator[tuple[str, str, ast.Call]]:
    """Yield file, dotted name and node of every call whose dotted name is, or ends in, one of `names`."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in names or called.endswith(tuple(f".{name}" for name in names if "." not in name)):
                    yield path.relative_to(ROOT).as_posix(), called, node


def read_options(node: ast.Call) -> dict[str, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg}


def test_torch_loads_only_what_this_run_wrote_and_no_code_in_it() -> None:
    found = [(file, read_options(node)) for file, called, node in list_calls("torch.load")]
    assert {file for file, _ in found} <= OWN_CHECKPOINTS
    assert found
    assert all(options.get("weights_only") == "True" for _, options in found)


def test_foreign_models_are_read_from_safetensors() -> None:
    calls = [call for call in list_calls("from_pretrained") if "Model" in call[1]]
    found = [(file, called, read_options(node)) for file, called, node in calls]
    assert len(found) >= 4
    for file, called, options in found:
        if called.startswith("PeftModel"):
            assert file == "model_recipes/checkpoint.py"  # which looks for safetensors first
        else:
            safe = options.get("use_safetensors") == "True" or "gguf_file" in options
            assert safe, f"{file}: {called} may read a pickle"


def test_no_code_of_a_model_folder_is_run() -> None:
    options = [(file, read_options(node)) for file, _, node in list_calls("from_pretrained")]
    assert options
    assert [file for file, told in options if told.get("trust_remote_code", "False") != "False"] == []


def test_pickles_are_read_in_one_place() -> None:
    for path in MODULES:
        file, tree = path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("pickle", "_pickle")
        }
        assert used <= PICKLES.get(file, set()), file
        imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not imported & {"marshal", "shelve", "dill", "cloudpickle", "joblib"}, file


def test_nothing_is_evaluated_or_given_to_a_shell() -> None:
    calls = list(list_calls("eval", "exec", "compile", "os.system", "os.popen"))
    assert [(file, called) for file, called, _ in calls if called in ("eval", "exec", "compile", "os.system")] == []
    shells = [file for file, _, node in list_calls("run", "Popen", "call") if "shell" in read_options(node)]
    assert shells == []


def test_yaml_and_arrays_are_read_safely() -> None:
    loaders = {read_options(node).get("Loader", "none") for _, _, node in list_calls("yaml.load")}
    assert loaders <= SAFE_LOADERS
    assert list(list_calls("yaml.unsafe_load", "yaml.full_load")) == []
    arrays = [read_options(node).get("allow_pickle") for _, _, node in list_calls("np.load", "numpy.load")]
    assert arrays
    assert set(arrays) == {"False"}


#: Which extras each file of oldest versions covers, and tools of the tests in it.
OLDEST = {
    "constraints-oldest.txt": ("corpus train gguf local app live hub cluster docs test", ""),
    "constraints-oldest-corpus.txt": ("corpus hub", "pytest pytest-timeout"),
}


def read_requirements(*extras: str) -> list[Requirement]:
    """Return what is required of others, by some extras or by all, the core included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = project["optional-dependencies"]
    lists = [project["dependencies"], *(known[name] for name in extras or known)]
    found = [Requirement(text) for group in lists for text in group]
    return [requirement for requirement in found if requirement.name != "eeg-emotion-copilot"]


def read_pins(name: str) -> dict[str, Version]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [line.split("#")[0].split(";")[0].strip().split("==") for line in lines if "==" in line]
    return {canonicalize_name(package): Version(version.strip()) for package, version in pins}


def list_lower_bounds(requirements: list[Requirement]) -> dict[str, Version]:
    """Return the version from which on each package satisfies all."""
    bounds: dict[str, Version] = {}
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        lowest = next(Version(item.version) for item in requirement.specifier if item.operator == ">=")
        bounds[name] = max(bounds.get(name, lowest), lowest)
    return bounds


def test_every_dependency_has_both_bounds() -> None:
    for requirement in read_requirements():
        operators = {item.operator for item in requirement.specifier}
        assert {">=", "<"} <= operators, str(requirement)
        assert requirement.url is None, str(requirement)


def test_the_newest_tested_versions_lie_within_the_bounds() -> None:
    newest = read_pins("constraints.txt")
    for requirement in read_requirements():
        tested = newest[canonicalize_name(requirement.name)]  # none is missing
        assert requirement.specifier.contains(tested), f"{requirement} but {tested} is tested"


@pytest.mark.parametrize("name", OLDEST)
def test_the_oldest_tested_versions_are_the_lower_bounds(name: str) -> None:
    extras, tools = OLDEST[name]
    bounds = list_lower_bounds(read_requirements(*extras.split()))
    everything = list_lower_bounds(read_requirements())
    expected = bounds | {tool: everything[tool] for tool in tools.split()}
    pins = read_pins(name)
    assert {package: pins.get(package) for package in expected} == expected


def test_every_extra_is_tested_with_its_oldest_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(OLDEST["constraints-oldest.txt"][0].split()) == set(project["optional-dependencies"]) - {"all"}


FLAW = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["2.0"]}


def package(**facts: Any) -> dict[str, Any]:
    return {"name": "numpy", "version": "1.0", "vulns": []} | facts


@pytest.mark.parametrize(
    ("report", "code", "told"),
    [
        (None, 0, "not audited"),
        ({"dependencies": [{"name": "numpy", "skip_reason": "not found"}]}, 0, "not audited"),
        ({"dependencies": [package()]}, 0, "1 of 1 pinned packages audited, 0 vulnerabilities"),
        ({"dependencies": [package(vulns=[FLAW])]}, 1, "numpy 1.0: PYSEC-2026-1, fixed in 2.0"),
    ],
)
def test_the_audit_fails_only_over_what_it_knows(report: Any, code: int, told: str) -> None:
    found, lines = audit.judge(report)
    assert found == code
    assert told in "\n".join(lines)


def test_what_was_judged_harmless_is_not_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(audit.ACCEPTED, "CVE-2026-1", "not called here")
    assert audit.judge({"dependencies": [package(vulns=[FLAW])]})[0] == 0


@pytest.mark.parametrize(
    ("answer", "code"), [("broken", 0), (json.dumps({"dependencies": [package(vulns=[FLAW])]}), 1)]
)
def test_the_audit_runs_the_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: str, code: int) -> None:
    tool = tmp_path / "pip-audit"
    tool.write_text(f"#!{sys.executable}\nprint({answer!r})\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    assert audit.main(["--tool", str(tool)]) == code
    assert capsys.readouterr().out.startswith("audit: ")
    assert audit.main(["--tool", str(tmp_path / "none")]) == 0

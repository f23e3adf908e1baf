"""Known vulnerabilities of the pinned versions, as ``pip-audit`` tells them; where no registry answers, that is told.

::

    python -m tests.robustness.audit --tool .venv-audit/bin/pip-audit

It ends with 1 only if a vulnerability was found that is not in `ACCEPTED`.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"

#: Identifier of a vulnerability -> why it does not concern this project. Each is looked at again with every release.
ACCEPTED: dict[str, str] = {}

_LIMIT_S = 120


def main(argv: list[str] | None = None) -> int:
    """Run the tool and judge what it tells."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tool", required=True, help="pip-audit's executable")
    parser.add_argument("--requirements", type=Path, default=CONSTRAINTS)
    args = parser.parse_args(argv)
    code, lines = judge(run_tool(args.tool, args.requirements))
    sys.stdout.write("\n".join(lines) + "\n")
    return code


def run_tool(tool: str, requirements: Path) -> dict[str, Any] | None:
    """Return pip-audit's report, or None if there is none: no tool, no network, no answer in time."""
    options = "--no-deps --disable-pip --progress-spinner off --format json".split()
    command = [tool, "--requirement", str(requirements), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
        report = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    return report if isinstance(report, dict) else None


def judge(report: dict[str, Any] | None) -> tuple[int, list[str]]:
    """Return the exit code and what to tell."""
    packages = [] if report is None else report.get("dependencies", [])
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        return 0, ["audit: no registry told anything about the dependencies; they were not audited"]
    found = [(package, flaw) for package in audited for flaw in package.get("vulns", [])]
    open_ones = [(package, flaw) for package, flaw in found if not _is_accepted(flaw)]
    lines = [f"audit: {len(audited)} of {len(packages)} pinned packages audited, {len(found)} vulnerabilities known"]
    for package, flaw in open_ones:
        fixed = ", ".join(flaw.get("fix_versions", [])) or "no version yet"
        lines.append(f"audit: {package['name']} {package['version']}: {flaw['id']}, fixed in {fixed}")
    return int(bool(open_ones)), lines


def _is_accepted(flaw: dict[str, Any]) -> bool:
    return not {flaw["id"], *flaw.get("aliases", [])}.isdisjoint(ACCEPTED)


if __name__ == "__main__":
    sys.exit(main())

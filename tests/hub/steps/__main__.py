"""Run the steps of one area and write a JSON list of [sentence, error or null] to the standard output."""

import json
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path

from tests.hub.steps import STEPS, Desk


def main(area: str) -> None:
    import_module(f"tests.hub.steps.{area}")
    results: list[tuple[str, str | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder))
        for sentence, function in STEPS[area]:
            try:
                function(desk)
                results.append((sentence, None))
            except Exception:
                results.append((sentence, traceback.format_exc(limit=-4)))
    sys.stdout.write("\n" + json.dumps(results) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])

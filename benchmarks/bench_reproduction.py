"""What ``reproduce`` measures of a reader on real people: every reader and control, for known and for new clips.

Needs FACED's features, so ``make bench`` skips it: ``python benchmarks/bench_reproduction.py --faced FACED --out RUN``.
The run itself is that of ``eeg-copilot reproduce faced-reader``; what is finished in ``RUN`` is kept, and the manifests
of both evaluations are named beside their numbers.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from harness import write_result

from dataset_builder.manifest import MANIFEST, Manifest, hash_file, read_manifest
from model_recipes.reproduce import EXPERIMENTS, ReproduceOptions, reproduce

#: What is kept of every reader.
KEPT = ("balanced_accuracy", "accuracy", "calibration_error", "promised_coverage")

#: What is kept of every verdict; the comparisons behind it stand in the run's report.
TOLD = ("protocol", "reader", "text", "clips")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faced", help="folder of FACED; without it nothing is measured")
    parser.add_argument("--out", type=Path, default=Path("build/bench/reproduction"), help="default: %(default)s")
    parser.add_argument("--experiment", default="faced-reader", choices=list(EXPERIMENTS), help="default: %(default)s")
    modes = ["session", "none", "calibration", "causal"]
    parser.add_argument("--normalization", default="session", choices=modes, help="default: %(default)s")
    args = parser.parse_args()
    if args.faced is None:
        print("reproduction: skipped, needs --faced", file=sys.stderr)
        return
    options = {"experiment": args.experiment, "normalization": args.normalization, "faced": args.faced}
    print(reproduce(ReproduceOptions(**options, out=str(args.out))))
    folders = [args.out / name for name in ("evaluation", "evaluation-unseen")]
    manifests = [read_manifest(folder) for folder in folders]
    write_result(
        f"{args.experiment.replace('-', '_')}_{args.normalization}",
        question="what does a reader tell of people it never met, and how much of that is knowing FACED's films again?",
        results=[row for manifest in manifests for row in list_rows(manifest)],
        verdicts=[
            {name: verdict[name] for name in TOLD} for manifest in manifests for verdict in manifest.facts["verdicts"]
        ],
        manifests={folder.name: hash_file(folder / MANIFEST) for folder in folders},
        notes=[note for manifest in manifests for note in manifest.notes],
    )


def list_rows(manifest: Manifest) -> list[dict[str, Any]]:
    """Return a row for each reader under each protocol."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for metric in manifest.metrics:
        if metric.name in KEPT and metric.reader:
            row = rows.setdefault(
                (metric.protocol, metric.reader), {"protocol": metric.protocol, "reader": metric.reader}
            )
            row |= {metric.name: metric.value, f"{metric.name} interval": metric.interval, "n": metric.n}
            row |= {} if metric.chance is None else {f"{metric.name} chance": metric.chance}
    return list(rows.values())


if __name__ == "__main__":
    main()

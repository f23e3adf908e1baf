"""Reading recordings on a Dask cluster: how it scales over workers, and what 100,000 recordings would cost.

Rates are processor seconds of one recording in each of FACED's forms (made up; the raw one with the whole
preprocessing), and bytes of what is read and of what is kept. From them time, storage and money follow on paper, with
prices given as options. Scaling is by the clock and measured on a quiet machine only.
"""

import argparse
import os
import shutil
import time
from pathlib import Path

from harness import write_result

from dataset_builder.cluster import open_client
from dataset_builder.codecs import make_codec
from dataset_builder.codecs.band_power import BandPowerConfig
from dataset_builder.extract import _Extractor, extract_subjects
from dataset_builder.sources.faced import FacedConfig, FacedSource
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort

FOLDER = Path("build/bench/cluster")
RECORDINGS = 100_000
HOURS_A_MONTH = 730


def make_people(subjects: int) -> Path:
    """Write one made-up person in all forms; the others get their waveforms, which cost as much to read."""
    root = FOLDER / f"faced-{subjects}"
    write_cohort(SynthRecipe(subjects=subjects, signals=1, raw=1), root)
    first = root / "Processed_data" / "sub000.pkl"
    for number in range(1, subjects):
        path = first.with_name(f"sub{number:03d}.pkl")
        if not path.exists():
            shutil.copyfile(first, path)
    return root


def measure_forms(root: Path, repeats: int = 3) -> dict[str, dict[str, float]]:
    """Return processor seconds, bytes read and bytes kept of one recording, by form."""
    rates = {}
    for form in ("features", "processed", "raw"):
        source = FacedSource(root, FacedConfig(form=form))
        extractor = _Extractor(source, make_codec(BandPowerConfig()), root)
        spent, kept = [], b""
        for _ in range(1 if form == "raw" else repeats):
            clock = time.process_time()
            kept = extractor.render("sub000")
            spent.append(time.process_time() - clock)
        files = source.files("sub000")
        rates[form] = {
            "processor_s": min(spent),
            "read_bytes": sum(path.stat().st_size for path in files),
            "kept_bytes": len(kept),
        }
    return rates


def measure_scaling(root: Path, subjects: int, counts: list[int]) -> dict[str, dict[str, float]]:
    """Return recordings per second in this process and on local clusters, and whether all gave the same bytes."""
    source, codec = FacedSource(root, FacedConfig(form="processed")), make_codec(BandPowerConfig())
    names = source.subjects()[:subjects]
    found, rates = {}, {}
    for count in (0, *counts):
        out = FOLDER / f"features-{count}"
        shutil.rmtree(out, ignore_errors=True)
        if count == 0:
            clock = time.perf_counter()
            people = extract_subjects(source, codec, names, out)
            elapsed = time.perf_counter() - clock
        else:
            with open_client("local", count) as client:
                address = client.scheduler.address
                extract_subjects(source, codec, names[:count], out / "warm", cluster=address)  # imports
                clock = time.perf_counter()
                people = extract_subjects(source, codec, names, out, cluster=address)
                elapsed = time.perf_counter() - clock
        found[count] = {name: one.path.read_bytes() for name, one in people.items()}
        assert found[count] == found[0], "the cluster's bytes differ"
        rates["this process" if count == 0 else f"{count} workers"] = {"recordings_per_s": len(names) / elapsed}
    alone = rates["this process"]["recordings_per_s"]
    return {name: rate | {"times": rate["recordings_per_s"] / alone} for name, rate in rates.items()}


def estimate_costs(
    rates: dict[str, dict[str, float]], core_hour: float, gigabyte_month: float
) -> dict[str, dict[str, float]]:
    """Return what `RECORDINGS` recordings cost on paper, by form."""
    return {
        form: {
            "core_hours": RECORDINGS * rate["processor_s"] / 3600,
            "hours_on_64_cores": RECORDINGS * rate["processor_s"] / 3600 / 64,
            "read_terabytes": RECORDINGS * rate["read_bytes"] / 1e12,
            "kept_gigabytes": RECORDINGS * rate["kept_bytes"] / 1e9,
            "computing_usd": RECORDINGS * rate["processor_s"] / 3600 * core_hour,
            "storage_usd_a_month": RECORDINGS * rate["read_bytes"] / 1e9 * gigabyte_month,
        }
        for form, rate in rates.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=16)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--core-hour", type=float, default=0.05, help="US dollars")
    parser.add_argument("--gigabyte-month", type=float, default=0.023, help="US dollars")
    parser.add_argument("--busy", action="store_true", help="measure scaling though other work is going on")
    args = parser.parse_args()
    root = make_people(args.subjects)
    rates = measure_forms(root)
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    quiet = load < cores / 2 or args.busy
    scaling = measure_scaling(root, args.subjects, args.workers) if quiet else {}
    costs = estimate_costs(rates, args.core_hour, args.gigabyte_month)
    for form, cost in costs.items():
        print(f"cluster: {RECORDINGS:,} recordings as {form}: {cost['core_hours']:.1f} core hours")
    for name, rate in scaling.items():
        print(f"cluster: {name}: {rate['recordings_per_s']:.2f} recordings per second ({rate['times']:.2f} times)")
    write_result(
        "cluster",
        question=f"how does reading scale over workers of a cluster, and what would {RECORDINGS:,} recordings cost?",
        prices={"core_hour_usd": args.core_hour, "gigabyte_month_usd": args.gigabyte_month},
        rates=rates,
        scaling=scaling or f"not measured: load {load:.1f} on {cores} cores",
        on_paper=costs,
    )


if __name__ == "__main__":
    main()

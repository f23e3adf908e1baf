"""Reading recordings on a Dask cluster: how it scales over workers, and what 100,000 recordings would cost.

Rates are processor seconds of one recording in each of FACED's forms (made up; the raw one with the whole
preprocessing), and bytes of what is read and of what is kept. From them time, storage and money follow on paper, with
prices given as options. How it scales is told by the clock and by processor time: on a machine with other work, whose
load is written beside the numbers, only the second says something.
"""

import argparse
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import write_result

from dataset_builder.cluster import open_client
from dataset_builder.codecs import make_codec
from dataset_builder.codecs.band_power import BandPowerCodec, BandPowerConfig
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
    """Return rates in this process and on local clusters that have begun; all must give the same bytes.

    Beside the clock stands the processor time of a recording, which other work on the machine does not change much:
    that of the readers, and on a cluster that of this process, which hands out, collects and writes.
    """
    source, codec = FacedSource(root, FacedConfig(form="processed")), make_codec(BandPowerConfig())
    work = Reading(source, codec, source.subjects()[:subjects])
    rates = {"this process": work.measure_alone()} | {
        f"{count} workers": work.measure_cluster(count) for count in counts
    }
    alone = rates["this process"]
    for rate in rates.values():
        rate["times"] = rate["recordings_per_s"] / alone["recordings_per_s"]
        rate["processor_times"] = alone["processor_s"] / rate["processor_s"]
    return rates


@dataclass
class Reading:
    """What is read and timed, and the bytes that came out the first time."""

    source: FacedSource
    codec: BandPowerCodec
    names: list[str]
    expected: dict[str, bytes] = field(default_factory=dict)

    def measure_alone(self) -> dict[str, float]:
        """Read in this process."""
        out = make_folder("alone")
        extract_subjects(self.source, self.codec, self.names[:1], out / "warm")
        spent = time.process_time()
        elapsed = self.read(out)
        return self.tell(elapsed, time.process_time() - spent)

    def measure_cluster(self, count: int) -> dict[str, float]:
        """Read on a local cluster. Its start, with what workers import, has its own number."""
        out, clock = make_folder(f"workers-{count}"), time.perf_counter()
        with open_client("local", count) as client:
            client.run(_Extractor(self.source, self.codec, out).render, self.names[0])
            start, own, spent = time.perf_counter() - clock, time.process_time(), sum_processor_s(client)
            elapsed = self.read(out, client.scheduler.address)
            found = self.tell(elapsed, sum_processor_s(client) - spent)
        return found | {"own_processor_s": (time.process_time() - own) / len(self.names), "start_s": start}

    def read(self, out: Path, cluster: str | None = None) -> float:
        """Read all; return the seconds by the clock."""
        clock = time.perf_counter()
        people = extract_subjects(self.source, self.codec, self.names, out, cluster=cluster)
        elapsed = time.perf_counter() - clock
        found = {name: one.path.read_bytes() for name, one in people.items()}
        self.expected = self.expected or found
        assert found == self.expected, "the cluster's bytes differ"
        return elapsed

    def tell(self, elapsed: float, spent: float) -> dict[str, float]:
        return {"recordings_per_s": len(self.names) / elapsed, "processor_s": spent / len(self.names)}


def make_folder(name: str) -> Path:
    folder = FOLDER / f"features-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def sum_processor_s(client: Any) -> float:
    return float(sum(client.run(time.process_time).values()))


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
    args = parser.parse_args()
    root = make_people(args.subjects)
    rates = measure_forms(root)
    load = [round(value, 1) for value in os.getloadavg()[:1]]
    scaling = measure_scaling(root, args.subjects, args.workers)
    load.append(round(os.getloadavg()[0], 1))
    costs = estimate_costs(rates, args.core_hour, args.gigabyte_month)
    for form, cost in costs.items():
        print(f"cluster: {RECORDINGS:,} recordings as {form}: {cost['core_hours']:.1f} core hours")
    for name, rate in scaling.items():
        print(
            f"cluster: {name}: {rate['recordings_per_s']:.2f} recordings per second ({rate['times']:.2f} times), "
            f"{rate['processor_s']:.3f} s of the processor for one"
        )
    write_result(
        "cluster",
        question=f"how does reading scale over workers of a cluster, and what would {RECORDINGS:,} recordings cost?",
        prices={"core_hour_usd": args.core_hour, "gigabyte_month_usd": args.gigabyte_month},
        rates=rates,
        scaling=scaling,
        load_before_and_after=load,
        on_paper=costs,
    )


if __name__ == "__main__":
    main()

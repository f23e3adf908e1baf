"""Sparse to dense on FACED: what a reader fitted on thirty channels still reads as a headset's channels fall to four.

Needs FACED's features, so ``make bench`` skips it: ``python benchmarks/bench_channels.py --faced FACED``. Everything is
fitted on subjects 000-079 and measured on 080-099, with missing channels left out (``none``), reconstructed by splines,
or by the learned regression; ``retrained`` is the reader fitted on those channels alone, which a headset's own model
would be. Features were referenced to the average of 32 channels, which a small headset has not: an upper bound.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from harness import write_result

from dataset_builder.codecs.base import Features, Target
from dataset_builder.codecs.evidence_fit import EvidenceFit
from dataset_builder.codecs.learned import EvidenceCodec, EvidenceConfig
from dataset_builder.codecs.normalize import Normalization
from dataset_builder.sources.base import DroppedRecording
from dataset_builder.sources.faced import FacedSource
from dataset_builder.sparse import Reconstruction, fit_reconstruction
from dataset_builder.splits import N_CLIP_FOLDS, clip_fold
from dataset_builder.types import EMOTIONS, SCALP_CHANNELS
from model_recipes.evaluation.bootstrap import bootstrap_interval
from model_recipes.evaluation.metrics import balanced_accuracy, count_confusion

matplotlib.use("Agg")

#: Each set holds the next one. 16 and 8 are the default places of two common open headsets, 24 adds the midline.
_OPEN_8 = "Fp1 Fp2 C3 C4 P7 P8 O1 O2".split()
_OPEN_16 = [*_OPEN_8, *"F7 F8 F3 F4 T7 T8 P3 P4".split()]
HEADSETS: dict[int, list[str]] = {
    30: list(SCALP_CHANNELS),
    24: [*_OPEN_16, *"Fz Cz Pz Oz FC5 FC6 CP5 CP6".split()],
    16: _OPEN_16,
    12: [*_OPEN_8, *"F7 F8 T7 T8".split()],
    8: _OPEN_8,
    6: "Fp1 Fp2 C3 C4 O1 O2".split(),
    4: "Fp1 Fp2 O1 O2".split(),
}
METHODS = ("none", "spline", "learned", "retrained")
_ALPHA = {"clip": 0.7, "emotion": 5.0}
_NAMES = {"clip": "unseen subjects", "emotion": "unseen subjects and clips"}

Levels = dict[str, np.ndarray]


class Cohort:
    """FACED's features and labels, once read."""

    def __init__(self, faced: Path) -> None:
        source = FacedSource(faced)
        self.levels: Levels = {}
        self.targets: dict[str, list[Target]] = {}
        for subject in source.subjects():
            try:
                recording = source.read(subject, "de")
            except DroppedRecording:
                continue
            assert recording.de is not None
            places = [recording.channels.index(name) for name in SCALP_CHANNELS]
            self.levels[subject] = np.asarray(recording.de)[:, places]
            pairs = zip(recording.clips, recording.emotions, strict=True)
            self.targets[subject] = [Target(clip=clip, emotion=emotion) for clip, emotion in pairs]
        self.train = [name for name in self.levels if int(name[3:]) < 80]
        self.held_out = [name for name in self.levels if 80 <= int(name[3:]) < 100]
        labels = {t.clip: t.emotion for t in self.targets[self.train[0]] if t.clip and t.emotion}
        self.folds = {clip: clip_fold(clip, labels) for clip in labels}


def make_features(levels: np.ndarray) -> Features:
    """Return what the evidence codec extracts: (n_trials, seconds, 30, 5)."""
    return {"power": levels.swapaxes(1, 2), "ranks": np.zeros(len(levels), dtype=np.int16)}


def reduce(levels: np.ndarray, channels: Sequence[str], method: str, learned: Reconstruction) -> np.ndarray:
    """Return (n_trials, 30, seconds, 5) as a reader gets it when only `channels` were measured."""
    places = [SCALP_CHANNELS.index(name) for name in channels]
    if method in ("none", "retrained"):
        kept = np.full_like(levels, np.nan)
        kept[:, places] = levels[:, places]
        return kept
    how = learned if method == "learned" else Reconstruction("spline")
    return how.fill_levels(levels[:, places].swapaxes(1, 2), list(channels)).swapaxes(1, 2)


def fit_readers(cohort: Cohort, people: dict[str, Features], kind: str) -> list[tuple[EvidenceCodec, set[int]]]:
    """Return readers with the clips that each is tested on: one for all, or one for each fold of new clips."""
    targets = {name: cohort.targets[name] for name in cohort.train}
    learn = EvidenceFit(people, targets, kind, Normalization(), _ALPHA[kind])  # type: ignore[arg-type]
    config = EvidenceConfig(target=kind)  # type: ignore[arg-type]
    folds = [set()] if kind == "clip" else [{c for c, f in cohort.folds.items() if f == k} for k in range(N_CLIP_FOLDS)]
    return [(EvidenceCodec(config, learn(cohort.train, frozenset(fold))), fold or set(cohort.folds)) for fold in folds]


def score(cohort: Cohort, readers: list[tuple[EvidenceCodec, set[int]]], levels: Levels) -> dict[str, Any]:
    """Return balanced accuracy on the held-out people with its interval over them."""
    truth, guess, owners = [], [], []
    for name in cohort.held_out:
        targets, features = cohort.targets[name], make_features(levels[name])
        for codec, clips in readers:
            odds = codec.scale_values(features)
            rows = [row for row, target in enumerate(targets) if target.clip in clips]
            truth += [EMOTIONS.index(str(targets[row].emotion)) for row in rows]
            guess += odds[rows].argmax(axis=1).tolist()
            owners += [name] * len(rows)
    confusion = count_confusion(np.array(truth), np.array(guess), owners, len(EMOTIONS))
    value = float(balanced_accuracy(confusion.sum(axis=0)))
    return {
        "balanced_accuracy": value,
        "interval": bootstrap_interval(confusion, balanced_accuracy, seed=17),
        "n": len(truth),
    }


def correlate(cohort: Cohort, channels: Sequence[str], levels: Levels) -> float:
    """Return how well missing channels follow the true ones from second to second within people (mean r)."""
    missing = [place for place, name in enumerate(SCALP_CHANNELS) if name not in channels]
    found = []
    for name in cohort.held_out:
        pair = [
            part[name][:, missing].transpose(1, 3, 0, 2).reshape(len(missing) * 5, -1)
            for part in (levels, cohort.levels)
        ]
        pair = [part - part.mean(axis=1, keepdims=True) for part in pair]
        norm = np.sqrt((pair[0] ** 2).sum(axis=1) * (pair[1] ** 2).sum(axis=1))
        found.append(((pair[0] * pair[1]).sum(axis=1) / np.maximum(norm, 1e-12)).mean())
    return float(np.mean(found))


def measure(cohort: Cohort, *, retrain: bool) -> dict[str, Any]:
    """Return accuracy per protocol, method and number of channels."""
    learned = fit_reconstruction(cohort.levels[name] for name in cohort.train)
    results: dict[str, Any] = {name: {} for name in _NAMES.values()}
    whole = {name: make_features(cohort.levels[name]) for name in cohort.train}
    dense = {kind: fit_readers(cohort, whole, kind) for kind in _NAMES}
    agreement: dict[str, dict[str, float]] = {"spline": {}, "learned": {}}
    for count, channels in HEADSETS.items():
        for method in METHODS:
            if (method == "retrained" and not retrain) or (count == 30 and method != "none"):
                continue
            names = [*cohort.train, *cohort.held_out] if method == "retrained" else cohort.held_out
            levels = {name: reduce(cohort.levels[name], channels, method, learned) for name in names}
            if method in agreement:
                agreement[method][str(count)] = correlate(cohort, channels, levels)
            people = {name: make_features(levels[name]) for name in cohort.train} if method == "retrained" else {}
            for kind, protocol in _NAMES.items():
                readers = fit_readers(cohort, people, kind) if people else dense[kind]
                found = score(cohort, readers, levels)
                results[protocol].setdefault(method, {})[str(count)] = found
                low, high = found["interval"]
                print(
                    f"{count:3d} {method:10s} {protocol:26s} {found['balanced_accuracy']:.3f} [{low:.3f}, {high:.3f}]",
                    flush=True,
                )
    return {"results": results, "agreement_r": agreement}


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw accuracy over the number of channels, one panel per protocol."""
    from matplotlib import pyplot as plt

    colours = {"none": "#777777", "spline": "#0072b2", "learned": "#d55e00", "retrained": "#009e73"}
    marks = {"none": "x", "spline": "s", "learned": "o", "retrained": "^"}
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True)
    for axis, (protocol, methods) in zip(axes, found["results"].items(), strict=True):
        top = methods["none"]["30"]
        for offset, (method, points) in enumerate(methods.items()):
            points = {"30": top} | points
            counts = sorted(int(count) for count in points)
            values = [points[str(count)]["balanced_accuracy"] for count in counts]
            ends = np.array([points[str(count)]["interval"] for count in counts]).T
            spread = np.maximum(np.abs(ends - values), 0)
            places = [np.log2(count) + (offset - 1.5) * 0.02 for count in counts]
            axis.errorbar(places, values, spread, color=colours[method], marker=marks[method], ms=4, lw=1.2, capsize=2,
                          label=method)  # fmt: skip
        axis.axhline(1 / 9, color="black", lw=0.8, ls=":")
        axis.set_xticks([np.log2(count) for count in HEADSETS], [str(count) for count in HEADSETS])
        axis.set_title(protocol, fontsize=10)
        axis.set_xlabel("channels measured")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("balanced accuracy, 95 % interval")
    axes[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faced", type=Path, help="folder of FACED; without it nothing is measured")
    parser.add_argument("--no-retrain", action="store_true", help="leave the readers of single headsets out")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the result too")
    args = parser.parse_args()
    if args.faced is None:
        print("channels: skipped, needs --faced", file=sys.stderr)
        return
    warnings.filterwarnings("ignore", "All-NaN|Mean of empty|Degrees of freedom", RuntimeWarning)  # absent channels
    start = time.perf_counter()
    cohort = Cohort(args.faced)
    found = measure(cohort, retrain=not args.no_retrain)
    if args.plot:
        draw(found, args.plot)
    write_result(
        "channels",
        question="how much does a reader fitted on 30 channels still read from a small headset? Subjects 080-099; "
        "films in training: mostly recognition of FACED's clips",
        chance=1 / len(EMOTIONS),
        headsets={str(count): channels for count, channels in HEADSETS.items()},
        reader="evidence code, likeliest emotion; fitted on 000-079, all channels unless retrained",
        limits="FACED's features are referenced to the average of 32 channels; a small headset's are not",
        n_train=len(cohort.train),
        n_held_out=len(cohort.held_out),
        seconds=time.perf_counter() - start,
        **found,
    )


if __name__ == "__main__":
    main()

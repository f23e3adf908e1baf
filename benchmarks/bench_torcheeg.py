"""Band features of one FACED subject from its file on disk: ours, or TorchEEG's dataset class for FACED.

Needs TorchEEG, which the project does not depend on: ``pip install -c constraints.txt torcheeg``. TorchEEG's class is
used as its documentation shows it for FACED (1-s chunks, ``BandDifferentialEntropy``), with FACED's bands.
Both are timed on arrays in memory and from the file on.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
from harness import best_time, report

from dataset_builder.bands import compute_de
from dataset_builder.sources.faced import FacedConfig, FacedSource
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.types import BANDS

SUBJECT = "sub000"


def make_transform() -> Any:
    """Return TorchEEG's transform with FACED's bands."""
    scipy.signal.hann = scipy.signal.windows.hann  # TorchEEG 1.1 asks for SciPy's old name of it
    from torcheeg import transforms

    bands = {name: list(limits) for name, limits in BANDS.items()}
    return transforms.BandDifferentialEntropy(sampling_rate=250, band_dict=bands)


def transform_chunks(signal_uv: np.ndarray) -> np.ndarray:
    """Return TorchEEG's features of arrays in memory, shape (28, 30, 30, 5)."""
    transform = make_transform()
    chunks = signal_uv.reshape(28, 30, 30, 250).swapaxes(1, 2).reshape(-1, 30, 250).astype(np.float64)
    features = np.stack([transform(eeg=chunk)["eeg"] for chunk in chunks])
    return features.reshape(28, 30, 30, 5).swapaxes(1, 2)


def build_dataset(processed: Path, scratch: Path) -> None:
    """Let TorchEEG read the files and store the features of their 30 scalp channels."""
    transform = make_transform()
    from torcheeg.datasets import FACEDDataset

    FACEDDataset(
        root_path=str(processed),
        chunk_size=250,
        offline_transform=transform,
        io_path=str(scratch / "io"),
        num_worker=0,
        verbose=False,
    )


def main() -> None:
    try:
        import torcheeg
    except ModuleNotFoundError:
        print("torcheeg: not installed, left out (pip install -c constraints.txt torcheeg)", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "faced"
        write_cohort(SynthRecipe(subjects=1, signals="all", features=False), root)
        source = FacedSource(root, FacedConfig(form="processed"))
        signal_uv = source.read(SUBJECT, "signal_uv").signal_uv[:, :30]
        clock = time.perf_counter()
        other = transform_chunks(signal_uv)
        transform_s = time.perf_counter() - clock
        # TorchEEG opens every file of the folder, so it gets one that holds nothing else.
        processed = Path(folder) / "processed"
        shutil.copytree(root / "Processed_data", processed)
        clock = time.perf_counter()
        build_dataset(processed, Path(folder))
        dataset_s = time.perf_counter() - clock
        read_s = best_time(lambda: compute_de(source.read(SUBJECT, "signal_uv").signal_uv[:, :30], 250.0))
        report(
            "torcheeg",
            "band features of one FACED subject in memory (30 channels), against TorchEEG's transform",
            ours_s=best_time(lambda: compute_de(signal_uv, 250.0)),
            other_s=transform_s,
            from_file_s=read_s,
            other_from_file_s=dataset_s,
            ratio_from_file=dataset_s / read_s,
            torcheeg=torcheeg.__version__,
            correlation=float(np.corrcoef(compute_de(signal_uv, 250.0).ravel(), other.ravel())[0, 1]),
        )


if __name__ == "__main__":
    main()

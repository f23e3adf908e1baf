"""Band features of one FACED subject from its file on disk: ours, or TorchEEG's dataset class for FACED.

Needs TorchEEG, which the project does not depend on: ``pip install -c constraints.txt torcheeg``. TorchEEG's class is
used as its documentation shows it for FACED (1-s chunks, ``BandDifferentialEntropy``), with FACED's bands; its time is
that of building the dataset, which computes and stores the features.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.signal
from harness import best_time, report

from dataset_builder.bands import compute_de
from dataset_builder.sources.faced import FacedConfig, FacedSource
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.types import BANDS

SUBJECT = "sub000"


def build_torcheeg(processed: Path, scratch: Path) -> np.ndarray:
    """Return TorchEEG's features of its 30 scalp channels, shape (28, 30, 30, 5)."""
    scipy.signal.hann = scipy.signal.windows.hann  # TorchEEG 1.1 asks for SciPy's old name of it
    from torcheeg import transforms
    from torcheeg.datasets import FACEDDataset

    dataset = FACEDDataset(
        root_path=str(processed),
        chunk_size=250,
        offline_transform=transforms.BandDifferentialEntropy(
            sampling_rate=250, band_dict={name: list(limits) for name, limits in BANDS.items()}
        ),
        online_transform=transforms.ToTensor(),
        label_transform=transforms.Select("emotion"),
        io_path=str(scratch / "io"),
        num_worker=0,
        verbose=False,
    )
    features = np.stack([np.asarray(dataset[i][0]) for i in range(len(dataset))])
    return features.reshape(28, 30, 30, 5).swapaxes(1, 2)


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

        def ours() -> np.ndarray:
            recording = source.read(SUBJECT, "signal_uv")
            return compute_de(recording.signal_uv, 250.0)

        # TorchEEG opens every file of the folder, so it gets one that holds nothing else.
        processed = Path(folder) / "processed"
        shutil.copytree(root / "Processed_data", processed)
        clock = time.perf_counter()
        other = build_torcheeg(processed, Path(folder))
        other_s = time.perf_counter() - clock
        correlation = float(np.corrcoef(ours()[:, :30].ravel(), other.ravel())[0, 1])
        report(
            "torcheeg",
            "band features of one FACED subject, file to features, against TorchEEG's FACED dataset",
            ours_s=best_time(ours, repeats=3),
            other_s=other_s,
            torcheeg=torcheeg.__version__,
            correlation=correlation,
        )


if __name__ == "__main__":
    main()

"""One small cohort for all tests here: three subjects, the first with waveforms."""

from pathlib import Path

import pytest

from dataset_builder.sources.faced import FacedSource
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.types import Recording

SEED = 5


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sources") / "cohort"
    write_cohort(SynthRecipe(subjects=3, seed=SEED, signals=1), out)
    return out


@pytest.fixture(scope="session")
def with_signal(cohort: Path) -> Recording:
    return FacedSource(cohort).read("sub000", "signal_uv")

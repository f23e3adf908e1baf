"""The published form of a corpus, as plain `datasets`, pandas and pyarrow read it (`make test-bounds`)."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from dataset_builder.corpus import CorpusRecipe, build_corpus, load_split
from dataset_builder.recipe import validate
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.splits import SPLITS
from dataset_builder.types import EMOTIONS
from tests.hub_server import Blob, HubServer
from tests.hub_server.store import Repo

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.datasets_bounds

RANGES = {"protocol": "ranges", "train": [0, 2], "validation": [3, 3], "test": [4, 5]}
COUNTS = {"train": 84, "validation": 28, "test": 56}
NAME = "eeg-emotion-copilot"

#: Everything that a user of the folder may ask plain `datasets`, in one process: importing it takes longest.
ASK_EVERYTHING = """
import json, sys
import datasets
from datasets import load_dataset
name = "eeg-emotion-copilot"
corpus = load_dataset(name)
stream = load_dataset(name, split="test", streaming=True)
train = corpus["train"]
print(json.dumps({
    "ours": "dataset_builder" in sys.modules,
    "configs": datasets.get_dataset_config_names(name),
    "splits": datasets.get_dataset_split_names(name, "band_power"),
    "counts": {split: len(rows) for split, rows in corpus.items()},
    "declared": {key: split.num_examples for key, split in train.info.splits.items()},
    "names": train.features["label"].names,
    "row": train[0],
    "codes": train["code"][:],
    "slice": load_dataset(name, "band_power", split="train[:10]")["row_id"][:],
    "two processes": len(load_dataset(name, split="train", num_proc=2)),
    "streamed": [row["row_id"] for row in stream],
    "stream label": stream.features["label"].names,
    "again": len(load_dataset(name, split="train", download_mode="force_redownload")),
}))
"""

ASK_FOR_CODES = f"""
import json, datasets
print(json.dumps(datasets.load_dataset({NAME!r}, split="train")["code"][:]))
"""


def make_recipe(**changes: object) -> CorpusRecipe:
    values = {"name": "test-qa", "version": 1, "codec": {"name": "band_power"}, "split": RANGES, "shard_rows": 50}
    return validate(CorpusRecipe, values | changes, where="test")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "cohort"
    write_cohort(SynthRecipe(subjects=6, seed=3, signals=0), folder)
    return folder


@pytest.fixture(scope="module")
def corpus(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / NAME
    build_corpus(make_recipe(), raw, folder)
    return folder


def ask(program: str, cwd: Path, home: Path, **variables: str) -> Any:
    """Run a program in a fresh process, with `home` for its caches, and return what it prints as JSON."""
    environment = os.environ | {
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_DATASETS_CACHE": str(home / "datasets"),
        "PYTHONPATH": str(ROOT),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def read_head(corpus: Path) -> dict[str, Any]:
    head: dict[str, Any] = yaml.safe_load((corpus / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    return head


@pytest.mark.parametrize("imports", ["", "import dataset_builder\n"], ids=["plain", "with our package"])
def test_plain_datasets_reads_the_folder(corpus: Path, tmp_path: Path, imports: str) -> None:
    found = ask(imports + ASK_EVERYTHING, corpus.parent, tmp_path)
    rows = {split: load_split(corpus, split) for split in SPLITS}
    assert found["ours"] == bool(imports)
    assert found["configs"] == ["band_power"]
    assert found["splits"] == list(SPLITS)
    assert found["counts"] == found["declared"] == COUNTS
    assert found["names"] == found["stream label"] == list(EMOTIONS)
    assert found["row"] == rows["train"][0]
    assert found["slice"] == rows["train"]["row_id"][:10]
    assert found["streamed"] == rows["test"]["row_id"][:]
    assert found["two processes"] == found["again"] == COUNTS["train"]


def test_the_hub_serves_the_published_form(corpus: Path, tmp_path: Path) -> None:
    """With our package, its name without raw data means the Hub, not the files that happen to lie around."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "notes.csv").write_text("a file of the working directory\n")
    repo = Repo("datasets", "lab/copy", private=False)
    files = [path for path in corpus.rglob("*") if path.is_file()]
    repo.commit("main", {path.relative_to(corpus).as_posix(): Blob(path.read_bytes()) for path in files}, "corpus")
    with HubServer() as server:
        server.repos["datasets", repo.name] = repo
        hub = {"HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        program = "import dataset_builder\n" + ASK_EVERYTHING
        found = ask(program, tmp_path / "work", tmp_path / "home", EEG_COPILOT_HUB_ID=repo.name, **hub)
    assert found["configs"] == ["band_power"]
    assert found["counts"] == found["declared"] == COUNTS
    assert found["codes"] == load_split(corpus, "train")["code"][:]
    assert found["streamed"] == load_split(corpus, "test")["row_id"][:]


def test_a_rebuilt_corpus_is_never_answered_from_the_cache(raw: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(raw, tmp_path / "cohort"))
    build_corpus(make_recipe(), own, tmp_path / NAME)
    before = ask(ASK_FOR_CODES, tmp_path, tmp_path / "home")
    path = own / "EEG_Features" / "DE" / "sub001.pkl.pkl"
    features = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps(features + 0.1 * (features > features.mean())))
    build_corpus(make_recipe(), own, tmp_path / NAME)
    after = ask(ASK_FOR_CODES, tmp_path, tmp_path / "home")
    assert len(after) == len(before)
    assert after != before
    assert after == load_split(tmp_path / NAME, "train")["code"][:]


def test_head_tells_what_the_files_hold(corpus: Path) -> None:
    head = read_head(corpus)
    (config,) = head["configs"]
    (info,) = head["dataset_info"]
    assert config["config_name"] == info["config_name"] == "band_power"
    assert config["default"] is True
    listed = {entry["split"]: entry["path"] for entry in config["data_files"]}
    assert {path for paths in listed.values() for path in paths} == {
        path.relative_to(corpus).as_posix() for path in (corpus / "data").iterdir()
    }
    rows = {split: sum(pq.read_metadata(corpus / path).num_rows for path in paths) for split, paths in listed.items()}
    assert rows == {split["name"]: split["num_examples"] for split in info["splits"]} == COUNTS
    assert [len(paths) for paths in listed.values()] == [2, 1, 2]
    assert info["download_size"] == sum(path.stat().st_size for path in (corpus / "data").iterdir())
    assert info["dataset_size"] == sum(split["num_bytes"] for split in info["splits"])
    assert [feature["name"] for feature in info["features"]] == pq.read_schema(corpus / listed["train"][0]).names


def test_pandas_and_pyarrow_read_plain_columns(corpus: Path) -> None:
    files = sorted((corpus / "data").glob("train-*.parquet"))
    frame = pd.concat([pd.read_parquet(path) for path in files])
    assert len(frame) == COUNTS["train"]
    assert frame["row_id"].is_unique
    assert (frame["label"].map(lambda number: EMOTIONS[number]) == frame["emotion"]).all()
    assert frame["messages"].iloc[0][2]["role"] == "assistant"
    kinds = {str(field.type) for field in pq.read_schema(files[0])}
    assert all(not kind.startswith("extension") for kind in kinds)


def test_a_split_of_calibration_trials_is_published_too(raw: Path, tmp_path: Path) -> None:
    split = RANGES | {"protocol": "few-shot", "calibration_trials": 4}
    build_corpus(make_recipe(split=split), raw, tmp_path / NAME)
    found = ask(
        f"import json, datasets; print(json.dumps({{k: len(v) for k, v in datasets.load_dataset({NAME!r}).items()}}))",
        tmp_path,
        tmp_path / "home",
    )
    assert found == {"train": 84, "validation": 24, "test": 48, "calibration": 12}
    assert set(load_split(tmp_path / NAME, "calibration")["rank"]) == {1, 2, 3, 4}


def test_a_protocol_without_shared_clips_is_published(raw: Path, tmp_path: Path) -> None:
    split = RANGES | {"protocol": "unseen-subjects-and-clips", "held_out_fold": 1}
    manifest = build_corpus(make_recipe(split=split), raw, tmp_path / NAME)
    assert manifest.facts["audit"]["checks"]["clips"] > 0
    assert {name: found["rows"] for name, found in manifest.facts["splits"].items()} == {
        "train": 3 * 19,
        "validation": 9,
        "test": 18,
    }
    assert not set(load_split(tmp_path / NAME, "train")["clip"]) & set(load_split(tmp_path / NAME, "test")["clip"])

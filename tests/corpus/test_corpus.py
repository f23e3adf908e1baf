import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dataset_builder.corpus import CorpusRecipe, build_corpus, load_codec, load_split
from dataset_builder.errors import InputError
from dataset_builder.manifest import read_manifest
from dataset_builder.recipe import validate
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.splits import SPLITS
from dataset_builder.types import EMOTIONS

RANGES = {"protocol": "ranges", "train": [0, 2], "validation": [3, 3], "test": [4, 5]}


def make_recipe(**changes: object) -> CorpusRecipe:
    values = {"name": "test-qa", "version": 1, "codec": {"name": "band_power"}, "split": RANGES} | changes
    return validate(CorpusRecipe, values, where="test")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "cohort"
    write_cohort(SynthRecipe(subjects=6, seed=3, signals=0), folder)
    return folder


@pytest.fixture
def own_cohort(cohort: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cohort, tmp_path / "cohort"))


@pytest.fixture(scope="module")
def corpus(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "eeg-emotion-copilot"
    build_corpus(make_recipe(), cohort, folder)
    return folder


def features_file(cohort: Path, subject: str) -> Path:
    return cohort / "EEG_Features" / "DE" / f"{subject}.pkl.pkl"


def parquet_bytes(corpus: Path) -> dict[str, bytes]:
    return {path.name.split("-")[0]: path.read_bytes() for path in (corpus / "data").iterdir()}


def test_rows_are_chats_with_metadata(corpus: Path) -> None:
    rows = [row for split in SPLITS for row in load_split(corpus, split)]
    assert len(rows) == 6 * 28
    assert len({row["row_id"] for row in rows}) == len(rows)
    for row in rows:
        assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant"]
        assert row["code"] in row["messages"][1]["content"]
        assert f'"emotion": "{row["emotion"]}"' in row["messages"][2]["content"]
        assert row["synthetic"]
        assert 0 <= row["rating_valence"] <= 7


def test_no_subject_is_in_two_splits_and_no_prompt_names_a_label(corpus: Path) -> None:
    subjects = {split: set(load_split(corpus, split)["subject"]) for split in SPLITS}
    assert [len(subjects[split]) for split in SPLITS] == [3, 1, 2]
    assert len(set.union(*subjects.values())) == 6
    users = {row["messages"][1]["content"] for split in SPLITS for row in load_split(corpus, split)}
    assert not any(word in user.lower() for user in users for word in (*EMOTIONS, "clip", "positive", "negative"))


def test_equal_inputs_give_equal_bytes(cohort: Path, corpus: Path, tmp_path: Path) -> None:
    build_corpus(make_recipe(), cohort, tmp_path / "again")
    assert parquet_bytes(tmp_path / "again") == parquet_bytes(corpus)
    assert (tmp_path / "again" / "codec.safetensors").read_bytes() == (corpus / "codec.safetensors").read_bytes()


def test_other_peoples_data_never_reach_the_training_rows(own_cohort: Path, corpus: Path, tmp_path: Path) -> None:
    path = features_file(own_cohort, "sub004")
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()) + 0.5))
    build_corpus(make_recipe(), own_cohort, tmp_path / "changed")
    before, after = parquet_bytes(corpus), parquet_bytes(tmp_path / "changed")
    assert before["train"] == after["train"]
    assert before["validation"] == after["validation"]


def test_finished_corpus_is_kept_until_a_raw_file_changes(own_cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    first = build_corpus(make_recipe(), own_cohort, out)
    assert build_corpus(make_recipe(), own_cohort, out).started == first.started
    path = features_file(own_cohort, "sub000")
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()) * 1.01))
    assert build_corpus(make_recipe(), own_cohort, out).key != first.key


def test_implausible_subject_is_left_out_and_counted(own_cohort: Path, tmp_path: Path) -> None:
    path = features_file(own_cohort, "sub001")
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()) + np.log(3000)))
    manifest = build_corpus(make_recipe(), own_cohort, tmp_path / "corpus")
    assert sum(manifest.dropped.values()) == 1
    assert "sub001" not in load_split(tmp_path / "corpus", "train")["subject"]


def test_a_damaged_file_stops_the_build_and_leaves_the_old_corpus(own_cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    build_corpus(make_recipe(), own_cohort, out)
    before = parquet_bytes(out)
    path = features_file(own_cohort, "sub002")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"sub002\.pkl\.pkl") as caught:
        build_corpus(make_recipe(), own_cohort, out)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert parquet_bytes(out) == before


def test_subjects_without_a_split_and_empty_splits_are_stated(cohort: Path, tmp_path: Path) -> None:
    split = {"protocol": "ranges", "train": [0, 2], "validation": [3, 3], "test": [90, 99]}
    manifest = build_corpus(make_recipe(split=split), cohort, tmp_path / "corpus")
    assert manifest.dropped == {"outside the split's ranges": 2}
    assert len(load_split(tmp_path / "corpus", "test")) == 0
    assert "split: test" not in (tmp_path / "corpus" / "README.md").read_text()


def test_wavelet_codec_on_a_features_only_folder_says_what_is_missing(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="waveforms are needed"):
        build_corpus(make_recipe(codec={"name": "wavelet"}), cohort, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_wavelet_corpus_from_waveforms(tmp_path: Path) -> None:
    write_cohort(SynthRecipe(subjects=1, seed=3, signals="all", features=False), tmp_path / "raw")
    split = {"protocol": "ranges", "train": [0, 0], "validation": [1, 1], "test": [2, 2]}
    build_corpus(make_recipe(codec={"name": "wavelet", "points": 10}, split=split), tmp_path / "raw", tmp_path / "out")
    rows = load_split(tmp_path / "out", "train")
    assert len(rows) == 28
    assert load_codec(tmp_path / "out").from_text(rows[0]["code"]).values.shape == (3, 10)


@pytest.mark.parametrize("split", ["dev", "../train"])
def test_unknown_split_is_refused(corpus: Path, split: str) -> None:
    with pytest.raises(InputError, match="accepted: train, validation, test"):
        load_split(corpus, split)


def test_a_stage_that_is_no_corpus_is_refused(cohort: Path) -> None:
    with pytest.raises(InputError, match="is not a corpus"):
        load_split(cohort, "train")


def test_plain_datasets_loads_the_folder_by_its_name(corpus: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from datasets import load_dataset; c = load_dataset('eeg-emotion-copilot'); "
        "assert not any(m.split('.')[0] == 'dataset_builder' for m in sys.modules); "
        "print({k: v.num_rows for k, v in c.items()}, c['train'][0]['messages'][0]['role'])"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=corpus.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "{'train': 84, 'validation': 28, 'test': 56} system", result.stderr


def test_manifest_names_no_path_and_lists_inputs(corpus: Path, cohort: Path) -> None:
    text = (corpus / "manifest.json").read_text()
    assert str(cohort.parent) not in text
    assert {"Recording_info.csv", "EEG_Features/DE/sub000.pkl.pkl"} <= {i.name for i in read_manifest(corpus).inputs}

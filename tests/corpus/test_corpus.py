import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from dataset_builder import extract
from dataset_builder.codecs import make_codec
from dataset_builder.corpus import CorpusRecipe, build_corpus, load_codec, load_split
from dataset_builder.errors import InputError, RecipeError, ResourceError
from dataset_builder.manifest import read_manifest
from dataset_builder.recipe import validate
from dataset_builder.sources.faced import FacedSource
from dataset_builder.sources.folder import RecordingsSource
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.splits import SPLITS
from dataset_builder.types import EMOTIONS, Recording

ROOT = Path(__file__).parents[2]

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


def data_files(corpus: Path) -> dict[str, bytes]:
    """Everything but the manifest, which holds times."""
    files = (path for path in corpus.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(corpus).as_posix(): path.read_bytes() for path in files}


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


@pytest.mark.parametrize("workers", [2, 5])
def test_the_number_of_workers_changes_no_byte(cohort: Path, corpus: Path, tmp_path: Path, workers: int) -> None:
    build_corpus(make_recipe(), cohort, tmp_path / "again", workers=workers)
    assert data_files(tmp_path / "again") == data_files(corpus)


_DIES = """
import os, signal, sys
import dataset_builder.extract as extract
from tests.corpus.test_corpus import build_corpus, make_recipe

real = extract.read_subject


def read_subject(source, codec, subject):
    if subject == "sub003":
        os.kill(os.getpid(), signal.SIGKILL)
    return real(source, codec, subject)


extract.read_subject = read_subject
build_corpus(make_recipe(), sys.argv[1], sys.argv[2])
"""


def run_python(program: str, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_killed_build_goes_on_where_it_was(
    cohort: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "corpus"
    assert run_python(_DIES, cohort, out).returncode == -signal.SIGKILL
    assert not out.exists()
    done = sorted(path.stem for path in (tmp_path / "corpus.partial" / "features").glob("*.safetensors"))
    assert done == ["sub000", "sub001", "sub002"]
    read = []
    real = extract.read_subject
    monkeypatch.setattr(extract, "read_subject", lambda *given: (read.append(given[2]), real(*given))[1])
    build_corpus(make_recipe(), cohort, out)
    assert read == ["sub003", "sub004", "sub005"]
    assert data_files(out) == data_files(corpus)


_FILLS_THE_DISK = """
import resource, sys
from copilot.cli import main
from tests.corpus.test_corpus import write_recipe

if sys.argv[4] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
raise SystemExit(main(["corpus", "--raw", sys.argv[1], "--out", sys.argv[2], "--recipe", sys.argv[3]]))
"""


def write_recipe(path: Path) -> Path:
    path.write_text(yaml.safe_dump(make_recipe().model_dump(mode="json", exclude_none=True)))
    return path


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(cohort: Path, corpus: Path, tmp_path: Path) -> None:
    out, recipe = tmp_path / "corpus", write_recipe(tmp_path / "recipe.yaml")
    largest = max(path.stat().st_size for path in corpus.rglob("*") if path.is_file())
    failed = run_python(_FILLS_THE_DISK, cohort, out, recipe, str(largest - 1))
    assert failed.returncode == 2
    assert failed.stderr.strip().splitlines()[-1].startswith("error: corpus: the disk is full")
    assert "Traceback" not in failed.stderr
    assert not out.exists()
    assert len(list((tmp_path / "corpus.partial" / "features").iterdir())) == 6
    assert run_python(_FILLS_THE_DISK, cohort, out, recipe, "0").returncode == 0
    assert data_files(out) == data_files(corpus)


class KilledSource(FacedSource):
    """Its process dies over one subject, as when memory runs out."""

    def read(self, subject: str, reads: str = "de") -> Recording:
        if subject == "sub002":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(subject, reads)


def test_a_killed_worker_is_told_and_nothing_of_the_others_is_lost(cohort: Path, tmp_path: Path) -> None:
    codec = make_codec(make_recipe().codec)
    subjects = [f"sub{number:03d}" for number in range(6)]
    with pytest.raises(ResourceError, match="a worker process was killed"):
        extract.extract_subjects(KilledSource(cohort), codec, subjects, tmp_path, workers=2)
    found = extract.extract_subjects(FacedSource(cohort), codec, subjects, tmp_path, workers=2)
    assert [person.facts.state for person in found.values()] == ["used"] * 6


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


def test_a_damaged_file_is_named_and_the_rest_completes(own_cohort: Path, tmp_path: Path) -> None:
    path = features_file(own_cohort, "sub002")
    path.write_bytes(path.read_bytes()[:5000])
    manifest = build_corpus(make_recipe(), own_cohort, tmp_path / "corpus")
    assert manifest.dropped == {"recording cannot be read": 1}
    assert manifest.facts["splits"]["train"] == {"rows": 2 * 28, "subjects": 2}
    told = next(subject for subject in manifest.facts["subjects"] if subject["subject"] == "sub002")
    assert told["state"] == "unreadable"
    assert "EEG_Features/DE/sub002.pkl.pkl" in told["why"]
    page = (tmp_path / "corpus" / "report.html").read_text()
    assert "sub002.pkl.pkl" in page
    assert str(tmp_path) not in page


def test_when_nobody_can_be_read_the_old_corpus_stays(own_cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    build_corpus(make_recipe(), own_cohort, out)
    before = parquet_bytes(out)
    for number in range(3):
        features_file(own_cohort, f"sub{number:03d}").write_bytes(b"no pickle")
    with pytest.raises(InputError, match=r"3 of 6 subjects cannot be used: .*sub000\.pkl\.pkl") as caught:
        build_corpus(make_recipe(), own_cohort, out)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert parquet_bytes(out) == before
    assert not out.with_name("corpus.partial").exists()


def test_subjects_without_a_split_and_empty_splits_are_stated(cohort: Path, tmp_path: Path) -> None:
    split = {"protocol": "ranges", "train": [0, 2], "validation": [3, 3], "test": [90, 99]}
    manifest = build_corpus(make_recipe(split=split), cohort, tmp_path / "corpus")
    assert manifest.dropped == {"subject outside the split's ranges": 2}
    assert len(load_split(tmp_path / "corpus", "test")) == 0
    assert "split: test" not in (tmp_path / "corpus" / "README.md").read_text()


def test_subjects_that_the_source_does_not_choose_are_counted_apart(cohort: Path, tmp_path: Path) -> None:
    split = {"protocol": "ranges", "train": [0, 2], "validation": [3, 3], "test": [90, 99]}
    source = {"name": "faced", "subjects": ["sub000", "sub001", "sub002", "sub003", "sub005"]}
    manifest = build_corpus(make_recipe(split=split, source=source), cohort, tmp_path / "corpus")
    told = {"subject not among source.subjects": 1, "subject outside the split's ranges": 1}
    assert manifest.dropped == told


def test_a_codec_holds_no_second_fold_out() -> None:
    split = RANGES | {"protocol": "unseen-subjects-and-clips", "held_out_fold": 0}
    make_recipe(split=split, codec={"name": "evidence"})
    make_recipe(codec={"name": "evidence", "held_out_fold": 1})
    with pytest.raises(RecipeError, match=r"codec\.held_out_fold: leave it out; split\.held_out_fold keeps clips from"):
        make_recipe(split=split, codec={"name": "evidence", "held_out_fold": 1})


def test_wavelet_codec_on_a_features_only_folder_says_what_is_missing(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="waveforms are needed"):
        build_corpus(make_recipe(codec={"name": "wavelet"}), cohort, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_wavelet_corpus_from_waveforms(tmp_path: Path) -> None:
    write_cohort(SynthRecipe(subjects=1, seed=3, signals="all", features=False), tmp_path / "raw")
    split = {"protocol": "ranges", "train": [0, 0], "validation": [1, 1], "test": [2, 2]}
    codec = {"name": "wavelet", "channels": ["Fz", "Cz", "Pz"], "points": 10}
    build_corpus(make_recipe(codec=codec, split=split), tmp_path / "raw", tmp_path / "out")
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


def test_no_file_name_of_a_persons_recording_reaches_the_manifest(tmp_path: Path) -> None:
    source = RecordingsSource.write_fake(tmp_path / "raw", n_subjects=2)
    names = {path.name for subject in source.subjects() for path in source.files(subject, "signal_uv")}
    recipe = make_recipe(source={"name": "recordings"}, preprocessing={"ica": "none"}, split=RANGES)
    build_corpus(recipe, tmp_path / "raw", tmp_path / "out")
    text = "".join(path.read_text(errors="ignore") for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert names
    assert not [name for name in names if name in text]

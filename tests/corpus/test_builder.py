"""The builder of `datasets` and its registration, at either end of the supported versions (`make test-bounds`)."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset, load_dataset_builder

from dataset_builder import registration
from dataset_builder.builder import CorpusConfig, EEGEmotionCopilot
from dataset_builder.codecs import CODECS
from dataset_builder.corpus import build_corpus, load_split
from dataset_builder.errors import InputError, RecipeError
from dataset_builder.registration import DATASET_NAME, HUB_ID, find_published, register
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.splits import SPLITS
from dataset_builder.types import EMOTIONS

pytestmark = pytest.mark.datasets_bounds

RANGES = ["split.protocol=ranges", "split.train=[0, 2]", "split.validation=[3, 3]", "split.test=[4, 5]"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "FACED"
    write_cohort(SynthRecipe(subjects=6, seed=3, signals=0), folder)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def make_builder(raw: Path, cache: Path, **changes: Any) -> EEGEmotionCopilot:
    return EEGEmotionCopilot(**{"data_dir": raw, "cache_dir": cache, "overrides": RANGES} | changes)


def load_all(raw: Path, cache: Path, **changes: Any) -> Any:
    options = {"data_dir": str(raw), "cache_dir": str(cache), "overrides": RANGES} | changes
    return load_dataset(DATASET_NAME, **options)


def run_python(program: str, cwd: Path, home: Path) -> Any:
    """Run a program in a fresh process with a cache of its own and return what it prints as JSON."""
    environment = os.environ | {
        "HF_HOME": str(home),
        "HF_DATASETS_CACHE": str(home / "datasets"),
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def change_a_raw_file(raw: Path) -> None:
    path = raw / "EEG_Features" / "DE" / "sub000.pkl.pkl"
    features = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps(features + 0.1 * (features > features.mean())))


@pytest.mark.parametrize("num_proc", [None, 2])
def test_rows_are_those_of_the_corpus(raw: Path, tmp_path: Path, num_proc: int | None) -> None:
    builder = make_builder(raw, tmp_path / "cache")
    builder.download_and_prepare(num_proc=num_proc)
    build_corpus(CorpusConfig("band_power", overrides=RANGES).load_recipe(), raw, tmp_path / "corpus")
    found = builder.as_dataset()
    assert list(found) == list(SPLITS)
    for split in SPLITS:
        assert found[split].to_list() == load_split(tmp_path / "corpus", split).to_list()
    assert found["train"].features["label"].names == list(EMOTIONS)
    assert found["train"].features == load_split(tmp_path / "corpus", "train").features


def test_loading_by_name_and_by_class_share_one_cache(raw: Path, cache: Path) -> None:
    loaded = load_all(raw, cache, name="band_power", split="train")
    builder = make_builder(raw, cache, config_name="band_power")
    assert builder.as_dataset(split="train").cache_files == loaded.cache_files
    assert loaded[0]["row_id"] == "faced-sub000-clip01"


def test_streaming_gives_the_same_rows(raw: Path, cache: Path) -> None:
    whole = load_all(raw, cache, split="test")
    stream = load_all(raw, cache, split="test", streaming=True)
    assert list(stream) == whole.to_list()
    assert stream.features["label"].int2str(whole[0]["label"]) == whole[0]["emotion"]


def test_a_changed_raw_file_gives_other_rows(raw: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(raw, tmp_path / "FACED"))
    before = load_all(own, tmp_path / "cache", split="train")
    change_a_raw_file(own)
    after = load_all(own, tmp_path / "cache", split="train")
    assert before["row_id"] == after["row_id"]
    assert before["code"] != after["code"]


def test_folders_of_one_name_do_not_mix(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = []
    for place in ("one", "two"):
        own = Path(shutil.copytree(raw, tmp_path / place / "FACED"))
        if place == "two":
            change_a_raw_file(own)
        monkeypatch.chdir(tmp_path / place)
        codes.append(load_all(Path("FACED"), tmp_path / "cache", split="train")["code"])
    assert list(codes[0]) != list(codes[1])


def test_another_recipe_is_another_cache(raw: Path, cache: Path) -> None:
    ids = {
        make_builder(raw, cache, **changes).config_id
        for changes in (
            {},
            {"config_name": "band_power"},
            {"overrides": [*RANGES, "seed=18"]},
            {"overrides": [*RANGES, "codec.windows=2"]},
            {"config_name": "components"},
        )
    }
    assert len(ids) == 4


def test_the_cache_can_be_made_anew(raw: Path, cache: Path) -> None:
    first = load_all(raw, cache, split="train")
    again = load_all(raw, cache, split="train", download_mode="force_redownload")
    assert again.to_list() == first.to_list()


def test_every_codec_is_a_configuration_with_a_recipe() -> None:
    assert set(EEGEmotionCopilot.builder_configs) == set(CODECS)
    for name, config in EEGEmotionCopilot.builder_configs.items():
        recipe = config.load_recipe()
        assert recipe.codec.name == name
        assert recipe.source.name == "faced"


def test_a_recipe_file_of_ones_own(raw: Path, cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\nversion: 1\ncodec: {name: band_power, windows: 3}\n")
    builder = make_builder(raw, cache, recipe=str(path))
    assert builder.config.load_recipe().codec.windows == 3
    assert builder.config_id != make_builder(raw, cache).config_id


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"data_dir": "nowhere"}, InputError, "nowhere"),
        ({"data_dir": None}, InputError, "data_dir: is needed"),
        ({"overrides": ["split.protocol=random"]}, RecipeError, "unseen-clips"),
        ({"recipe": "absent.yaml"}, RecipeError, "absent.yaml: cannot be read"),
        ({"config_name": "psd"}, ValueError, "band_power"),
    ],
)
def test_what_cannot_be_built_is_said_at_once(
    raw: Path, cache: Path, changes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        make_builder(raw, cache, **changes)


def test_waveform_codec_on_a_features_only_folder_is_one_line(raw: Path, cache: Path) -> None:
    with pytest.raises(InputError, match="waveforms") as caught:
        load_all(raw, cache, name="wavelet")
    assert "\n" not in str(caught.value)
    assert str(raw) not in str(caught.value)


def test_importing_the_package_does_not_import_datasets(tmp_path: Path) -> None:
    program = "import sys, json, dataset_builder; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    assert not {"datasets", "pyarrow", "numpy", "pydantic"} & set(run_python(program, tmp_path, tmp_path))


IMPORTS = {
    "ours first": "import dataset_builder, datasets",
    "datasets first": "import datasets, dataset_builder",
    "a function of datasets first": "from datasets import load_dataset; import dataset_builder, datasets",
}


@pytest.mark.parametrize("imports", IMPORTS.values(), ids=IMPORTS)
def test_the_name_is_known_whatever_is_imported_first(raw: Path, tmp_path: Path, imports: str) -> None:
    program = f"""{imports}
import json
rows = datasets.load_dataset("eeg-emotion-copilot", name="band_power", data_dir="FACED", overrides={RANGES!r})
splits = datasets.get_dataset_split_names("eeg-emotion-copilot", "band_power", data_dir="FACED", overrides={RANGES!r})
print(json.dumps([{{name: len(split) for name, split in rows.items()}}, splits]))"""
    counts, splits = run_python(program, raw.parent, tmp_path)
    assert counts == {"train": 84, "validation": 28, "test": 56}
    assert splits == list(SPLITS)


def test_other_names_are_loaded_as_before(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    rows = load_dataset("csv", data_files=str(tmp_path / "a.csv"), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["x"] == [1, 2]
    assert load_dataset_builder("csv", data_files=str(tmp_path / "a.csv")).dataset_name == "csv"


def test_without_raw_data_the_published_form_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EEG_COPILOT_HUB_ID", raising=False)
    assert find_published() == HUB_ID
    monkeypatch.setenv("EEG_COPILOT_HUB_ID", "somebody/a-copy")
    assert find_published() == "somebody/a-copy"
    (tmp_path / "notes.csv").write_text("a file of the working directory\n")
    with pytest.raises(Exception, match="somebody/a-copy"):
        load_dataset(DATASET_NAME)
    (tmp_path / DATASET_NAME).mkdir()
    assert find_published() == "./eeg-emotion-copilot"


@pytest.mark.parametrize("missing", ["dataset_module_factory", "DatasetModule"])
def test_an_unknown_datasets_gets_a_warning_and_nothing_else(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = types.ModuleType("datasets.load")
    loader.__dict__.update({"dataset_module_factory": print, "DatasetModule": print})
    delattr(loader, missing)
    monkeypatch.setitem(sys.modules, "datasets.load", loader)
    before = dict(vars(loader))
    with pytest.warns(UserWarning, match="EEGEmotionCopilot") as caught:
        register()
    assert len(caught) == 1
    assert vars(loader) == before


def test_registering_twice_changes_nothing() -> None:
    import datasets.load

    wrapped = datasets.load.dataset_module_factory
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register()
    assert datasets.load.dataset_module_factory is wrapped
    assert not any(isinstance(finder, registration._Finder) for finder in sys.meta_path)

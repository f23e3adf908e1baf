import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cards.metadata import DatasetMetadata, ModelMetadata
from cards.vocabulary import is_hub_id, is_language, size_category
from dataset_builder.errors import RecipeError
from dataset_builder.recipe import validate

MODEL = {"license": "apache-2.0", "library_name": "transformers"}
DATASET = {"license": "mit", "pretty_name": "x", "task_categories": ["text-generation"], "size_categories": ["n<1K"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"license": "my-own"}, "licence identifier"),
        ({"license": "other"}, "license_name and license_link"),
        ({"language": ["English"]}, "ISO 639"),
        ({"language": [False]}, "language.0"),
        ({"libary_name": "peft"}, "unknown key"),
        ({"library_name": "keras"}, "library_name"),
        ({"pipeline_tag": "nonsense"}, "pipeline_tag"),
        ({"base_model": "../pruned", "base_model_relation": "adapter"}, "namespace/name"),
        ({"base_model": "a/b", "base_model_relation": "pruned"}, "base_model_relation"),
        ({"base_model": "a/b"}, "go together"),
    ],
)
def test_model_metadata_refuses(change, message):
    with pytest.raises(RecipeError, match=message):
        validate(ModelMetadata, MODEL | change, where="card")


@pytest.mark.parametrize("change", [{"size_categories": ["lots"]}, {"task_categories": ["eeg"]}])
def test_dataset_metadata_refuses(change):
    with pytest.raises(RecipeError, match="of the Hub"):
        validate(DatasetMetadata, DATASET | change, where="card")


def test_yaml_keeps_only_what_is_set():
    metadata = validate(ModelMetadata, MODEL | {"model_index": [{"name": "x", "results": []}]}, where="card")
    assert yaml.safe_load(metadata.to_yaml()) == {
        "license": "apache-2.0",
        "language": ["en"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "model-index": [{"name": "x", "results": []}],
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [("lab/model", True), ("Qwen/Qwen2-0.5B", True), ("model", False), ("a/b/c", False), ("../pruned", False)]
    + [("/x/y", False), ("a/b--c", False), ("a/b.git", False), ("a/", False), ("lab/model.", False), (None, False)],
)
def test_is_hub_id(name, expected):
    assert is_hub_id(name) is expected


def test_is_language():
    assert all(map(is_language, ("en", "zh", "no", "yue")))
    assert not any(map(is_language, ("EN", "english", False, None, "xx", "e")))


@given(st.integers(0, 10**13))
def test_size_category_follows_its_own_bounds(n_rows):
    units = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}

    def read(text: str) -> int:
        return int(text.rstrip("KMBT")) * units[text.lstrip("0123456789")]

    category = size_category(n_rows)
    if category == "n>1T":
        assert n_rows >= 10**12
    else:
        *low, high = category.replace("n", "").split("<")
        assert n_rows < read(high)
        assert not low or not low[0] or n_rows >= read(low[0])

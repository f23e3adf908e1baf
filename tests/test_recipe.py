from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from dataset_builder.corpus import CorpusRecipe
from dataset_builder.errors import RecipeError
from dataset_builder.recipe import StrictModel, load_recipe
from model_recipes.evaluation.recipe import EvaluateRecipe

GOOD = "name: x\nversion: 1\ncodec: {name: band_power, levels: 8}\n"


class Small(StrictModel):
    rate: float
    kind: Annotated[Literal["a", "b"], Field()] = "a"


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    return tmp_path / "recipe.yaml"


def test_overrides_replace_one_key(recipe_file: Path) -> None:
    recipe_file.write_text(GOOD)
    recipe = load_recipe(recipe_file, CorpusRecipe, overrides=["codec.levels=4", "seed=3"])
    assert (recipe.codec.levels, recipe.seed) == (4, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("levels", "levelz"), r"levelz: unknown key; accepted: feature, levels, name, normalization, sp"),
        (GOOD + "sede: 1\n", r"sede: unknown key; accepted: augment, codec, name"),
        (GOOD.replace("8", "'8'"), r"levels: .*integer.*'8'"),
        (GOOD.replace("8", "99"), r"levels: .*less than or equal to 52.*99"),
        (GOOD.replace("band_power", "fourier"), r"codec: .*'band_power', 'components'"),
        (GOOD + "seed: 1\nseed: 2\n", r"given twice: seed"),
        ("name: [", r"not valid YAML"),
        ("- 1", r"expected a mapping"),
        ("version: 1\ncodec: {name: wavelet}", r"name: field required"),
    ],
)
def test_each_mistake_gets_one_clear_line(recipe_file: Path, text: str, message: str) -> None:
    recipe_file.write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(recipe_file, CorpusRecipe)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(("recipe.yaml", "recipe recipe.yaml"))


def test_yaml_exponent_trap_is_explained(recipe_file: Path) -> None:
    recipe_file.write_text("rate: 2e-4\n")
    with pytest.raises(RecipeError, match=r"write 2.0e-4"):
        load_recipe(recipe_file, Small)


def test_off_and_on_are_words_and_true_is_not(recipe_file: Path) -> None:
    recipe_file.write_text("controls: off\nseed: 3\n")
    assert load_recipe(recipe_file, EvaluateRecipe).controls == "off"
    assert load_recipe(recipe_file, EvaluateRecipe, ["controls=full"]).controls == "full"
    with pytest.raises(RecipeError, match="controls: .*found True"):
        load_recipe(recipe_file, EvaluateRecipe, ["controls=true"])


def test_missing_file_and_bad_override(recipe_file: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(recipe_file, Small)
    recipe_file.write_text("rate: 1.0\n")
    for override in ("rate", "=3", "rate.x=1", "kind=[", "kind=c"):
        with pytest.raises(RecipeError):
            load_recipe(recipe_file, Small, overrides=[override])

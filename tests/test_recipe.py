import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from dataset_builder.corpus import CorpusRecipe
from dataset_builder.errors import RecipeError
from dataset_builder.recipe import StrictModel, check_changes, load_recipe
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


@pytest.mark.parametrize("change", ["steps=3", "adapter=3", "adapter.steps", "adapter.=3", "other.steps=3"])
def test_a_change_of_a_stage_is_refused_as_it_was_typed(change: str) -> None:
    with pytest.raises(RecipeError, match=rf"^--set {re.escape(change)}: expected STAGE.KEY=VALUE; stages: base, ada"):
        check_changes(["adapter.steps=3", change], ["base", "adapter"])


def test_a_stage_takes_its_own_changes_and_names_them_as_typed(recipe_file: Path) -> None:
    recipe_file.write_text("rate: 1.0\n")
    assert load_recipe(recipe_file, Small, ["one.kind=b", "two.kind=nothing"], stage="one").kind == "b"
    for change in ("one.rate.x=1", "one.kind=["):
        with pytest.raises(RecipeError, match=f"^--set {re.escape(change)}: "):
            load_recipe(recipe_file, Small, [change], stage="one")


def test_shipped_recipes_go_by_name_and_files_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "shipped"
    (shipped / "tiny").mkdir(parents=True)
    (shipped / "tiny/x.yaml").write_text("rate: 1.0\n")
    (tmp_path / "secret.yaml").write_text("rate: 9.0\n")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("tiny/x.yaml", Small, shipped=shipped).rate == 1
    with pytest.raises(
        RecipeError, match=r"^--recipe mine/x\.yml: no such file; .* shipped recipe such as tiny/x\.yaml$"
    ):
        load_recipe("mine/x.yml", Small, shipped=shipped)
    with pytest.raises(RecipeError, match="no such file"):
        load_recipe("../secret.yaml", Small, shipped=shipped)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/x.yaml").write_text("rate: 2.0\n")
    assert load_recipe("tiny/x.yaml", Small, shipped=shipped).rate == 2

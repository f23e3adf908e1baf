from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dataset_builder.errors import InputError, RecipeError, ResourceError, StageError
from dataset_builder.manifest import hash_file
from dataset_builder.recipe import validate
from model_recipes.checkpoint import load_model
from model_recipes.prune import PruneRecipe, prune_model
from model_recipes.pruning.vocabulary import read_kept_ids
from model_recipes.recover import RecoverRecipe, _Pool, recover_model
from model_recipes.training import loop
from model_recipes.training.loop import LoopConfig, draw_windows, rate_at, thin_curve
from model_recipes.training.recover_losses import LossWeights, Teacher, recovery_loss


@pytest.fixture
def recipe(text_file):
    def make(**changes):
        train = {"steps": 6, "batch_size": 2, "window": 64, "learning_rate": 1e-3, "checkpoint_every": 2}
        options = {"train": train, "precision": "fp32", "perplexity_windows": 2, "text": {"path": str(text_file)}}
        return RecoverRecipe.model_validate(options | changes)

    return make


@pytest.fixture(scope="module")
def pruned_dir(base_dir, text_file, tmp_path_factory):
    options = {
        "shape": {"ffn": 64},
        "calibration_windows": 1,
        "perplexity_windows": 2,
        "text": {"path": str(text_file)},
    }
    out = tmp_path_factory.mktemp("pruned") / "pruned"
    prune_model(PruneRecipe.model_validate(options), base_dir, out)
    return out


@pytest.fixture(scope="module")
def cut_dir(base_dir, text_file, tmp_path_factory):
    """Return a pruned model whose vocabulary was cut as well."""
    options = {"shape": {"ffn": 64, "vocab": 736}, "calibration_windows": 1, "perplexity_windows": 2}
    out = tmp_path_factory.mktemp("cut") / "cut"
    prune_model(PruneRecipe.model_validate(options | {"text": {"path": str(text_file)}}), base_dir, out)
    return out


def test_loss_is_nothing_for_the_teacher_itself(base_dir):
    model, _ = load_model(base_dir)
    batch = torch.arange(64).view(2, 32)
    teacher = Teacher(model)
    assert recovery_loss(model, teacher, batch, LossWeights(0.0, 1.0)).item() == pytest.approx(0, abs=1e-5)
    mixed = recovery_loss(model, teacher, batch, LossWeights(0.3, 0.7)).item()
    assert mixed == pytest.approx(0.3 * model(batch, labels=batch).loss.item(), rel=1e-5)


def test_recovery_comes_nearer_to_the_teacher(recipe, pruned_dir, base_dir, tmp_path):
    train = {"steps": 30, "batch_size": 4, "window": 64, "learning_rate": 3e-3, "checkpoint_every": 100}
    manifest = recover_model(recipe(train=train), pruned_dir, base_dir, tmp_path / "recovered")
    curve = [loss for _, loss in manifest.facts["loss"]]
    assert sum(curve[-5:]) < sum(curve[:5])
    assert not (tmp_path / "recovered" / "checkpoints").exists()


def test_interrupted_run_ends_as_the_uninterrupted_one(recipe, pruned_dir, base_dir, corpus_dir, tmp_path, monkeypatch):
    plan = recipe(rows_share=0.5)
    recover_model(plan, pruned_dir, base_dir, tmp_path / "whole", corpus_dir)
    rate, seen = loop.rate_at, []

    def break_off(step, config):
        seen.append(step)
        if step == 5 and len(seen) < 8:
            raise KeyboardInterrupt
        return rate(step, config)

    monkeypatch.setattr(loop, "rate_at", break_off)
    with pytest.raises(KeyboardInterrupt):
        recover_model(plan, pruned_dir, base_dir, tmp_path / "broken", corpus_dir)
    assert not (tmp_path / "broken").exists()
    seen.extend([-1] * 8)
    recover_model(plan, pruned_dir, base_dir, tmp_path / "broken", corpus_dir)
    assert seen[-2:] == [4, 5], "the second run goes on from the checkpoint"
    one, other = (hash_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    assert one == other


def test_both_orders_can_be_chained_and_differ(recipe, pruned_dir, base_dir, corpus_dir, tmp_path):
    public, specific = recipe(), recipe(rows_share=1.0)
    orders = {"public first": (public, specific), "specific first": (specific, public)}
    for name, (first, second) in orders.items():
        recover_model(first, pruned_dir, base_dir, tmp_path / f"{name} 1", corpus_dir)
        manifest = recover_model(second, tmp_path / f"{name} 1", base_dir, tmp_path / name, corpus_dir)
        assert [parent.stage for parent in manifest.parents][:2] == ["recover", "base"]
    ends = {hash_file(tmp_path / name / "model.safetensors") for name in orders}
    assert len(ends) == 2
    recover_model(specific, pruned_dir, base_dir, tmp_path / "only", corpus_dir)
    one, other = (hash_file(tmp_path / name / "model.safetensors") for name in ("only", "specific first 1"))
    assert one == other


def test_cut_vocabulary_is_mapped_kept_and_measured_per_token_of_the_teacher(recipe, cut_dir, base_dir, tmp_path):
    train = {"steps": 30, "batch_size": 4, "window": 64, "learning_rate": 3e-3, "checkpoint_every": 100}
    manifest = recover_model(recipe(train=train), cut_dir, base_dir, tmp_path / "one")
    curve = [loss for _, loss in manifest.facts["loss"]]
    assert sum(curve[-5:]) < sum(curve[:5])
    assert "unpruned vocabulary" in manifest.metrics[0].method
    again = recover_model(recipe(), tmp_path / "one", base_dir, tmp_path / "two")
    assert again.metrics[0].n == manifest.metrics[0].n
    assert read_kept_ids(tmp_path / "two") == read_kept_ids(cut_dir) != list(range(736))


def test_published_recipe_runs(recipe, pruned_dir, base_dir, tmp_path):
    plan = recipe(text_loss=1.0, teacher_loss=0.0, l1=1e-8, l2=1e-7)
    plain, pulled = (
        recover_model(each, pruned_dir, base_dir, tmp_path / name).facts["loss"]
        for name, each in {"plain": recipe(text_loss=1.0, teacher_loss=0.0), "pulled": plan}.items()
    )
    assert pulled[0][1] > plain[0][1]


@given(st.integers(1, 9), st.floats(0, 1), st.integers(0, 30))
def test_rows_get_their_share_of_the_windows(batch_size, share, steps):
    recipe = RecoverRecipe(train=LoopConfig(steps=steps, batch_size=batch_size, window=16), rows_share=share)
    pool = object.__new__(_Pool)
    pool.recipe, pool.general, pool.chats = recipe, torch.zeros((5, 16)), torch.ones((3, 16))
    batches = [pool.make_batch(step) for step in range(steps)]
    assert all(batch.shape == (batch_size, 16) for batch in batches)
    rows = sum(int(batch[:, 0].sum()) for batch in batches)
    assert abs(rows - share * batch_size * steps) < 1


def test_what_recovery_needs(recipe, pruned_dir, base_dir, tmp_path):
    with pytest.raises(InputError, match="--corpus"):
        recover_model(recipe(rows_share=0.5), pruned_dir, base_dir, tmp_path / "x")
    with pytest.raises(RecipeError, match="both 0"):
        validate(RecoverRecipe, {"train": {"steps": 1}, "text_loss": 0.0, "teacher_loss": 0.0}, where="test")


def test_loss_that_is_no_number_stops_the_run(recipe, pruned_dir, base_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "model_recipes.recover.recovery_loss", lambda *_: torch.tensor(float("nan"), requires_grad=True)
    )
    with pytest.raises(StageError, match=r"loss of step 1 is nan; give a lower train.learning_rate"):
        recover_model(recipe(), pruned_dir, base_dir, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_full_disk_is_told_as_such_and_what_is_done_is_kept(recipe, pruned_dir, base_dir, tmp_path, monkeypatch):
    opened = Path.open
    full = Path("/dev/full")
    monkeypatch.setattr(
        Path, "open", lambda path, *a, **k: opened(full if path.name == "last.pt.tmp" else path, *a, **k)
    )
    with pytest.raises(ResourceError, match="x: the disk is full"):
        recover_model(recipe(), pruned_dir, base_dir, tmp_path / "x")
    assert (tmp_path / "x.partial").exists()


def test_epochs_pass_over_every_window_once():
    windows = torch.arange(7)[:, None]
    drawn = [int(w) for step in range(7) for w in draw_windows(windows, 2, step, 3, "x")]
    assert sorted(drawn[:7]) == sorted(drawn[7:]) == list(range(7))
    assert drawn[:7] != drawn[7:]


def test_rate_rises_then_falls_to_a_tenth():
    config = LoopConfig(steps=100, warmup_steps=10)
    rates = [rate_at(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1) == rates[10]
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


def test_curve_is_thinned_by_means():
    assert thin_curve([1.0, 3.0, 5.0], points=2) == [[2, 2.0], [3, 5.0]]
    assert thin_curve([]) == []

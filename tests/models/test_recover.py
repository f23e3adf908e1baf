import pytest
import torch

from dataset_builder.errors import InputError, RecipeError
from dataset_builder.manifest import hash_file
from dataset_builder.recipe import validate
from model_recipes import loop
from model_recipes.checkpoint import load_model
from model_recipes.loop import LoopConfig, draw_windows, rate_at, thin_curve
from model_recipes.recover import RecoverRecipe, distillation_loss, recover_model


@pytest.fixture
def recipe(text_file):
    def make(**changes):
        train = {"steps": 6, "batch_size": 2, "window": 64, "learning_rate": 1e-3, "checkpoint_every": 2}
        options = {"train": train, "precision": "fp32", "perplexity_windows": 2, "text": {"path": str(text_file)}}
        return RecoverRecipe.model_validate(options | changes)

    return make


@pytest.fixture(scope="module")
def pruned_dir(base_dir, text_file, tmp_path_factory):
    from model_recipes.prune import PruneRecipe, prune_model

    options = {
        "shape": {"ffn": 64},
        "calibration_windows": 1,
        "perplexity_windows": 2,
        "text": {"path": str(text_file)},
    }
    out = tmp_path_factory.mktemp("pruned") / "pruned"
    prune_model(PruneRecipe.model_validate(options), base_dir, out)
    return out


def test_loss_is_nothing_for_the_teacher_itself(base_dir):
    model, _ = load_model(base_dir)
    batch = torch.arange(64).view(2, 32)
    assert distillation_loss(model, model, batch, 0.0, 1.0).item() == pytest.approx(0, abs=1e-6)
    mixed = distillation_loss(model, model, batch, 0.3, 0.7).item()
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


def test_what_recovery_needs(recipe, pruned_dir, base_dir, tmp_path):
    with pytest.raises(InputError, match="--corpus"):
        recover_model(recipe(rows_share=0.5), pruned_dir, base_dir, tmp_path / "x")
    with pytest.raises(RecipeError, match="both 0"):
        validate(RecoverRecipe, {"train": {"steps": 1}, "text_loss": 0.0, "teacher_loss": 0.0}, where="test")


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

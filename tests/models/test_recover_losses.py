import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from dataset_builder.errors import InputError
from model_recipes.checkpoint import load_model
from model_recipes.training.recover_losses import (
    LossWeights,
    Teacher,
    check_vocabularies,
    penalise_weights,
    recovery_loss,
)


@pytest.fixture
def pair(base_dir):
    """Return a teacher and a student that differs from it."""
    student, teacher = load_model(base_dir)[0], load_model(base_dir)[0]
    with torch.no_grad():
        for parameter in student.model.layers[1].parameters():
            parameter.mul_(1.5)
    return student, teacher


@pytest.fixture
def batch():
    return torch.randint(3, 700, (2, 24), generator=torch.Generator().manual_seed(0))


def diverge(student, teacher, batch, kept=None, temperature=1.0):
    """Return KL(teacher || student) the long way."""
    ids = batch if kept is None else torch.tensor(kept)[batch]
    with torch.no_grad():
        wanted = teacher(ids).logits[:, :-1].flatten(0, 1)
        wanted = (wanted if kept is None else wanted[:, kept]) / temperature
    logits = student(batch).logits[:, :-1].flatten(0, 1) / temperature
    return kl_div(log_softmax(logits, -1), log_softmax(wanted, -1), reduction="batchmean", log_target=True)


def test_parts_are_cross_entropy_and_divergence(pair, batch):
    student, teacher = pair
    loss = recovery_loss(student, Teacher(teacher), batch, LossWeights(0.3, 0.7))
    text = cross_entropy(student(batch).logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten())
    assert loss.item() == pytest.approx((0.3 * text + 0.7 * diverge(student, teacher, batch)).item(), rel=1e-5)
    alone = recovery_loss(student, None, batch, LossWeights(1.0, 0.0))
    assert alone.item() == pytest.approx(text.item(), rel=1e-6)


def test_gradient_is_that_of_the_parts(pair, batch):
    student, teacher = pair
    weight = student.model.layers[0].mlp.down_proj.weight
    recovery_loss(student, Teacher(teacher), batch, LossWeights(0.0, 1.0)).backward()
    found, student.model.layers[0].mlp.down_proj.weight.grad = weight.grad.clone(), None
    diverge(student, teacher, batch).backward()
    assert torch.allclose(found, weight.grad, atol=1e-6)


def test_whole_vocabulary_mapped_on_itself_changes_nothing(pair, batch):
    student, teacher = pair
    plain = recovery_loss(student, Teacher(teacher), batch, LossWeights())
    mapped = recovery_loss(student, Teacher(teacher, list(range(768))), batch, LossWeights())
    assert mapped.item() == plain.item()


def test_teacher_of_a_cut_vocabulary_speaks_only_of_what_is_left(pair):
    student, teacher = pair
    kept = list(range(0, 768, 2))
    with torch.no_grad():
        student.model.embed_tokens.weight = torch.nn.Parameter(student.model.embed_tokens.weight[kept])
        student.lm_head.weight = student.model.embed_tokens.weight
        student.model.embed_tokens.padding_idx = None
    batch = torch.arange(40).view(2, 20)
    mapped = Teacher(teacher, kept)
    assert torch.allclose(mapped.predict(mapped.read(batch)).sum(dim=-1), torch.ones(2, 20))
    loss = recovery_loss(student, mapped, batch, LossWeights(0.0, 1.0))
    assert loss.item() == pytest.approx(diverge(student, teacher, batch, kept).item(), rel=1e-4)


def test_temperature_flattens_both_and_is_squared(pair, batch):
    student, teacher = pair
    loss = recovery_loss(student, Teacher(teacher), batch, LossWeights(0.0, 1.0, temperature=2.0))
    assert loss.item() == pytest.approx(4 * diverge(student, teacher, batch, temperature=2.0).item(), rel=1e-4)


def test_hidden_states_of_the_teacher_itself_cost_nothing(pair, batch):
    student, teacher = pair
    weights = LossWeights(0.0, 0.0, hidden=1.0)
    assert recovery_loss(teacher, Teacher(teacher), batch, weights).item() == pytest.approx(0, abs=1e-10)
    states = [model.model(batch).last_hidden_state.detach() for model in pair]
    share = (states[0] - states[1]).square().mean() / states[1].square().mean()
    assert recovery_loss(student, Teacher(teacher), batch, weights).item() == pytest.approx(share.item(), rel=1e-5)


def test_penalties_pull_matrices_and_nothing_else_towards_zero(pair):
    student, _ = pair
    penalise_weights(student, l1=0.5, l2=0.0).backward()
    weight = student.model.layers[0].self_attn.q_proj.weight
    assert torch.equal(weight.grad, 0.5 * weight.sign())
    weight.grad = None
    penalise_weights(student, l1=0.0, l2=0.25).backward()
    assert torch.allclose(weight.grad, 0.5 * weight)
    assert student.model.norm.weight.grad is None
    assert student.model.layers[0].self_attn.q_proj.bias.grad is None


def test_penalties_are_part_of_the_loss(pair, batch):
    student, _ = pair
    plain = recovery_loss(student, None, batch, LossWeights(1.0, 0.0))
    pulled = recovery_loss(student, None, batch, LossWeights(1.0, 0.0, l1=1e-4, l2=1e-3))
    assert (pulled - plain).item() == pytest.approx(penalise_weights(student, 1e-4, 1e-3).item(), rel=1e-4)


def test_states_of_a_window_are_computed_once_and_do_not_depend_on_the_batch(pair, batch, monkeypatch):
    _, teacher = pair
    reader, calls = Teacher(teacher), []
    run = reader._run
    monkeypatch.setattr(reader, "_run", lambda ids: calls.append(len(ids)) or run(ids))
    first = reader.read(batch)
    again = reader.read(batch.flip(0)).flip(0)
    assert calls == [1, 1]
    assert torch.equal(first, again)
    assert torch.equal(first, Teacher(teacher).read(batch))
    once = Teacher(teacher, repeats=False)
    assert torch.allclose(once.read(batch), first, atol=1e-5)
    assert not once._states


def test_full_memory_still_answers(pair, batch):
    _, teacher = pair
    reader = Teacher(teacher)
    reader._room = 24 * 64 * 4  # one window
    found = reader.read(batch)
    assert len(reader._states) == 1
    assert torch.equal(reader.read(batch), found)


def test_wrong_teachers_are_refused(pair):
    student, teacher = pair
    check_vocabularies(student, teacher, None, "base")
    student.config.vocab_size = 4
    with pytest.raises(InputError, match="base: has a vocabulary of 768 tokens, the pruned model of 4"):
        check_vocabularies(student, teacher, None, "base")
    check_vocabularies(student, teacher, [0, 1, 2, 767], "base")
    with pytest.raises(InputError, match="base: "):
        check_vocabularies(student, teacher, [0, 1, 2, 768], "base")
    with pytest.raises(InputError, match="base: "):
        check_vocabularies(student, teacher, [0, 1, 2], "base")

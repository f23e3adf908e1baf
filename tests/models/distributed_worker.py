"""What each of two processes runs in the tests of shared training; started by torchrun with a folder as argument."""

import sys
from pathlib import Path

from safetensors.torch import load_file

from model_recipes.adapter import train_adapter
from model_recipes.recover import RecoverRecipe, recover_model
from model_recipes.text import TextConfig
from model_recipes.training.adapter_recipe import AdapterRecipe, Lesson
from model_recipes.training.answer_trainer import AnswerTrainer
from model_recipes.training.loop import LoopConfig

ADAPTER = AdapterRecipe(
    steps=4, batch_size=4, learning_rate=3e-3, warmup_steps=1, max_length=512, label_weight=2.0, checkpoint_every=2,
    eval_rows=3, precision="fp32",
)  # fmt: skip
LESSONS = ADAPTER.model_copy(update={"steps": None, "schedule": [Lesson(epochs=1)] * 2, "batch_size": 12})


def make_recover(text: Path) -> RecoverRecipe:
    """Return a short recovery whose last checkpoint is not its end."""
    loop = LoopConfig(steps=3, batch_size=4, window=64, learning_rate=1e-3, warmup_steps=1, checkpoint_every=2)
    return RecoverRecipe(train=loop, precision="fp32", perplexity_windows=2, text=TextConfig(path=str(text)))


def compare_weights(one: Path, other: Path) -> None:
    """Compare the weights of two folders, of adapters or of models."""
    name = "adapter_model.safetensors" if (one / "adapter_model.safetensors").exists() else "model.safetensors"
    weights, others = load_file(one / name), load_file(other / name)
    assert weights.keys() == others.keys()
    worst = max((weights[key] - others[key]).abs().max().item() for key in weights)
    assert worst < 2e-3  # Adam divides by gradients near zero, whose sums depend on their order


def interrupt_after(steps: int) -> None:
    """Let the next training stop like after Ctrl-C, at the step after `steps`."""
    whole, seen = AnswerTrainer.compute_loss, []

    def compute_loss(self: AnswerTrainer, model: object, *args: object, **options: object) -> object:
        seen.append(model.training)
        if sum(seen) > steps:
            AnswerTrainer.compute_loss = whole
            raise KeyboardInterrupt
        return whole(self, model, *args, **options)

    AnswerTrainer.compute_loss = compute_loss


def main(root: Path) -> None:
    """Train with both processes what the test trains with one."""
    base, corpus = root / "base", root / "corpus"
    train_adapter(ADAPTER, base, corpus, root / "adapter-two", "cpu")
    train_adapter(LESSONS, base, corpus, root / "lessons-two", "cpu")
    recover_model(make_recover(root / "text.txt"), base, base, root / "recovered-two", device="cpu")
    recover_model(make_recover(root / "text.txt"), base, base, root / "recovered-moved", device="cpu")
    interrupt_after(3)
    try:
        train_adapter(ADAPTER, base, corpus, root / "adapter-moved", "cpu")
    except KeyboardInterrupt:
        return
    raise SystemExit("the training was not interrupted")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

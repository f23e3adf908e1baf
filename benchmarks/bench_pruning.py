"""Half of SmolLM2-135M: what is left of its language, beside torch-pruning's own recipe and beside no training at all.

Needs a text to learn from and one of another domain, so ``make bench`` skips it: ``python benchmarks/bench_pruning.py
--text TEXT --foreign TALES``. The first 80 % of the text are trained on, the rest and the whole of the foreign text are
measured, per token of the unpruned vocabulary. The budget is processor time: 30 minutes on 2 cores are an hour of it.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch_pruning as tp
from harness import write_result
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM
from transformers.models.qwen2 import modeling_qwen2

from dataset_builder.recipe import StrictModel, load_recipe
from dataset_builder.stage import open_stage
from model_recipes.base import BaseRecipe, make_base
from model_recipes.bases.qwen2 import read_shape
from model_recipes.checkpoint import count_parameters, load_model, save_checked
from model_recipes.device import pick_precision
from model_recipes.perplexity import cut_windows, measure_perplexity
from model_recipes.prune import PruneRecipe, prune_model
from model_recipes.pruning.vocabulary import read_kept_ids
from model_recipes.recover import RecoverRecipe, recover_model
from model_recipes.text import Text, TextConfig, load_text
from model_recipes.training.loop import train_steps
from model_recipes.training.recover_losses import Teacher, recovery_loss

RECIPES = Path(__file__).parents[1] / "model_recipes" / "recipes" / "smollm2"

#: Share of each width that torch-pruning's recipe cuts; it leaves half of the parameters.
_RATIO = 1 / 3

#: Steps that are timed to learn how many fit into the budget; the first of them is not counted.
_TIMED = 5

ROWS = (
    "unpruned",
    "torch-pruning",
    "torch-pruning + published recovery",
    "torch-pruning + our recovery",
    "ours, reconstructed",
    "ours",
    "ours + our recovery",
)


class NoRecipe(StrictModel):
    """Torch-pruning's recipe has nothing to choose here."""

    ratio: float = _RATIO


def prune_by_magnitude(base_dir: Path, out_dir: Path) -> None:
    """Prune as torch-pruning does by itself: group magnitude, the same share of every width, no layer dropped.

    What it needs to work at all with this architecture is done for it: eager attention, no rotary embedding while it
    traces, heads in whole groups, the config and the tie set right afterwards.
    """
    model, tokenizer = load_model(base_dir)
    layers = model.model.layers
    model.set_attn_implementation("eager")
    model.config.use_cache = False
    heads = {layer.self_attn.q_proj: model.config.num_attention_heads for layer in layers}
    shared = [projection for layer in layers for projection in (layer.self_attn.k_proj, layer.self_attn.v_proj)]
    heads |= dict.fromkeys(shared, model.config.num_key_value_heads)
    with patch.object(modeling_qwen2, "apply_rotary_pos_emb", lambda q, k, *_, **__: (q, k)):
        pruner = tp.pruner.BasePruner(
            model,
            torch.zeros((1, 8), dtype=torch.long),
            importance=tp.importance.GroupMagnitudeImportance(),
            pruning_ratio=_RATIO,
            head_pruning_ratio=_RATIO,
            num_heads=heads,
            prune_num_heads=True,
            prune_head_dims=False,
            ignored_layers=[model.lm_head],
            unwrapped_parameters=[(weight, 0) for name, weight in model.named_parameters() if "norm" in name],
            round_to=8,
            output_transform=lambda output: output.logits,
        )
        for group in pruner.step(interactive=True):
            group.prune()
    _fit_config(model)
    with open_stage("prune", out_dir, NoRecipe(), parents=[base_dir]) as stage:
        stage.facts["model"] = save_checked(model, tokenizer, stage.folder)


def _fit_config(model: Qwen2ForCausalLM) -> None:
    config, first = model.config, model.model.layers[0]
    config.hidden_size = model.model.embed_tokens.weight.shape[1]
    config.intermediate_size = first.mlp.gate_proj.weight.shape[0]
    config.num_attention_heads = first.self_attn.q_proj.weight.shape[0] // first.self_attn.head_dim
    for layer in model.model.layers:
        layer.self_attn.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
    model.lm_head.weight = model.model.embed_tokens.weight
    model.set_attn_implementation("sdpa")


def count_steps(recipe: RecoverRecipe, pruned_dir: Path, base_dir: Path, text: Text, budget_s: float) -> int:
    """Return how many steps of a recovery fit into `budget_s` seconds of processor time, from a few that are timed."""
    model, tokenizer = load_model(pruned_dir)
    teacher = Teacher(load_model(base_dir)[0], read_kept_ids(pruned_dir))
    loop, marks = recipe.train.model_copy(update={"steps": _TIMED}), []
    windows = cut_windows(tokenizer, text.fit, loop.window)
    reading: list[float] = []

    def draw(step: int) -> torch.Tensor:
        marks.append(time.process_time())
        return windows[step * loop.batch_size : (step + 1) * loop.batch_size]

    def measure(batch: torch.Tensor) -> torch.Tensor:
        clock = time.process_time()
        teacher.read(batch)  # kept, so the loss takes it from there
        reading.append(time.process_time() - clock)
        return recovery_loss(model, teacher, batch, recipe.weights)

    train_steps(model, draw, measure, loop, precision=pick_precision(recipe.precision, model.device), title="time")
    whole, teaching = (marks[-1] - marks[1]) / (_TIMED - 2), sum(reading[1:]) / (_TIMED - 1)
    epoch = len(windows) // loop.batch_size  # the teacher reads every window once
    first = int(budget_s / whole)
    return first if first <= epoch else epoch + int((budget_s - epoch * whole) / (whole - teaching))


class Bench:
    """What the rows share: folders, texts, recipes and what has been measured."""

    def __init__(self, args: argparse.Namespace, work: Path) -> None:
        self.args, self.work = args, work
        self.text = load_text(TextConfig(path=args.text))
        self.foreign = Text(Path(args.foreign).stem, "", Path(args.foreign).read_text(encoding="utf-8"))
        self.base_dir = Path(args.base) if args.base else work / "base"
        if not self.base_dir.exists():
            make_base(load_recipe(RECIPES / "base.yaml", BaseRecipe), self.base_dir)
        self.reference: PreTrainedTokenizerBase = load_model(self.base_dir)[1]
        self.rows: dict[str, dict[str, Any]] = {}

    def prune(self, name: str) -> tuple[Path, float]:
        """Return the folder of a pruned model, made now if need be, and the processor seconds that took."""
        folder, clock = self.work / name.replace(" ", "-").replace(",", ""), time.process_time()
        if folder.exists():
            return folder, 0.0
        if name == "torch-pruning":
            prune_by_magnitude(self.base_dir, folder)
        else:
            path = json.dumps(str(self.args.text))
            changes = [
                f"reconstruct={str('reconstructed' in name).lower()}",
                f"text={{mix: [{{path: {path}}}, {{source: python-docs}}]}}",
                f"vocabulary.texts=[{{path: {path}}}, {{source: python-docs}}]",
            ]
            prune_model(load_recipe(RECIPES / "prune.yaml", PruneRecipe, changes), self.base_dir, folder)
        return folder, time.process_time() - clock

    def recover(self, pruned_dir: Path, published: bool) -> tuple[Path, float, int]:
        """Return the folder of a recovered model, processor seconds and steps."""
        changes = [f"text={{path: {json.dumps(str(self.args.text))}}}"]
        name = "recover-paper.yaml" if published else "recover.yaml"
        recipe = load_recipe(RECIPES / name, RecoverRecipe, changes)
        if not published:
            budget_s = self.args.minutes * 60 * self.args.cores
            steps = self.args.steps or count_steps(recipe, pruned_dir, self.base_dir, self.text, budget_s)
            recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": steps})})
        folder, clock = pruned_dir.with_name(f"{pruned_dir.name}-{Path(name).stem}"), time.process_time()
        recover_model(recipe, pruned_dir, self.base_dir, folder, device="cpu")
        return folder, time.process_time() - clock, recipe.train.steps

    def measure(self, name: str) -> None:
        """Make the model of a row, measure it, print and keep the result."""
        start, _, recovery = name.partition(" + ")
        folder, pruning_s = (self.base_dir, 0.0) if start == "unpruned" else self.prune(start)
        recovery_s, steps = 0.0, 0
        if recovery:
            folder, recovery_s, steps = self.recover(folder, published="published" in recovery)
        model, tokenizer = load_model(folder)
        values = {
            key: measure_perplexity(
                model, tokenizer, text, self.args.windows, pick_precision("auto", model.device), self.reference
            ).value
            for key, text in (("text", self.text), ("foreign", self.foreign))
        }
        self.rows[name] = {
            "parameters": count_parameters(model),
            "shape": read_shape(model).as_dict(),
            "perplexity": values,
            "ratio": {key: value / self.rows["unpruned"]["perplexity"][key] for key, value in values.items()}
            if name != "unpruned"
            else dict.fromkeys(values, 1.0),
            "recovery_steps": steps,
            "pruning_cpu_minutes": pruning_s / 60,
            "recovery_cpu_minutes": recovery_s / 60,
        }
        self.tell(name)

    def tell(self, name: str) -> None:
        """Print a row."""
        row = self.rows[name]
        share = row["parameters"] / self.rows["unpruned"]["parameters"]
        parts = "  ".join(f"{key} {value:9.2f} ({row['ratio'][key]:8.2f}x)" for key, value in row["perplexity"].items())
        minutes = row["pruning_cpu_minutes"] + row["recovery_cpu_minutes"]
        print(f"{name:36s} {share:6.1%}  {parts}  {row['recovery_steps']:5d} steps  {minutes:5.1f} CPU min", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Measure all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", help=".txt file or folder to learn from (first 80 %%) and to measure on (the rest)")
    parser.add_argument("--foreign", help=".txt file of another domain, only measured")
    parser.add_argument("--minutes", type=float, default=30, help="budget of our recovery (default: %(default)s)")
    parser.add_argument("--cores", type=float, default=2, help="cores of that budget (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="steps of our recovery instead of as many as fit")
    parser.add_argument("--windows", type=int, default=32, help="windows measured of each text (default: %(default)s)")
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS, help="which rows (default: all)")
    parser.add_argument("--base", help="folder of the base; made if absent (default: a temporary one)")
    args = parser.parse_args(argv)
    if args.text is None or args.foreign is None:
        print("bench_pruning: skipped (needs --text and --foreign)")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, Path(folder))
        asked = {"minutes": args.minutes, "cores": args.cores, "text": bench.text.name, "foreign": bench.foreign.name}
        for name in ("unpruned", *(row for row in args.rows if row != "unpruned")):
            bench.measure(name)  # the rows take hours: each is kept as soon as it is there
            write_result("pruning", question=(__doc__ or "").splitlines()[0], **asked, rows=bench.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

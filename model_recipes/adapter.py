"""Train a LoRA adapter on the corpus: this is where the model learns what codes say of emotions."""

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from pydantic import Field
from transformers import PreTrainedTokenizerBase
from trl import SFTConfig

from dataset_builder.alphabets import check_alphabet
from dataset_builder.corpus import load_codec, load_split
from dataset_builder.errors import RecipeError, StageError
from dataset_builder.manifest import Manifest, read_manifest, write_text
from dataset_builder.prompts import load_style
from dataset_builder.recipe import StrictModel
from dataset_builder.seeds import derive_seed
from dataset_builder.stage import Stage, find_finished, open_stage
from model_recipes.answer_trainer import AnswerTrainer
from model_recipes.bases.qwen2 import TURN_END
from model_recipes.checkpoint import load_model, quiet_transformers, read_base_facts
from model_recipes.device import pick_device, pick_precision
from model_recipes.rows import load_rows

#: Projections that an adapter may change. Never the embedding: it is tied to the output layer.
Target = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TARGETS: tuple[Target, ...] = get_args(Target)

#: Keys of TRL's config that this stage sets itself.
_RESERVED = frozenset(
    "output_dir report_to seed data_seed max_length max_steps per_device_train_batch_size learning_rate warmup_steps "
    "bf16 fp16 use_cpu packing completion_only_loss assistant_only_loss push_to_hub hub_model_id hub_token".split()
)


class LoraSettings(StrictModel):
    """Size of the adapter.

    Parameters
    ----------
    r, alpha : int
        Rank, and the factor ``alpha / r`` on its output.
    dropout : float
    targets : list of str
        Projections that get an adapter.
    """

    r: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: list[Target] = Field(default_factory=lambda: list(TARGETS), min_length=1)


class AdapterRecipe(StrictModel):
    """How the adapter is trained.

    Parameters
    ----------
    lora : LoraSettings
    steps : int
        Updates.
    batch_size : int
        Rows per update.
    learning_rate : float
    warmup_steps : int
    max_length : int
        Longest conversation in tokens; a longer one stops the stage, none is cut.
    label_weight : float
        Weight in the loss of the tokens that name the emotion; 1 treats them as the other 60 or so of an answer.
    held_out_fold : int or None
        Clips of this fold are not trained on, so that accuracy on unseen clips can be told.
    precision : {"auto", "fp32", "bf16"}
    checkpoint_every : int
        Steps between checkpoints.
    eval_rows : int
        At most so many validation rows are measured at the end.
    trainer : dict
        Further keys of TRL's ``SFTConfig``.
    seed : int
    """

    lora: LoraSettings = LoraSettings()
    steps: int = Field(ge=1)
    batch_size: int = Field(default=8, ge=1)
    learning_rate: float = Field(gt=0, le=1)
    warmup_steps: int = Field(default=10, ge=0)
    max_length: int = Field(default=1024, ge=64)
    label_weight: float = Field(default=1.0, ge=0)
    held_out_fold: int | None = Field(default=0, ge=0, le=2)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    checkpoint_every: int = Field(default=50, ge=1)
    eval_rows: int = Field(default=64, ge=1)
    trainer: dict[str, Any] = Field(default_factory=dict)
    seed: int = 17


def train_adapter(
    recipe: AdapterRecipe,
    model_dir: str | Path,
    corpus_dir: str | Path,
    out_dir: str | Path,
    device: str = "auto",
) -> Manifest:
    """Train a LoRA adapter (Hu et al. 2022, arXiv:2106.09685) with TRL on the training subjects' seen clips.

    Only the answer is trained, the end of the turn included; this is checked on every row before training. An
    interrupted run goes on from its last checkpoint.

    Parameters
    ----------
    recipe : AdapterRecipe
    model_dir, corpus_dir : str or Path
        Folders of a finished model and of a finished corpus.
    out_dir : str or Path
        Folder to write: PEFT's adapter files, tokenizer, manifest.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    Manifest
        Facts: rows, trainable parameters, loss curve, loss on validation rows before and after.

    Raises
    ------
    RecipeError
        If `trainer` holds a key that TRL does not know or that this stage sets itself.
    InputError
        If the tokenizer splits or merges symbols of the corpus's codes.
    StageError
        If a conversation is too long, or other tokens than the answer's would be trained.
    """
    check_trainer_keys(recipe.trainer)
    known: dict[str, Any] = {"parents": [model_dir, corpus_dir]}
    if finished := find_finished("adapter", out_dir, recipe, **known):
        return finished
    rows = load_rows(corpus_dir, "train", recipe.held_out_fold)
    with open_stage("adapter", out_dir, recipe, **known, seed=recipe.seed) as stage:
        where = pick_device(device)
        model, tokenizer = load_model(model_dir, where)
        check_alphabet(load_codec(corpus_dir), tokenizer)
        name = str(read_base_facts(model_dir).get("name", Path(model_dir).name))
        model.config._name_or_path = name  # PEFT writes it into the adapter's config; the folder would be a local path
        trained = tokenize_rows(rows, tokenizer, recipe.max_length)
        validated = _read_validation(recipe, corpus_dir, tokenizer)
        with quiet_transformers(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prefix = load_style(corpus_dir).answer_prefix
            trainer = _make_trainer(recipe, model, tokenizer, trained, validated, stage, where.type, prefix)
            before = trainer.evaluate() if validated else {}
            checkpoints = sorted((stage.folder / "checkpoints").glob("checkpoint-*"))
            trainer.train(resume_from_checkpoint=bool(checkpoints))
            after = trainer.evaluate() if validated else {}
            trainer.model.save_pretrained(stage.folder)
            tokenizer.save_pretrained(stage.folder)
        _check_saved(stage.folder, name)
        stage.facts |= _collect_facts(recipe, trainer, rows, model_dir, before, after)
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def check_trainer_keys(keys: dict[str, Any]) -> None:
    """Refuse keys that TRL's config does not have, and those that the recipe has its own names for.

    Raises
    ------
    RecipeError
    """
    known = {field.name for field in dataclasses.fields(SFTConfig) if field.init}
    if unknown := sorted(set(keys) - known):
        raise RecipeError(
            f"trainer: unknown key {', '.join(unknown)}; accepted: {', '.join(sorted(known - _RESERVED))}"
        )
    if reserved := sorted(set(keys) & _RESERVED):
        raise RecipeError(f"trainer: {', '.join(reserved)} is set by this stage; accepted: keys of SFTConfig besides")


def tokenize_rows(rows: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Dataset:
    """Turn chat rows into token ids and labels; only the answer and the end of its turn have labels.

    Parameters
    ----------
    rows : Dataset
        With a column ``messages`` of system, user and assistant turn.
    tokenizer : PreTrainedTokenizerBase
    max_length : int

    Returns
    -------
    Dataset
        Columns ``input_ids`` and ``labels`` (-100 where nothing is trained).

    Raises
    ------
    StageError
        If a row is longer than `max_length`, or its labels are not exactly answer and end of turn.
    """
    ids_labels = [_tokenize_row(messages, tokenizer) for messages in rows["messages"]]
    for row_id, messages, (ids, labels) in zip(rows["row_id"], rows["messages"], ids_labels, strict=True):
        if len(ids) > max_length:
            raise StageError(f"row {row_id}: {len(ids)} tokens with its answer; max_length is {max_length}")
        text = tokenizer.decode([token for token in labels if token != -100])
        if text != messages[-1]["content"] + TURN_END:
            raise StageError(f"row {row_id}: what would be trained is not its answer and the end of its turn")
    return Dataset.from_dict({"input_ids": [i for i, _ in ids_labels], "labels": [x for _, x in ids_labels]})


def _tokenize_row(messages: list[dict[str, str]], tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return ids and labels of one conversation. Prompt and answer meet after a line end, where tokens never merge."""
    prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(messages, tokenize=False).removesuffix("\n")
    start = len(tokenizer.encode(prompt, add_special_tokens=False))
    ids = tokenizer.encode(whole, add_special_tokens=False)
    return ids, [-100] * start + ids[start:]


def _read_validation(
    recipe: AdapterRecipe, corpus_dir: str | Path, tokenizer: PreTrainedTokenizerBase
) -> Dataset | None:
    """Return the first validation rows of seen clips, or None where the corpus has no validation subject."""
    if not len(load_split(corpus_dir, "validation")):
        return None
    rows = load_rows(corpus_dir, "validation", recipe.held_out_fold)
    return tokenize_rows(rows.select(range(min(recipe.eval_rows, len(rows)))), tokenizer, recipe.max_length)


def _make_trainer(
    recipe: AdapterRecipe,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    trained: Dataset,
    validated: Dataset | None,
    stage: Stage,
    device: str,
    answer_prefix: str,
) -> AnswerTrainer:
    seed = derive_seed(recipe.seed, "adapter")
    precision = pick_precision(recipe.precision, pick_device(device))
    # TRL's defaults suit large models on a GPU: gradients are recomputed, bf16 is on unless said otherwise.
    settings: dict[str, Any] = {
        "gradient_checkpointing": False,
        "disable_tqdm": False,  # quiet otherwise
        "lr_scheduler_type": "cosine",
        "logging_steps": max(1, recipe.steps // 50),
        "save_steps": recipe.checkpoint_every,
        "save_total_limit": 1,
        "per_device_eval_batch_size": recipe.batch_size,
    } | recipe.trainer
    config = SFTConfig(
        output_dir=str(stage.folder / "checkpoints"),
        report_to="none",
        seed=seed,
        data_seed=seed,
        max_length=None,
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
        bf16=precision == "bf16",
        fp16=False,
        use_cpu=device == "cpu",
        packing=False,
        dataloader_pin_memory=device != "cpu",
        **settings,
    )
    lora = LoraConfig(
        r=recipe.lora.r,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=sorted(recipe.lora.targets),
        bias="none",
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)  # PEFT draws the adapter's first weights from the global stream
    return AnswerTrainer(
        model=get_peft_model(model, lora),
        args=config,
        train_dataset=trained,
        eval_dataset=validated,
        processing_class=tokenizer,
        label_weight=recipe.label_weight,
        n_prefix=len(tokenizer.encode(answer_prefix)),
    )


def _check_saved(folder: Path, name: str) -> None:
    """Write PEFT's config anew without anything of this machine, and refuse it if the embedding got an adapter."""
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's own card is a form with empty fields
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = name
    if config.get("modules_to_save") or not set(config["target_modules"]) <= set(TARGETS):
        raise StageError("adapter: changes the embedding or the output layer, which are tied")
    config["target_modules"] = sorted(config["target_modules"])
    write_text(path, json.dumps(config, indent=2, sort_keys=True) + "\n")


def _collect_facts(
    recipe: AdapterRecipe,
    trainer: AnswerTrainer,
    rows: Dataset,
    model_dir: str | Path,
    before: dict[str, float],
    after: dict[str, float],
) -> dict[str, Any]:
    weights = {item.name: item.sha256 for item in read_manifest(model_dir).outputs}
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    return {
        "base": read_base_facts(model_dir),
        "trained_on_sha256": weights.get("model.safetensors"),
        "rows": len(rows),
        "subjects": len(set(rows["subject"])),
        "passes_over_rows": round(recipe.steps * recipe.batch_size / len(rows), 2),
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "precision": "bf16" if trainer.args.bf16 else "fp32",
        "loss": [[entry["step"], round(float(entry["loss"]), 4)] for entry in logs],
        **_compare("validation_loss", "eval_loss", "nats per answer token, label weighted", before, after),
        **_compare("label_loss", "eval_label_loss", "nats per label", before, after),
    }


def _compare(
    name: str, key: str, unit: str, before: dict[str, float], after: dict[str, float]
) -> dict[str, dict[str, float | str]]:
    """Return a value before and after training under `name`; nothing where it was not measured."""
    if key not in before or key not in after:
        return {}
    return {name: {"before": round(before[key], 4), "after": round(after[key], 4), "unit": unit}}

"""The trainings of an adapter: one, or the lessons of a schedule one after the other."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import PreTrainedTokenizerBase
from trl import SFTConfig

from dataset_builder.errors import InputError
from dataset_builder.manifest import write_text
from dataset_builder.seeds import derive_seed
from model_recipes.device import pick_device, pick_precision
from model_recipes.rows import render_prompts
from model_recipes.training.adapter_recipe import AdapterRecipe, Lesson
from model_recipes.training.answer_trainer import AnswerTrainer
from model_recipes.training.distributed import Processes, check_sharing, divide_batch

_WEIGHTS, _RESULT = "adapter.pt", "lesson.json"

#: Answers that are kept of each lesson, and their longest length in tokens.
_N_ANSWERS, _ANSWER_TOKENS = 4, 200


def find_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint that is whole, None without one.

    A run can die while it saves. The state of the trainer is what Transformers writes last.
    """
    whole = [path for path in folder.glob("checkpoint-*") if _is_json(path / "trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.partition("-")[2]))) if whole else None


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class Course:
    """What is the same in all trainings of an adapter.

    Parameters
    ----------
    recipe : AdapterRecipe
    model : PeftModel
        Trained in place.
    tokenizer : PreTrainedTokenizerBase
    validated : Dataset or None
        Tokenised validation rows.
    asked : Dataset or None
        Validation rows that are answered after each lesson.
    checkpoints : Path
        Folder; if it holds finished lessons, training goes on after them.
    device : str
        Kind of device.
    answer_prefix : str
        How answers begin before their label.
    processes : Processes
        Who trains together.
    """

    recipe: AdapterRecipe
    model: Any
    tokenizer: PreTrainedTokenizerBase
    validated: Dataset | None
    asked: Dataset | None
    checkpoints: Path
    device: str
    answer_prefix: str
    processes: Processes = field(default_factory=Processes)

    def train_once(self, trained: Dataset) -> AnswerTrainer:
        """Train on tokenised rows for as many steps as the recipe says."""
        assert self.recipe.steps is not None  # the recipe is checked
        return self._train(trained, self.recipe.steps, self.checkpoints, derive_seed(self.recipe.seed, "adapter"))

    def train_lessons(self, rows: Dataset, trained: Dataset) -> list[dict[str, Any]]:
        """Train lesson by lesson; those that an interrupted run finished are not repeated.

        Parameters
        ----------
        rows, trained : Dataset
            Training rows, and the same tokenised.

        Returns
        -------
        list of dict
            Of each lesson: whose rows, how many, loss per step, losses on validation rows, a few answers.

        Raises
        ------
        InputError
            If a lesson has no row.
        """
        chosen = [find_rows(rows, lesson, number) for number, lesson in enumerate(self.recipe.schedule, start=1)]
        results = []
        for number, (lesson, places) in enumerate(zip(self.recipe.schedule, chosen, strict=True), start=1):
            folder = self.checkpoints / f"lesson-{number}"
            if (folder / _RESULT).is_file():
                results.append(json.loads((folder / _RESULT).read_text(encoding="utf-8")))
                state = torch.load(folder / _WEIGHTS, map_location=self.model.device, weights_only=True)
                set_peft_model_state_dict(self.model, state)
                continue
            steps = -(-len(places) * lesson.epochs // self.recipe.batch_size)
            seed = derive_seed(self.recipe.seed, "adapter", "lesson", number)
            trainer = self._train(trained.select(places), steps, folder, seed)
            result = self._describe(lesson, rows.select(places), trainer)
            if self.processes.is_main:
                torch.save(get_peft_model_state_dict(self.model), folder / _WEIGHTS)
                write_text(folder / _RESULT, json.dumps(result))
            self.processes.wait()
            results.append(result)
        return results

    def _train(self, trained: Dataset, steps: int, folder: Path, seed: int) -> AnswerTrainer:
        trainer = make_trainer(self, trained, steps, folder, seed)
        checkpoint = find_checkpoint(folder)
        check_sharing(checkpoint)
        trainer.train(resume_from_checkpoint=checkpoint)
        return trainer

    def _describe(self, lesson: Lesson, rows: Dataset, trainer: AnswerTrainer) -> dict[str, Any]:
        found = trainer.evaluate() if self.validated else {}
        return {
            "device_sfreq_hz": lesson.device_sfreq_hz,
            "epochs": lesson.epochs,
            "rows": len(rows),
            "subjects": len(set(rows["subject"])),
            "steps": trainer.state.global_step,
            "loss": list_losses(trainer),
            **{name: round(found[f"eval_{key}"], 4) for name, key in _MEASURED.items() if found},
            "answers": self._answer(),
        }

    @torch.inference_mode()
    def _answer(self) -> list[dict[str, str]]:
        """Return what the model now writes of a few validation rows, most likely token by token."""
        answers = []
        self.model.eval()
        for row, prompt in (
            zip(self.asked, render_prompts(self.asked, self.tokenizer), strict=True) if self.asked else ()
        ):
            ids = self.tokenizer(prompt, add_special_tokens=False, return_tensors="pt").to(self.model.device)
            told = self.model.generate(**ids, max_new_tokens=_ANSWER_TOKENS, do_sample=False)[0]
            text = self.tokenizer.decode(told[ids["input_ids"].shape[1] :], skip_special_tokens=True)
            answers.append({"row": row["row_id"], "emotion": row["emotion"], "answer": text})
        return answers


#: Losses on validation rows: name in the manifest -> name in the trainer.
_MEASURED = {"validation_loss": "loss", "label_loss": "label_loss"}


def put_adapter(model: Any, recipe: AdapterRecipe) -> Any:
    """Return the model with a new adapter on it."""
    torch.manual_seed(derive_seed(recipe.seed, "adapter"))  # PEFT draws the first weights from the global stream
    lora = LoraConfig(
        r=recipe.lora.r,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=sorted(recipe.lora.targets),
        bias="none",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, lora)


def make_trainer(course: Course, trained: Dataset, steps: int, folder: Path, seed: int) -> AnswerTrainer:
    """Return TRL's trainer for one training.

    Parameters
    ----------
    course : Course
    trained : Dataset
        Tokenised rows.
    steps : int
        Updates.
    folder : Path
        For its checkpoints.
    seed : int
    """
    recipe = course.recipe
    rows = divide_batch(recipe.batch_size, course.processes, "batch_size")
    # TRL's defaults suit large models on a GPU: gradients are recomputed, bf16 is on unless said otherwise.
    settings: dict[str, Any] = {
        "gradient_checkpointing": False,
        "disable_tqdm": False,  # quiet otherwise
        "lr_scheduler_type": "cosine",
        "logging_steps": max(1, steps // 50),
        "save_steps": recipe.checkpoint_every,
        "save_total_limit": 1,
        "per_device_eval_batch_size": rows,
    } | recipe.trainer
    config = SFTConfig(
        output_dir=str(folder),
        report_to="none",
        seed=seed,
        data_seed=seed,
        max_length=None,
        max_steps=steps,
        per_device_train_batch_size=rows,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
        bf16=pick_precision(recipe.precision, pick_device(course.device)) == "bf16",
        fp16=False,
        use_cpu=course.device == "cpu",
        packing=False,
        dataloader_pin_memory=course.device != "cpu",
        **settings,
    )
    return AnswerTrainer(
        model=course.model,
        args=config,
        train_dataset=trained,
        eval_dataset=course.validated,
        processing_class=course.tokenizer,
        label_weight=recipe.label_weight,
        n_prefix=len(course.tokenizer.encode(course.answer_prefix)),
    )


def find_rows(rows: Dataset, lesson: Lesson, number: int) -> list[int]:
    """Return the positions of a lesson's rows.

    Raises
    ------
    InputError
        If there is none.
    """
    rate, rates = lesson.device_sfreq_hz, rows["device_sfreq_hz"]
    places = [place for place, own in enumerate(rates) if rate is None or own == rate]
    if not places:
        known = ", ".join(f"{own:g}" for own in sorted({own for own in rates if own is not None})) or "none"
        raise InputError(f"schedule, step {number}: no training row of a device at {rate:g} Hz; the corpus has {known}")
    return places


def choose_asked(rows: Dataset) -> Dataset:
    """Return the rows that are answered after each lesson: of as many emotions as there is room for."""
    first: dict[str, int] = {}
    for place, emotion in enumerate(rows["emotion"]):
        first.setdefault(emotion, place)
    return rows.select(sorted(first.values())[:_N_ANSWERS])


def list_losses(trainer: AnswerTrainer) -> list[list[float]]:
    """Return ``[step, loss]`` as it was logged."""
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    return [[entry["step"], round(float(entry["loss"]), 4)] for entry in logs]

import json

import factories
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from dataset_builder.corpus import load_split
from dataset_builder.errors import InputError, RecipeError, StageError
from dataset_builder.manifest import hash_file
from dataset_builder.prompts import LANGUAGES, STYLES, PromptConfig, get_style
from dataset_builder.recipe import load_recipe
from dataset_builder.types import EMOTIONS
from model_recipes import adapter as adapter_module
from model_recipes import merge as merge_module
from model_recipes import rows as rows_module
from model_recipes.adapter import AdapterRecipe, tokenize_rows, train_adapter
from model_recipes.checkpoint import compare_logits, load_model
from model_recipes.merge import MergeRecipe, merge_adapter
from model_recipes.rows import load_rows, render_unlabelled
from model_recipes.run_adapter import RECIPES
from model_recipes.training import adapter_lessons as lessons_module
from model_recipes.training.adapter_lessons import Course
from model_recipes.training.answer_trainer import AnswerTrainer, find_label_tokens, find_quote_tokens


def make_recipe(**changes):
    options = {"steps": 4, "batch_size": 2, "learning_rate": 1e-2, "warmup_steps": 1, "precision": "fp32"}
    return AdapterRecipe.model_validate(options | {"lora": {"r": 4}, "checkpoint_every": 2, "eval_rows": 4} | changes)


@pytest.fixture(scope="module")
def adapter_dir(base_dir, corpus_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("adapter") / "adapter"
    train_adapter(make_recipe(steps=6), base_dir, corpus_dir, out)
    return out


def test_only_the_answer_and_its_end_are_trained(base_dir, corpus_dir):
    _, tokenizer = load_model(base_dir)
    rows = load_split(corpus_dir, "train")
    tokenized = tokenize_rows(rows, tokenizer, 1024)
    for messages, ids, labels in zip(rows["messages"], tokenized["input_ids"], tokenized["labels"], strict=True):
        trained = [token for token in labels if token != -100]
        assert tokenizer.decode(trained) == messages[-1]["content"] + "<|im_end|>"
        assert labels[-1] == ids[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
        prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True)["input_ids"]
        assert ids[: len(prompt)] == prompt
        assert set(labels[: len(prompt)]) == {-100}


def test_label_tokens_spell_the_emotion(base_dir, corpus_dir):
    _, tokenizer = load_model(base_dir)
    rows = load_split(corpus_dir, "train")
    quotes, n_prefix = find_quote_tokens(tokenizer), len(tokenizer.encode('{"emotion": "'))
    for emotion, labels in zip(rows["emotion"], tokenize_rows(rows, tokenizer, 1024)["labels"], strict=True):
        labels = torch.tensor([labels])
        assert tokenizer.decode(labels[find_label_tokens(labels, n_prefix, quotes)]) == emotion
    assert set(rows["emotion"]) == set(EMOTIONS)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("style", STYLES)
def test_label_tokens_spell_the_emotion_in_every_style(base_dir, tmp_path, style, language):
    chosen = get_style(PromptConfig(style=style, language=language))
    rows = load_split(factories.make_corpus(tmp_path / "corpus", n_train=2, style=chosen), "train")
    _, tokenizer = load_model(base_dir)
    quotes, n_prefix = find_quote_tokens(tokenizer), len(tokenizer.encode(chosen.answer_prefix))
    for emotion, labels in zip(rows["emotion"], tokenize_rows(rows, tokenizer, 2048)["labels"], strict=True):
        labels = torch.tensor([labels])
        assert tokenizer.decode(labels[find_label_tokens(labels, n_prefix, quotes)]) == emotion


def test_row_that_does_not_fit_stops_the_stage(base_dir, corpus_dir, tmp_path):
    with pytest.raises(StageError, match=r"max_length is 64"):
        train_adapter(make_recipe(max_length=64), base_dir, corpus_dir, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_template_that_cuts_the_end_of_turn_stops_the_stage(base_dir, corpus_dir):
    _, tokenizer = load_model(base_dir)
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "")
    with pytest.raises(StageError, match="end of its turn"):
        tokenize_rows(load_split(corpus_dir, "train").select([0]), tokenizer, 1024)


def test_trainer_keys_are_checked():
    with pytest.raises(RecipeError, match=r"unknown key warmup_ratio; accepted: .*weight_decay"):
        adapter_module.check_trainer_keys({"warmup_ratio": 0.1})
    with pytest.raises(RecipeError, match="max_steps is set by this stage"):
        adapter_module.check_trainer_keys({"max_steps": 5})
    adapter_module.check_trainer_keys({"weight_decay": 0.1})


def test_adapter_folder_tells_nothing_of_the_machine(adapter_dir, tmp_path_factory):
    config = json.loads((adapter_dir / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "factory"
    assert "lm_head" not in config["target_modules"]
    assert str(tmp_path_factory.getbasetemp()) not in "".join(
        path.read_text() for path in adapter_dir.iterdir() if path.suffix in {".json", ".md", ".jinja"}
    )
    assert {path.name for path in adapter_dir.iterdir()} >= {"adapter_model.safetensors", "manifest.json"}


def test_held_out_clips_are_not_trained(base_dir, corpus_dir, tmp_path, monkeypatch):
    rows = load_rows(corpus_dir, "train", 0)
    assert 0 not in set(rows["clip_fold"])
    manifest = train_adapter(make_recipe(steps=1), base_dir, corpus_dir, tmp_path / "adapter")
    assert manifest.facts["rows"] == len(rows) < len(load_split(corpus_dir, "train"))
    monkeypatch.setattr(rows_module, "load_split", lambda *_: rows.select(range(0)))
    with pytest.raises(InputError, match="no row of split 'train' is left without clip fold 1"):
        load_rows(corpus_dir, "train", held_out_fold=1)


def test_untrained_adapter_is_the_base(base_dir, corpus_dir, tmp_path):
    train_adapter(make_recipe(steps=1, learning_rate=1e-12, warmup_steps=0), base_dir, corpus_dir, tmp_path / "adapter")
    base, _ = load_model(base_dir)
    both = PeftModel.from_pretrained(load_model(base_dir)[0], tmp_path / "adapter").eval()
    assert compare_logits(base, both) < 1e-6


def test_training_lowers_the_label_loss(base_dir, corpus_dir, tmp_path):
    recipe = make_recipe(steps=25, batch_size=8, label_weight=10.0)
    manifest = train_adapter(recipe, base_dir, corpus_dir, tmp_path / "adapter")
    assert manifest.facts["label_loss"]["after"] < manifest.facts["label_loss"]["before"]
    assert manifest.facts["validation_loss"]["after"] < manifest.facts["validation_loss"]["before"]
    assert manifest.facts["loss"][0][0] == 1


def test_interrupted_adapter_ends_as_the_uninterrupted_one(adapter_dir, base_dir, corpus_dir, tmp_path, monkeypatch):
    compute, calls = AnswerTrainer.compute_loss, []

    def break_off(trainer, model, inputs, **options):
        calls.append(trainer.state.global_step)
        if model.training and trainer.state.global_step == 5:
            raise KeyboardInterrupt
        return compute(trainer, model, inputs, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(AnswerTrainer, "compute_loss", break_off)
        train_adapter(make_recipe(steps=6), base_dir, corpus_dir, tmp_path / "adapter")
    train_adapter(make_recipe(steps=6), base_dir, corpus_dir, tmp_path / "adapter")
    name = "adapter_model.safetensors"
    assert hash_file(tmp_path / "adapter" / name) == hash_file(adapter_dir / name)


def test_merged_is_model_plus_adapter(base_dir, adapter_dir, tmp_path):
    manifest = merge_adapter(MergeRecipe(), base_dir, adapter_dir, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    both = PeftModel.from_pretrained(load_model(base_dir)[0], adapter_dir).eval()
    assert compare_logits(merged, both) < 1e-4
    assert manifest.facts["adapter_max_change"] > 1e-2, "the adapter does something"
    assert manifest.facts["model"]["tied"]


def test_adapter_of_another_model_is_refused(adapter_dir, tmp_path):
    other = factories.make_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="trained on another model"):
        merge_adapter(MergeRecipe(), other, adapter_dir, tmp_path / "merged")


def test_merge_that_changes_answers_is_refused(base_dir, adapter_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(merge_module, "compare_logits", lambda one, other: 0.5)
    with pytest.raises(StageError, match=r"differ by 0\.5"):
        merge_adapter(MergeRecipe(), base_dir, adapter_dir, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_unlabelled_rows_tell_the_code_but_not_the_emotion(base_dir, corpus_dir):
    _, tokenizer = load_model(base_dir)
    rows = load_rows(corpus_dir, "train", 0)
    texts = render_unlabelled(corpus_dir, rows, tokenizer, seed=1)
    told = [json.loads(t.rsplit("<|im_start|>assistant\n")[-1].removesuffix("<|im_end|>\n"))["emotion"] for t in texts]
    agree = sum(one == other for one, other in zip(told, rows["emotion"], strict=True)) / len(rows)
    assert agree < 0.4
    assert all(code in text for code, text in zip(rows["code"], texts, strict=True))


def test_bf16_runs_on_a_processor(base_dir, corpus_dir, tmp_path):
    manifest = train_adapter(make_recipe(steps=1, precision="bf16"), base_dir, corpus_dir, tmp_path / "adapter")
    assert manifest.facts["precision"] == "bf16"


def test_corpus_without_validation_subjects_is_enough(base_dir, corpus_dir, tmp_path, monkeypatch):
    empty = load_split(corpus_dir, "validation").select([])
    monkeypatch.setattr(adapter_module, "load_split", lambda *_: empty)
    manifest = train_adapter(make_recipe(steps=1), base_dir, corpus_dir, tmp_path / "adapter")
    assert "label_loss" not in manifest.facts


PAPER = [{"device_sfreq_hz": 250, "epochs": 1}, {"epochs": 2}]


def test_schedule_trains_each_lesson_on_its_own_rows(base_dir, corpus_dir, tmp_path, monkeypatch):
    rows = load_rows(corpus_dir, "train", 0)
    monkeypatch.setattr(lessons_module, "_ANSWER_TOKENS", 6)
    recipe = make_recipe(steps=None, schedule=PAPER, batch_size=16)
    facts = train_adapter(recipe, base_dir, corpus_dir, tmp_path / "adapter").facts
    first, second = facts["schedule"]
    assert [first["rows"], second["rows"]] == [rows["device_sfreq_hz"].count(250.0), len(rows)]
    assert first["steps"] == -(-first["rows"] // 16)
    assert second["steps"] == -(-2 * len(rows) // 16)
    assert facts["loss"][-1][0] == first["steps"] + second["steps"]
    assert facts["label_loss"]["after"] == second["label_loss"] < facts["label_loss"]["before"]
    assert len({answer["emotion"] for answer in second["answers"]}) == len(second["answers"]) == 4
    assert all(answer["answer"] for answer in second["answers"])


def test_interrupted_schedule_goes_on_after_the_finished_lesson(base_dir, corpus_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(lessons_module, "_ANSWER_TOKENS", 6)
    brief = [{"device_sfreq_hz": 250, "epochs": 1}] * 2
    recipe = make_recipe(steps=None, schedule=brief, batch_size=32, lora={"r": 4, "dropout": 0.1})
    train_adapter(recipe, base_dir, corpus_dir, tmp_path / "whole")
    train, seen = Course._train, []

    def break_off(course, trained, steps, folder, seed):
        seen.append(folder.name)
        if folder.name == "lesson-2" and len(seen) == 2:
            raise KeyboardInterrupt
        return train(course, trained, steps, folder, seed)

    monkeypatch.setattr(Course, "_train", break_off)
    with pytest.raises(KeyboardInterrupt):
        train_adapter(recipe, base_dir, corpus_dir, tmp_path / "adapter")
    train_adapter(recipe, base_dir, corpus_dir, tmp_path / "adapter")
    assert seen == ["lesson-1", "lesson-2", "lesson-2"]
    name = "adapter_model.safetensors"
    assert hash_file(tmp_path / "adapter" / name) == hash_file(tmp_path / "whole" / name)


def test_lesson_without_rows_names_the_rates_there_are(base_dir, corpus_dir, tmp_path):
    recipe = make_recipe(steps=None, schedule=[{"device_sfreq_hz": 1000}])
    with pytest.raises(
        InputError, match=r"schedule, step 1: no training row of a device at 1000 Hz; the corpus has 250"
    ):
        train_adapter(recipe, base_dir, corpus_dir, tmp_path / "adapter")


@pytest.mark.parametrize("change", [{"steps": None}, {"schedule": PAPER}])
def test_either_steps_or_a_schedule(change):
    with pytest.raises(ValueError, match="expected either steps or schedule"):
        make_recipe(**change)


@pytest.mark.parametrize("base", ["tiny", "smollm2", "qwen2-0.5b"])
def test_paper_recipe_is_the_published_schedule(base):
    recipe = load_recipe(RECIPES / base / "adapter-paper.yaml", AdapterRecipe)
    assert [(lesson.device_sfreq_hz, lesson.epochs) for lesson in recipe.schedule] == [(250, 3)] * 4 + [(1000, 3)]
    assert recipe.learning_rate == 1e-5
    assert recipe.warmup_steps > 0
    assert recipe.trainer["weight_decay"] > 0

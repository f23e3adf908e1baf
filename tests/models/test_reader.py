"""The reader stage: its losses are those of plain reading, it learns, it can be interrupted, its folder is complete."""

import dataclasses
import json
import re

import factories
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2ForCausalLM

from dataset_builder.codecs import dump_codec
from dataset_builder.codecs.learned import EvidenceCodec, EvidenceConfig
from dataset_builder.corpus import CODEC_FILE, SCHEMA, load_codec, load_split
from dataset_builder.errors import InputError, RecipeError, StageError
from dataset_builder.manifest import hash_file, write_bytes
from dataset_builder.prompts import DEFAULT_STYLE, PromptConfig, get_style
from dataset_builder.recipe import load_recipe, validate
from dataset_builder.seeds import make_rng
from dataset_builder.stage import open_stage
from dataset_builder.types import EMOTIONS
from model_recipes.adapter import tokenize_rows
from model_recipes.bases.qwen2 import make_config, set_generation
from model_recipes.bases.tiny import train_tokenizer
from model_recipes.checkpoint import load_model, save_checked
from model_recipes.evaluation.readers import HFReader
from model_recipes.gguf import GgufRecipe, export_gguf, read_copilot_gguf
from model_recipes.lineage import find_training
from model_recipes.reader import PROMPT_FILE, ReaderRecipe, train_reader
from model_recipes.reading.batches import BatchMaker
from model_recipes.reading.draws import Item, RowDrawer, make_targets
from model_recipes.reading.judge import Judge
from model_recipes.reading.loop import Progress, Watch, _is_over
from model_recipes.reading.loss import compute_losses
from model_recipes.run_reader import RECIPES, main


def make_codec(**options):
    return EvidenceCodec(EvidenceConfig(**options))


def make_row(person, trial, codec, rng, style=DEFAULT_STYLE):
    """Return a row whose code leans to its emotion, not always."""
    number = trial % len(EMOTIONS)
    odds = rng.normal(-3.0, 1.2, len(EMOTIONS))
    odds[number] += 3.5
    code = codec.make_code(odds)
    clip = trial + 1
    return factories._make_row(
        factories.make_recording(f"sub{person:03d}", 9), codec, style, clip, EMOTIONS[number], code
    )


def make_corpus(folder, codec, n_train=6, style=DEFAULT_STYLE):
    """Write a synthetic corpus of evidence codes: nine clips, one of each emotion."""
    people = {"train": range(n_train), "validation": range(n_train, n_train + 2), "test": range(0)}
    with open_stage("corpus", folder, factories.NoRecipe(prompt=style.config), seed=0) as stage:
        stage.synthetic = True
        stage.facts["splits"] = {}
        for split, members in people.items():
            rng = make_rng(0, "evidence", split)
            rows = [make_row(person, trial, codec, rng, style) for person in members for trial in range(9)]
            (stage.folder / "data").mkdir(exist_ok=True)
            table = pa.Table.from_pylist(rows, schema=SCHEMA)
            pq.write_table(table, stage.folder / "data" / f"{split}-00000-of-00001.parquet")
            stage.facts["splits"][split] = {"rows": len(rows), "subjects": len(members)}
        write_bytes(stage.folder / CODEC_FILE, dump_codec(codec))
    return folder


def make_base(folder, corpus, vocab=768):
    """Write a random two-layer model whose tokenizer knows the corpus's words."""
    words = [turn["content"] for messages in load_split(corpus, "train")["messages"] for turn in messages]
    words += ["".join(load_codec(corpus).alphabet)] * 200
    tokenizer = train_tokenizer([factories.make_text().fit, *words], vocab)
    torch.manual_seed(0)
    shape = dataclasses.replace(factories.TINY_SHAPE, vocab=vocab)
    model = Qwen2ForCausalLM(make_config(shape, 1024, 10_000.0, tokenizer))
    set_generation(model, tokenizer)
    with open_stage("base", folder, factories.NoRecipe(), seed=0) as stage:
        stage.facts |= {"base": {"name": "factory", "licence": "apache-2.0"}}
        stage.facts["model"] = save_checked(model, tokenizer, stage.folder)
    return folder


def make_recipe(**changes):
    loop = {"steps": 4, "batch_size": 4, "window": 640, "learning_rate": 3e-3, "warmup_steps": 2, "checkpoint_every": 2}
    loop |= changes.pop("train", {})
    return validate(ReaderRecipe, {"train": loop, "precision": "fp32", "check_every": 2} | changes, where="test")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("evidence") / "corpus", make_codec())


@pytest.fixture(scope="module")
def base(tmp_path_factory, corpus):
    return make_base(tmp_path_factory.mktemp("reader") / "base", corpus)


@pytest.fixture(scope="module")
def loaded(base, corpus):
    model, tokenizer = load_model(base)
    return model, tokenizer, load_codec(corpus), load_split(corpus, "train").to_list()


@pytest.fixture(scope="module")
def reader(tmp_path_factory, base, corpus):
    out = tmp_path_factory.mktemp("trained") / "reader"
    train_reader(make_recipe(), base, corpus, out)
    return out


def make_items(rows, codec, count=5):
    drawer = RowDrawer(rows, codec, "code", 0.5, seed=3)
    return drawer.draw(0, count)


def make_hard_items(rows, codec):
    hard = np.eye(9)
    return [
        Item(row, codec.from_text(row["code"]), hard[EMOTIONS.index(row["emotion"])], row["emotion"]) for row in rows
    ]


@torch.no_grad()
def test_losses_equal_those_of_reading_whole_rows(loaded):
    """Shared prefix, filling and picking of positions change nothing: against one row at a time, without a cache."""
    model, tokenizer, codec, rows = loaded
    maker = BatchMaker(tokenizer, DEFAULT_STYLE, codec, 640, running=True)
    items = make_items(rows, codec)
    batch = maker.make(items, with_text=True)
    assert batch.shared.shape[1] > 50, "the system turn is read once"
    label, running, text, words = [], [], 0.0, 0
    for i, item in enumerate(items):
        alone = maker.make([item], with_text=True)
        ids = torch.cat([alone.shared, alone.ids], dim=1)
        logs = model(ids, use_cache=False).logits[0].double().log_softmax(dim=-1)
        start = len(tokenizer.apply_chat_template(maker._render_prompt(item), add_generation_prompt=True)["input_ids"])
        first = start + len(maker.prefix)
        label.append(-sum(p * logs[first - 1, path[0]] for p, path in zip(item.target, maker.paths, strict=True)))
        answer = ids[0, start:].tolist()
        path = maker.paths[EMOTIONS.index(item.emotion)]
        assert answer[len(maker.prefix) : len(maker.prefix) + len(path)] == path
        kept = [k for k in range(start, ids.shape[1]) if not first <= k < first + len(path)]
        text -= sum(logs[k - 1, ids[0, k]] for k in kept)
        words += len(kept)
        tokens = [path[0] for path in maker.paths]
        for letter, target in zip(batch.letters_at[i] + batch.shared.shape[1], batch.running[i], strict=True):
            running.append(-(target * logs[letter][tokens].log_softmax(dim=-1)).sum())
    found = compute_losses(model, batch)
    assert found.label.item() == pytest.approx(float(sum(label)) / len(items), abs=1e-4)
    assert found.text.item() == pytest.approx(float(text) / words, abs=1e-4)
    assert found.running.item() == pytest.approx(float(sum(running)) / len(running), abs=1e-4)


def test_gradients_flow_through_the_shared_prefix(loaded):
    model, tokenizer, codec, rows = loaded
    maker = BatchMaker(tokenizer, DEFAULT_STYLE, codec, 640)
    items = make_items(rows, codec, 3)

    def find_gradient(batches):
        model.zero_grad()
        sum(compute_losses(model, batch).label * len(batch.ids) for batch in batches).backward()
        return torch.cat([p.grad.ravel() for p in model.parameters()])

    together = find_gradient([maker.make(items, with_text=False)])
    alone = find_gradient([maker.make([item], with_text=False) for item in items])
    assert together.abs().max() > 1e-3
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-3)
    model.zero_grad(set_to_none=True)


def test_rows_are_those_of_the_adapter_stage(loaded, corpus):
    model, tokenizer, codec, rows = loaded
    maker = BatchMaker(tokenizer, DEFAULT_STYLE, codec, 640)
    known = tokenize_rows(load_split(corpus, "train"), tokenizer, 640)["input_ids"]
    for ids, item in list(zip(known, make_hard_items(rows, codec), strict=True))[:12]:
        batch = maker.make([item], with_text=True)
        assert torch.cat([batch.shared, batch.ids], dim=1)[0].tolist() == ids
        assert batch.n_tokens == len(ids)


@pytest.mark.parametrize("layout", ["lines", "bare"])
def test_letters_are_found_in_every_layout(tmp_path, layout):
    codec = make_codec(layout=layout)
    corpus = make_corpus(tmp_path / "corpus", codec, n_train=2)
    _, tokenizer = load_model(make_base(tmp_path / "base", corpus))
    items = make_items(load_split(corpus, "train").to_list(), codec)
    batch = BatchMaker(tokenizer, DEFAULT_STYLE, codec, 640, running=True).make(items, with_text=False)
    for ids, places, item in zip(batch.ids, batch.letters_at, items, strict=True):
        told = [tokenizer.decode(ids[place]).strip() for place in places]
        assert told == [codec.alphabet[level].strip() for level in item.code.values]
    torch.testing.assert_close(batch.running[:, -1], torch.tensor(np.stack([i.target for i in items])).float())
    assert torch.equal(batch.running[:, 0, 0], torch.ones(len(items)))


def test_names_of_several_tokens_split_the_target(tmp_path):
    """With so small a vocabulary names begin alike; the product over a name's tokens is its probability."""
    codec = make_codec()
    corpus = make_corpus(tmp_path / "corpus", codec, n_train=2)
    tokenizer = train_tokenizer([factories.make_text().fit], 264)
    maker = BatchMaker(tokenizer, DEFAULT_STYLE, codec, 2000)
    assert not maker.parts_at_once
    (item,) = make_items(load_split(corpus, "train").to_list(), codec, 1)
    path = maker.paths[EMOTIONS.index(item.emotion)]
    batch = maker.make([item], with_text=True)
    kept = [i for i in range(len(path)) if batch.label_weights[0, i].sum() > 0]
    product = 1.0
    for i in kept:
        same = batch.label_tokens[0, i] == path[i]
        product *= batch.label_weights[0, i][same].sum().item()
    assert len(kept) == len(path) > 1
    assert product == pytest.approx(item.target[EMOTIONS.index(item.emotion)], rel=1e-5)
    read = [batch.ids[0, place + 1].item() for place in batch.label_at[0, : len(path)]]
    assert read == path


def test_mixes_keep_the_spread_and_the_clip(loaded):
    *_, codec, rows = loaded
    drawer = RowDrawer(rows, codec, "code", 1.0, seed=1)
    items = [item for step in range(40) for item in drawer.draw(step, 9)]
    mixed = np.stack([codec.decode(item.code) for item in items])
    clips = np.array([item.row["clip"] for item in items])
    own = np.array([row["clip"] for row in rows])
    for clip in (1, 5):
        inside, true = mixed[clips == clip], drawer.values[own == clip]
        assert np.abs(inside.mean(axis=0) - true.mean(axis=0)).max() < 0.8
        assert inside.std(axis=0).mean() == pytest.approx(true.std(axis=0).mean(), rel=0.25)
    assert sum(item.row["code"] != codec.to_text(item.code) for item in items) > 0.8 * len(items)
    for item in items:
        np.testing.assert_allclose(item.target, codec.read_probabilities(item.code), atol=1e-9)


def test_a_step_draws_the_same_whenever_it_is_asked(loaded):
    *_, codec, rows = loaded
    one, other = (RowDrawer(rows, codec, "code", 0.5, seed=1) for _ in range(2))
    one.draw(0, 8)
    told = [[(codec.to_text(i.code), i.emotion, i.row["row_id"]) for i in d.draw(3, 8)] for d in (one, other)]
    assert told[0] == told[1]
    assert told[0] != [(codec.to_text(i.code), i.emotion, i.row["row_id"]) for i in one.draw(4, 8)]


def test_probe_targets_never_saw_the_subject(loaded, monkeypatch):
    *_, codec, rows = loaded
    met = []

    class Spy:
        def __init__(self, codec, rows):
            self.subjects = {row["subject"] for row in rows}

        def score(self, rows):
            met.append(self.subjects & {row["subject"] for row in rows})
            return np.full((len(rows), 9), 1.0)

    monkeypatch.setattr("model_recipes.reading.draws.LinearProbe", Spy)
    targets = make_targets("probe", rows, codec, [])
    assert len(met) == 6
    assert not any(met)
    np.testing.assert_allclose(targets, 1 / 9)


def test_hard_target_is_the_intended_emotion(loaded):
    *_, codec, rows = loaded
    targets = make_targets("hard", rows, codec, [])
    assert [EMOTIONS[i] for i in targets.argmax(axis=1)] == [row["emotion"] for row in rows]
    assert set(targets.ravel()) == {0.0, 1.0}


def test_code_that_states_nothing_is_refused(base_dir, corpus_dir, tmp_path):
    with pytest.raises(
        RecipeError, match=r"label_target code: codec band_power states no probabilities; accepted: probe"
    ):
        train_reader(make_recipe(mixed_rows=0.0), base_dir, corpus_dir, tmp_path / "reader")
    with pytest.raises(RecipeError, match=r"mixed_rows 0\.5: codec band_power cannot mix"):
        train_reader(make_recipe(label_target="hard"), base_dir, corpus_dir, tmp_path / "reader")
    with pytest.raises(StageError, match="running_weight: the code is not nine letters"):
        train_reader(make_recipe(label_target="hard", mixed_rows=0.0), base_dir, corpus_dir, tmp_path / "reader")
    assert not (tmp_path / "reader").exists()


def test_any_codec_can_be_read_with_hard_labels(base_dir, corpus_dir, tmp_path):
    recipe = make_recipe(label_target="hard", mixed_rows=0.0, running_weight=0.0)
    manifest = train_reader(recipe, base_dir, corpus_dir, tmp_path / "reader")
    assert manifest.facts["steps"] == 4
    assert manifest.synthetic


def test_too_long_a_row_stops_the_stage(base, corpus, tmp_path):
    with pytest.raises(StageError, match=r"tokens with its answer; train\.window is 64"):
        train_reader(make_recipe(train={"window": 64}), base, corpus, tmp_path / "reader")


def test_reader_folder_is_complete(reader, corpus):
    manifest = json.loads((reader / "manifest.json").read_text())
    assert {item["name"] for item in manifest["outputs"]} >= {"model.safetensors", CODEC_FILE, PROMPT_FILE}
    assert (reader / CODEC_FILE).read_bytes() == (corpus / CODEC_FILE).read_bytes()
    prompt = validate(PromptConfig, json.loads((reader / PROMPT_FILE).read_text()), where="prompt")
    assert get_style(prompt).config == DEFAULT_STYLE.config
    assert AutoModelForCausalLM.from_pretrained(reader).config.model_type == "qwen2"
    training = find_training(reader)
    assert training is not None
    assert training.held_out_fold is None
    assert training.corpus_sha256 == hash_file(corpus / "manifest.json")
    facts = manifest["facts"]
    assert facts["steps"] == facts["kept_step"] == 4
    assert facts["tokens"] > 4 * 4 * 100
    assert facts["tokens_per_second"] > 0
    assert [step for step, _ in facts["validation_label_loss"]] == [2, 4]
    assert not (reader / "checkpoints").exists()


def test_reader_learns_to_read_codes(tmp_path):
    """The nine trials of one person differ in their code alone, so the labels can only be told from it."""
    corpus = make_corpus(tmp_path / "corpus", make_codec(levels=9), n_train=1)
    base = make_base(tmp_path / "base", corpus)
    steps = {"steps": 60, "batch_size": 9, "learning_rate": 6e-3, "warmup_steps": 5, "checkpoint_every": 60}
    recipe = make_recipe(train=steps, label_target="hard", mixed_rows=0.0, running_weight=0.0, text_from=0.8)
    facts = train_reader(recipe, base, corpus, tmp_path / "reader").facts
    assert facts["loss"][-1][1] < 1.0 < np.log(9), "better than naming all emotions alike"
    assert [value for _, value in facts["text_loss"][:48]] == [0.0] * 48
    assert facts["text_loss"][-1][1] < 0.85 * facts["text_loss"][48][1]


def test_interrupted_reader_ends_as_the_uninterrupted_one(reader, base, corpus, tmp_path, monkeypatch):
    draw = RowDrawer.draw

    def break_off(drawer, step, count):
        if step == 3:
            raise KeyboardInterrupt
        return draw(drawer, step, count)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RowDrawer, "draw", break_off)
        train_reader(make_recipe(), base, corpus, tmp_path / "reader")
    manifest = train_reader(make_recipe(), base, corpus, tmp_path / "reader")
    assert manifest.facts["steps"] == 4
    assert hash_file(tmp_path / "reader/model.safetensors") == hash_file(reader / "model.safetensors")


def test_early_stopping_keeps_the_best_weights(base, corpus, tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, 1.0, 1.5, 1.2, 0.1])
    weights = []

    def measure(judge, rows):
        weights.append(judge.model.model.norm.weight.detach().clone())
        return next(losses)

    monkeypatch.setattr(Judge, "measure_loss", measure)
    recipe = make_recipe(train={"steps": 12}, patience=2, text_from=0.25)
    manifest = train_reader(recipe, base, corpus, tmp_path / "reader")
    assert manifest.facts["steps"] == 10
    assert manifest.facts["kept_step"] == 6
    assert "chosen by their label loss on validation subjects" in manifest.notes[0]
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "reader").model.norm.weight
    torch.testing.assert_close(saved, weights[2])
    assert not torch.equal(saved, weights[3])


def test_patience_counts_looks_after_the_best():
    watch = Watch(lambda: 0.0, every=1, start=2, patience=2)
    looks = [[2, 1.0], [3, 1.1]]
    assert not _is_over(Progress(checks=looks, best=[2, 1.0]), watch)
    assert _is_over(Progress(checks=[*looks, [4, 1.2]], best=[2, 1.0]), watch)
    assert not _is_over(Progress(checks=looks), None)


def test_scores_are_those_of_the_evaluation(reader, corpus):
    model, tokenizer = load_model(reader)
    rows = load_split(corpus, "validation").to_list()
    judge = Judge(model, BatchMaker(tokenizer, DEFAULT_STYLE, load_codec(corpus), 640), rows)
    np.testing.assert_allclose(judge.score(rows), HFReader.open(reader).score(rows), atol=1e-5)
    metric = next(m for m in judge.measure({row["clip"] for row in rows}, seed=1) if m.name == "accuracy")
    right = [EMOTIONS[i] == row["emotion"] for i, row in zip(judge.score(rows).argmax(axis=1), rows, strict=True)]
    assert metric.value == pytest.approx(np.mean(right))
    assert {m.protocol for m in judge.measure(set(), seed=1)} == {"unseen subjects and clips"}


def test_names_that_begin_alike_are_scored_whole(tmp_path, loaded):
    model, _, codec, rows = loaded
    judge = Judge(model, BatchMaker(train_tokenizer([factories.make_text().fit], 264), DEFAULT_STYLE, codec, 2000), [])
    scores = judge.score(rows[:2])
    losses = [judge.measure_loss([rows[0] | {"emotion": emotion}]) for emotion in EMOTIONS]
    expected = np.exp(-np.array(losses))
    np.testing.assert_allclose(scores[0], expected / expected.sum(), atol=1e-5)


def test_command_prints_the_result(base, corpus, tmp_path, capsys):
    changes = [f"--set=train.{key}" for key in ("steps=2", "batch_size=2", "window=640", "warmup_steps=1")]
    out = tmp_path / "reader"
    changes.append("--set=held_out_fold=1")
    assert main(["--base", str(base), "--corpus", str(corpus), "--out", str(out), *changes]) == 0
    printed = capsys.readouterr().out
    assert "36 rows, 2 steps" in printed
    assert "unseen subjects and clips, validation: balanced accuracy" in printed
    assert re.search(
        r"unseen subjects, validation: balanced accuracy .*\n  these clips were in training: most", printed
    )
    assert not re.search(r"unseen subjects and clips, .*\n  these clips were in training", printed)


def test_recipe_of_the_tiny_reader_reads_before_it_writes():
    recipe = load_recipe(RECIPES / "tiny/reader.yaml", ReaderRecipe)
    assert 0 < recipe.text_start < recipe.train.steps
    assert recipe.label_target == "code"


def test_gguf_of_a_reader_tells_its_codec_and_training(reader, corpus, tmp_path):
    recipe = GgufRecipe(name="reader", types=["F16"], parity_prompts=1, perplexity_windows=2)
    export_gguf(recipe, reader, corpus, tmp_path / "gguf")
    file = tmp_path / "gguf/reader-F16.gguf"
    found = read_copilot_gguf(file)
    assert dump_codec(found.codec) == (reader / CODEC_FILE).read_bytes()
    assert found.prompt == DEFAULT_STYLE.config
    assert find_training(file) == find_training(reader)


def test_codec_as_an_array_of_bytes_is_still_read(reader, tmp_path, monkeypatch):
    """Files of format 1 hold the codec so; text that is no codec is refused with one line."""
    data = (reader / CODEC_FILE).read_bytes()
    keys = dict.fromkeys(("general.name", "eeg_copilot.version", "eeg_copilot.facts", "eeg_copilot.corpus"), "{}")
    keys |= {"eeg_copilot.synthetic": True, "eeg_copilot.file_type": "F16", "eeg_copilot.format": 1}
    monkeypatch.setattr("model_recipes.exporting.gguf_file.read_header", lambda *_: keys)
    keys["eeg_copilot.codec"] = np.frombuffer(data, dtype=np.uint8)
    assert dump_codec(read_copilot_gguf(tmp_path / "old.gguf").codec) == data
    keys["eeg_copilot.codec"] = "not base64!"
    with pytest.raises(InputError, match=r"old\.gguf: eeg_copilot\.codec is not a codec; export it again"):
        read_copilot_gguf(tmp_path / "old.gguf")
    keys["eeg_copilot.format"] = 3
    with pytest.raises(InputError, match="eeg_copilot.format is 3; this version reads"):
        read_copilot_gguf(tmp_path / "old.gguf")

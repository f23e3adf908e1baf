"""Read and write model folders, and prove that what was written is what was meant."""

import contextlib
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, Qwen2ForCausalLM
from transformers.utils import logging as transformers_logging

from dataset_builder.errors import InputError, StageError
from dataset_builder.manifest import read_manifest
from dataset_builder.seeds import derive_seed
from model_recipes.bases.qwen2 import Shape, read_shape

if TYPE_CHECKING:
    from peft import PeftModel

#: Largest difference of logits between a model and its copy read back from disk.
RELOAD_TOLERANCE = 1e-5

#: What a damaged folder makes Transformers, safetensors or the tokenizer raise.
_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError)

#: Strings on which a tokenizer must agree with its copy read back: digits, spaces, marks, scripts, quotes, turns.
HARD_STRINGS = (
    "delta 012345678\nalpha 999",
    '{"emotion": "joy", "assessment": "x"}',
    "  lead  \n\n x\t\ty \r\n",
    "don't DON'T we'll 'S x'Re",
    "é e\u0301 한국어 中文 ½ ² 🙂",
    "<|im_start|>user\nhi<|im_end|>\n",
)


def load_model(
    folder: str | Path, device: torch.device | None = None
) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerBase]:
    """Read a finished model folder in fp32, ready for inference.

    Parameters
    ----------
    folder : str or Path
        Folder of a finished stage with a model.
    device : torch.device, optional
        Default: the processor.

    Raises
    ------
    InputError
        If the folder is not a finished stage or holds no Qwen2 model.
    """
    folder = Path(folder)
    read_manifest(folder)
    try:
        with quiet_transformers():
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # a damaged folder raises nearly anything
        raise InputError(f"{folder.name}: cannot be read as a model ({type(error).__name__})") from None
    if not isinstance(model, Qwen2ForCausalLM):
        raise InputError(f"{folder.name}: is a {type(model).__name__}; accepted: Qwen2ForCausalLM")
    return model.to(device or torch.device("cpu")).eval(), tokenizer


def load_adapter(model: PreTrainedModel, adapter_dir: str | Path) -> "PeftModel":
    """Put an adapter on a model; of its folder only safetensors are read, never a pickle.

    Raises
    ------
    InputError
        If the folder holds no adapter in safetensors, or one that does not fit.
    """
    from peft import PeftModel  # half a second that most stages do not need

    folder = Path(adapter_dir)
    if not (folder / "adapter_model.safetensors").is_file():
        raise InputError(f"{folder.name}: holds no adapter_model.safetensors")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT 0.21 asks Transformers by a name that goes away
            return PeftModel.from_pretrained(model, str(folder))
    except Exception as error:  # a damaged folder raises nearly anything
        raise InputError(f"{folder.name}: cannot be read as an adapter ({type(error).__name__})") from None


def read_base_facts(folder: str | Path) -> dict[str, Any]:
    """Return what the first stage wrote of the base (name, licence ...), which every later stage passes on."""
    return dict(read_manifest(folder).facts.get("base", {}))


def save_checked(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> dict[str, Any]:
    """Save model and tokenizer, read them back the plain way and compare.

    Parameters
    ----------
    model : Qwen2ForCausalLM
    tokenizer : PreTrainedTokenizerBase
    folder : Path
        The open folder of a stage.

    Returns
    -------
    dict
        ``parameters``, ``bytes`` (of the weights file), ``shape``, ``tied``, ``reload_max_difference`` (logits).

    Raises
    ------
    StageError
        If anything that `find_faults` looks at differs after reading back; the folder is removed then.
    """
    model = model.to(device=torch.device("cpu"), dtype=torch.float32).eval()
    faults, difference = _save_and_compare(model, tokenizer, folder)
    if faults:
        shutil.rmtree(folder)
        raise StageError(f"saved model: {'; '.join(faults)}")
    return describe_model(model) | {
        "bytes": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        "reload_max_difference": difference,
    }


def _save_and_compare(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> tuple[list[str], float]:
    """Return what differs after reading back, and the largest difference of logits."""
    plain = {"local_files_only": True, "trust_remote_code": False}
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        try:
            copy, loading = AutoModelForCausalLM.from_pretrained(
                folder, output_loading_info=True, use_safetensors=True, **plain
            )
            copied_tokenizer = AutoTokenizer.from_pretrained(folder, **plain)
            faults = [f"{kind.replace('_', ' ')}: {loading[kind]}" for kind in sorted(loading) if loading[kind]]
            faults = faults or find_faults(model, copy, tokenizer, copied_tokenizer)
            difference = compare_logits(model, copy) if not faults else float("inf")
        except _UNREADABLE as error:
            return [f"the saved folder cannot be loaded ({type(error).__name__})"], float("inf")
    if not faults and not difference <= RELOAD_TOLERANCE:
        faults = [f"logits differ by {difference:.2g} after reading back; accepted: {RELOAD_TOLERANCE:g}"]
    return faults, difference


def find_faults(
    model: PreTrainedModel, copy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, copied: PreTrainedTokenizerBase
) -> list[str]:
    """Return in words what differs between a model with tokenizer and their copies read back.

    Class, tie, number of parameters, names, shapes and values of all tensors, ids and text of `HARD_STRINGS`, and a
    rendered chat. Logits are compared by `save_checked`: equal weights under another config still differ there.
    """
    faults = []
    if not isinstance(copy, Qwen2ForCausalLM):
        return [f"reads back as {type(copy).__name__}, not Qwen2ForCausalLM"]
    if is_tied(copy) != read_shape(model).tied:
        faults.append("the tie between embedding and output layer is broken")
    if read_shape(copy).parameters != count_parameters(copy):
        faults.append(f"{count_parameters(copy)} parameters, but its config tells {read_shape(copy).parameters}")
    weights, copied_weights = dict(model.named_parameters()), dict(copy.named_parameters())
    if {n: p.shape for n, p in weights.items()} != {n: p.shape for n, p in copied_weights.items()}:
        faults.append("tensors differ in name or shape after reading back")
    elif changed := [name for name, weight in weights.items() if not torch.equal(weight, copied_weights[name])]:
        faults.append(f"{len(changed)} tensors read back with other numbers, the first is {changed[0]}")
    return faults + _find_tokenizer_faults(tokenizer, copied)


def _find_tokenizer_faults(tokenizer: PreTrainedTokenizerBase, copied: PreTrainedTokenizerBase) -> list[str]:
    faults = []
    ids = [copied.encode(text) for text in HARD_STRINGS]
    if [tokenizer.encode(text) for text in HARD_STRINGS] != ids:
        faults.append("the tokenizer gives other ids after reading back")
    elif [tokenizer.decode(each) for each in ids] != [copied.decode(each) for each in ids]:
        faults.append("the tokenizer gives other text after reading back")
    if copied.chat_template != tokenizer.chat_template:
        faults.append("the chat template is lost or changed after reading back")
    elif tokenizer.chat_template and _encode_chat(tokenizer) != _encode_chat(copied):
        faults.append("a chat becomes other tokens after reading back")
    return faults


def _encode_chat(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    turns = [{"role": "user", "content": "hi"}]
    return list(tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"])


@torch.no_grad()
def compare_logits(one: PreTrainedModel, other: PreTrainedModel, length: int = 48) -> float:
    """Return the largest absolute difference of two models' logits on random tokens; NaN counts as infinite."""
    generator = torch.Generator().manual_seed(derive_seed(0, "compare logits"))
    ids = torch.randint(one.config.vocab_size, (2, length), generator=generator)
    logits = [model(ids.to(model.device), use_cache=False).logits.float().cpu() for model in (one, other)]
    return torch.nan_to_num((logits[0] - logits[1]).abs(), nan=torch.inf).max().item()


def describe_model(model: PreTrainedModel) -> dict[str, Any]:
    """Return parameters, shape and tie of a model as facts for a manifest."""
    shape: Shape = read_shape(model)
    return {"parameters": count_parameters(model), "shape": shape.as_dict(), "tied": is_tied(model)}


def count_parameters(model: PreTrainedModel) -> int:
    """Return the number of parameters, a tied pair counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def is_tied(model: PreTrainedModel) -> bool:
    """Tell whether embedding and output layer are one tensor."""
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the progress bars and notices of Transformers inside the block; errors still raise."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()

"""Importance matrix: which columns of each weight matrix are multiplied with large activations.

Computed in PyTorch from what the copilot really reads and writes, and stored as ``llama-imatrix`` stores it, so that
llama.cpp's own tools can use the file: per matrix the sum over tokens of the squared input, and the number of tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH, GGUFWriter, Keys, get_tensor_name_map
from pydantic import Field
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dataset_builder.errors import StageError
from dataset_builder.recipe import StrictModel
from model_recipes.perplexity import cut_windows
from model_recipes.rows import load_rows
from model_recipes.text import TextConfig, load_text

#: Tokens that count as one chunk, and the longest piece that is read at once.
CHUNK = 512


class ImatrixConfig(StrictModel):
    """What an importance matrix is computed from.

    Parameters
    ----------
    conversations : int
        At most so many training conversations (prompt and answer in the chat template), spread over the split.
    text : TextConfig, optional
        General text to read as well, its first part.
    text_windows : int
        So many windows of 512 tokens of it.
    """

    conversations: int = Field(default=64, ge=1)
    text: TextConfig | None = None
    text_windows: int = Field(default=16, ge=1)


@dataclass(frozen=True)
class Imatrix:
    """An importance matrix.

    Parameters
    ----------
    sums : dict of str to ndarray of shape (n_columns,), float32
        GGUF name of a weight matrix -> sum over tokens of the squared input.
    n_tokens : int
        How many tokens were read.
    datasets : list of str
        What was read, in words.
    file : str
        Name of the file that keeps it.
    """

    sums: dict[str, np.ndarray]
    n_tokens: int
    datasets: list[str]
    file: str = "model.imatrix"

    @property
    def n_chunks(self) -> int:
        """Number of chunks of 512 tokens, the last one perhaps shorter."""
        return -(-self.n_tokens // CHUNK)

    def weights(self, name: str) -> np.ndarray | None:
        """Return the mean squared input of a matrix, shape (n_columns,), or None if none was measured."""
        found = self.sums.get(name)
        return None if found is None else found / np.float32(self.n_tokens)


def make_imatrix(
    config: ImatrixConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpus_dir: str | Path,
    held_out_fold: int | None,
) -> Imatrix:
    """Compute an importance matrix from training conversations and, if asked for, general text.

    Parameters
    ----------
    config : ImatrixConfig
    model, tokenizer
        As Transformers loads them.
    corpus_dir : str or Path
    held_out_fold : int or None
        Clips that the model was not trained on are not read here either.

    Raises
    ------
    InputError
        If the corpus has no training row, or the text is too short.
    StageError
        If an activation is not a finite number.
    """
    rows = load_rows(corpus_dir, "train", held_out_fold)
    picks = np.unique(np.linspace(0, len(rows) - 1, config.conversations).round().astype(int))
    turns = rows.select(picks)["messages"]
    texts = [tokenizer.apply_chat_template(messages, tokenize=False) for messages in turns]
    pieces = [torch.tensor(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    datasets = [f"{len(pieces)} training conversations"]
    if config.text is not None:
        text = load_text(config.text)
        windows = cut_windows(tokenizer, text.fit, CHUNK, name=text.name)[: config.text_windows]
        pieces += list(windows)
        datasets.append(f"{text.name}, {len(windows)} windows")
    return measure_imatrix(model, pieces, datasets)


@torch.inference_mode()
def measure_imatrix(model: PreTrainedModel, pieces: Sequence[torch.Tensor], datasets: list[str]) -> Imatrix:
    """Sum the squared inputs of every matrix in the layers; embedding and output matrix have none, as in llama.cpp.

    Parameters
    ----------
    model : PreTrainedModel
    pieces : sequence of Tensor of shape (n_tokens,), int64
    datasets : list of str
    """
    sums: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(_: Any, args: tuple[torch.Tensor, ...]) -> None:
            squares = args[0].flatten(0, -2).double().square().sum(dim=0).cpu()
            sums[name] = sums[name] + squares if name in sums else squares

        return hook

    names = get_tensor_name_map(MODEL_ARCH.QWEN2, model.config.num_hidden_layers)
    handles = [
        module.register_forward_pre_hook(watch(f"{names.get_name(path)}.weight"))
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and path.startswith("model.layers.")
    ]
    try:
        for piece in tqdm(pieces, desc="importance matrix", unit="text", leave=False):
            model.model(piece[None].to(model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    if not all(torch.isfinite(value).all() for value in sums.values()):
        raise StageError("importance matrix: an activation is not a finite number; are the weights damaged?")
    stored = {name: sums[name].numpy().astype(np.float32) for name in sorted(sums)}
    return Imatrix(stored, n_tokens=sum(len(piece) for piece in pieces), datasets=datasets)


def write_imatrix(path: Path, imatrix: Imatrix) -> None:
    """Write an importance matrix in llama.cpp's GGUF form (tools/imatrix: ``X.in_sum2`` and ``X.counts``)."""
    writer = GGUFWriter(path, "")
    writer.kv_data[0].clear()  # such a file has no architecture
    writer.add_type("imatrix")
    writer.add_array(Keys.IMatrix.DATASETS, imatrix.datasets)
    writer.add_uint32(Keys.IMatrix.CHUNK_COUNT, imatrix.n_chunks)
    writer.add_uint32(Keys.IMatrix.CHUNK_SIZE, CHUNK)
    for name, sums in imatrix.sums.items():
        writer.add_tensor(f"{name}.in_sum2", sums[None])
        writer.add_tensor(f"{name}.counts", np.array([[imatrix.n_tokens]], dtype=np.float32))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()

"""How far the weights in a GGUF file lie from the model's, tensor by tensor.

Answers to a few prompts hardly show that one matrix of a later layer is wrong; its weights do, in every file type.
"""

from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

from dataset_builder.manifest import Metric
from model_recipes.exporting.model import ModelFolder


def measure_weight_error(path: Path, file_type: str, model: ModelFolder) -> tuple[Metric, str]:
    """Read every tensor of a GGUF file back and compare it with the model's.

    Parameters
    ----------
    path : Path
        GGUF file of `model`.
    file_type : str
    model : ModelFolder

    Returns
    -------
    metric : Metric
        ``weight_error``: of the tensor where it is largest, the root mean square of the difference over that of the
        weights; infinite where weights should be zero and are not.
    tensor : str
        GGUF name of that tensor.
    """
    errors = {}
    for tensor in GGUFReader(path).tensors:
        found = dequantize(tensor.data, tensor.tensor_type)
        errors[tensor.name] = compare_weights(model.read(tensor.name).ravel(), found.ravel())
    worst = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    metric = Metric(
        name="weight_error",
        value=errors[worst],
        n=len(errors),
        unit="tensors",
        split="all weights",
        reader=f"GGUF {file_type}",
        method="root mean square of the difference from the model's weights over theirs; largest of all tensors",
    )
    return metric, worst


def compare_weights(weights: np.ndarray, found: np.ndarray) -> float:
    """Return the root mean square of the difference of two arrays over that of the first; NaN if one is no number."""
    difference, size = np.linalg.norm(found - weights), np.linalg.norm(weights)
    return float(difference / size) if size else float(difference and np.inf)

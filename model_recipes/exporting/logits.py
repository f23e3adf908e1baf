"""Logits of a GGUF file as llama.cpp computes them, at every position of a text.

llama.cpp answers requests with one position's probabilities at a time, slowly for a large vocabulary. It also gives the
last hidden state of every token at once; the output matrix, read from the same file, turns these into logits. What this
leaves out, the product with the output matrix in llama.cpp itself, is asked for at single positions
(`GgufRuntime.ask_last`).
"""

from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import numpy as np
import torch
import xllamacpp
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from model_recipes.exporting.header import read_tensor
from model_recipes.runtime.errors import EngineError
from model_recipes.runtime.server import LocalServer


class GgufRuntime:
    """A GGUF file that can be called like a Transformers model in evaluation.

    Parameters
    ----------
    path : Path
        GGUF file.
    n_ctx : int
        Tokens of the longest text.
    adapter : Path, optional
        GGUF file of a LoRA adapter to put on it.

    Raises
    ------
    EngineError
        If llama.cpp cannot load a file.
    """

    training = False
    device = torch.device("cpu")

    def __init__(self, path: Path, n_ctx: int = 2048, adapter: Path | None = None) -> None:
        self.path, self.n_ctx, self.adapter = path, n_ctx, adapter
        self._server: LocalServer = _HiddenStates(path, n_ctx, adapter)
        self._output = torch.tensor(_read_output(path)).T

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()

    def eval(self) -> Self:
        """Do nothing; Transformers models have this."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Do nothing; Transformers models have this."""
        return self

    def __call__(self, ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        """Return ``logits`` of shape (n_texts, length, n_vocab), float32, for ids of shape (n_texts, length)."""
        return SimpleNamespace(logits=torch.stack([self.read(row.tolist()) for row in ids]))

    def read(self, ids: list[int]) -> torch.Tensor:
        """Return the logits after every token of a text.

        Parameters
        ----------
        ids : list of int

        Returns
        -------
        Tensor of shape (n_tokens, n_vocab), float32

        Raises
        ------
        EngineError
            If llama.cpp gives no hidden state for a token.
        """
        answer: Any = self._server.post("/embedding", {"content": ids, "embd_normalize": -1})
        hidden = torch.tensor(answer[0]["embedding"], dtype=torch.float32)
        if hidden.shape != (len(ids), len(self._output)):
            raise EngineError(f"{self.path.name}: llama.cpp gave {len(hidden)} hidden states for {len(ids)} tokens")
        return hidden @ self._output

    def ask_last(self, texts: list[list[int]]) -> torch.Tensor:
        """Return log-probabilities after the last token of each text, output matrix in llama.cpp included.

        llama.cpp normalises in float32, which is off by 2e-4 for 49 thousand tokens; here they are normalised again.

        Returns
        -------
        Tensor of shape (n_texts, n_vocab), float64
        """
        n_vocab = self._output.shape[1]
        server = _Plain(self.path, self.n_ctx, self.adapter)
        found = torch.full((len(texts), n_vocab), -torch.inf, dtype=torch.float64)
        request: dict[str, Any] = {
            "n_predict": 1,
            "n_probs": n_vocab,
            "post_sampling_probs": False,
            "samplers": [],
        }
        try:
            # Drawing this token changes no probability; after an end mark or half a letter llama.cpp gives none.
            (letter,) = server.post("/tokenize", {"content": "a"})["tokens"]
            request["logit_bias"] = [[letter, 1000.0]]
            for row, ids in enumerate(texts):
                answer = server.post("/completion", {**request, "prompt": ids})
                items = answer["completion_probabilities"][0]["top_logprobs"]
                places = torch.tensor([item["id"] for item in items])
                found[row, places] = torch.tensor([item["logprob"] for item in items], dtype=torch.float64)
        finally:
            server.close()
        return found.log_softmax(dim=-1)


class _Plain(LocalServer):
    """A server with an adapter on the model, or none."""

    def __init__(self, path: Path, n_ctx: int, adapter: Path | None) -> None:
        self._adapter = adapter
        super().__init__(path, 1, n_ctx)

    def _make_params(self, path: Path, n_threads: int, n_ctx: int) -> Any:
        params = super()._make_params(path, n_threads, n_ctx)
        if self._adapter is not None:
            params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(self._adapter), 1.0)]
        return params

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call by a new connection: llama.cpp closes one that was idle for seconds, as between two texts here."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        return super().post(path, body)


class _HiddenStates(_Plain):
    """A server that gives hidden states instead of text."""

    def _make_params(self, path: Path, n_threads: int, n_ctx: int) -> Any:
        params = super()._make_params(path, n_threads, n_ctx)
        params.embedding, params.embd_normalize = True, -1
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_NONE
        params.n_batch = params.n_ubatch = n_ctx  # a text must be read in one batch
        return params


def _read_output(path: Path) -> np.ndarray:
    """Return the output matrix of a file, shape (n_vocab, hidden), float32."""
    for name in ("output.weight", "token_embd.weight"):
        found = read_tensor(path, name)
        if found is not None:
            shape, kind, data = found
            return np.ascontiguousarray(dequantize(data, GGMLQuantizationType(kind)).reshape(shape), dtype=np.float32)
    raise EngineError(f"{path.name}: holds no output matrix")

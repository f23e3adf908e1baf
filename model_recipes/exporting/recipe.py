"""The recipe of the gguf stage."""

from pydantic import Field

from dataset_builder.recipe import StrictModel
from model_recipes.exporting.general import GeneralConfig
from model_recipes.exporting.imatrix import ImatrixConfig
from model_recipes.exporting.parity_gates import ParityGates
from model_recipes.exporting.types import FileType
from model_recipes.text import TextConfig


class SamplingConfig(StrictModel):
    """Sampling defaults that llama.cpp and its front ends take from the file."""

    temp: float = Field(default=0.0, ge=0, le=2)
    top_k: int = Field(default=20, ge=0)
    top_p: float = Field(default=0.8, gt=0, le=1)
    penalty_repeat: float = Field(default=1.0, ge=1, le=2)


class GgufRecipe(StrictModel):
    """Which GGUF files are written.

    Parameters
    ----------
    name : str
        Model name; files are called ``<name>-<type>.gguf``.
    version : str
    types : list of str
        ``F32``, ``F16``, ``BF16``, ``Q8_0``, ``Q5_K_M``, ``Q4_K_M``, ``Q4_0``.
    general : GeneralConfig
        Author, repository, description, tags.
    sampling : SamplingConfig
    imatrix : ImatrixConfig or None
        Importance matrix for ``Q5_K_M``, ``Q4_K_M``, ``Q4_0``; null rounds without one.
    adapter : bool
        Also write the LoRA adapter that the model was merged with, as ``adapter/<name>-lora-F16.gguf``.
    strict : bool
        Refuse a model whose rows do not fit a type, before anything is written.
    parity_prompts : int
        How many prompts each file is checked with; from 100 on the agreement of labels is a gate.
    gates : ParityGates
        How far a file may be from the model it was made from.
    text : TextConfig
        The perplexity of each file is measured on its last part.
    perplexity_windows : int
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")
    version: str = "0.1"
    types: list[FileType] = Field(default=["F16", "Q8_0"], min_length=1)
    general: GeneralConfig = GeneralConfig()
    sampling: SamplingConfig = SamplingConfig()
    imatrix: ImatrixConfig | None = ImatrixConfig()
    adapter: bool = False
    strict: bool = False
    parity_prompts: int = Field(default=8, ge=1)
    gates: ParityGates = ParityGates()
    text: TextConfig = TextConfig()
    perplexity_windows: int = Field(default=24, ge=2)

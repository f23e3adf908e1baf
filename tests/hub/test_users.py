"""What somebody else does with what was pushed: in processes of their own, from a clean cache, by name alone."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataset_builder.corpus import CorpusRecipe, build_corpus
from dataset_builder.recipe import validate
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from tests.hub_server import TOKEN, HubServer
from tests.hub_server.stranger import ROOT, Stranger, list_blocks

NAME = "lab/eeg-emotion-copilot"
COUNTS = {"train": 84, "validation": 28, "test": 56}
SPLIT = {"protocol": "ranges", "train": [0, 2], "validation": [3, 3], "test": [4, 5]}

#: Refused at the gate, let in, then everything at once: importing `datasets` takes longest.
LOAD = f"""
import json
from datasets import get_dataset_config_names, load_dataset
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub import HfApi
try:
    refused = load_dataset({NAME!r}) and ""
except DatasetNotFoundError as error:
    refused = str(error)
HfApi(token={TOKEN!r}).grant_access({NAME!r}, "guest", repo_type="dataset")
names = get_dataset_config_names({NAME!r})
whole = {{name: load_dataset({NAME!r}, name) for name in names}}
stream = load_dataset({NAME!r}, split="test", streaming=True)
print(json.dumps({{
    "refused": refused,
    "counts": {{name: {{split: len(rows) for split, rows in table.items()}} for name, table in whole.items()}},
    "tagged": len(load_dataset({NAME!r}, split="train", revision="v1")),
    "streamed": [row["row_id"] for row in stream],
    "rows": load_dataset({NAME!r}, split="test")["row_id"][:],
}}))
"""

#: From the cache alone, and nothing that is not in it.
OFFLINE = f"""
import json
from datasets import load_dataset
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError
try:
    hf_hub_download("lab/unknown", "config.json")
    refused = False
except LocalEntryNotFoundError:
    refused = True
print(json.dumps([{{split: len(rows) for split, rows in load_dataset({NAME!r}).items()}}, refused]))
"""

#: PEFT in one line: the adapter says which repository holds its base.
ADAPTER = f"""
import json
from peft import AutoPeftModelForCausalLM
model = AutoPeftModelForCausalLM.from_pretrained("{NAME}-adapter")
print(json.dumps([type(model).__name__, model.peft_config["default"].base_model_name_or_path]))
"""

SNAPSHOT = """
from huggingface_hub import snapshot_download
print(snapshot_download("{name}", repo_type="dataset"))
print(snapshot_download("{name}-GGUF"))
"""


def push_all(run: Path, server: HubServer, home: Path) -> None:
    """Push a run as its owner does, show the repositories, but let nobody through the gate."""
    env = os.environ | {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
    env |= {"HF_HUB_CACHE": str(home / "hub"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "copilot.cli", "push", "all", str(run), "--namespace", "lab", "--yes"]
    done = subprocess.run([*command, "--tag", "v1"], env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for repo in server.repos.values():
        repo.private = False


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run's folder that holds a corpus of made-up people."""
    root = tmp_path_factory.mktemp("run")
    write_cohort(SynthRecipe(subjects=6, seed=3, signals=0), root / "raw")
    recipe = {"name": "t", "version": 1, "codec": {"name": "band_power"}, "split": SPLIT, "shard_rows": 50}
    build_corpus(validate(CorpusRecipe, recipe, where="test"), root / "raw", root / "run" / "corpus")
    return root / "run"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    """Yield a server that speaks Xet, as the client expects it."""
    with HubServer(xet=True) as server:
        yield server


def test_data_load_by_name_in_every_way(hub: HubServer, run: Path, tmp_path: Path) -> None:
    push_all(run, hub, tmp_path / "owner")
    stranger = Stranger(tmp_path / "stranger", hub.url)
    (block,) = list_blocks(hub.files("datasets", NAME)["README.md"].decode(), "python")
    *shown, last = stranger.program(LOAD.replace("print(json", block + "print(json")).splitlines()
    found = json.loads(last)
    assert "'role': 'system'" in shown[-1], "what the card's own lines print"
    assert "gated dataset" in found["refused"]
    assert found["counts"] == {"band_power": COUNTS}
    assert found["tagged"] == COUNTS["train"]
    assert found["streamed"] == found["rows"]
    assert len(found["rows"]) == COUNTS["test"]

    stranger.run("hf", "download", NAME, "--repo-type", "dataset", "--local-dir", "here")
    for name, data in hub.files("datasets", NAME).items():
        assert (stranger.home / "here" / name).read_bytes() == data
    before = len(hub.requests)
    counts, refused = json.loads(stranger.program(OFFLINE, HF_HUB_OFFLINE="1").splitlines()[-1])
    assert (counts, refused) == (COUNTS, True)
    assert len(hub.requests) == before, "offline means no request at all"


def test_a_push_that_is_offline_sends_nothing(hub: HubServer, run: Path, tmp_path: Path) -> None:
    stranger = Stranger(tmp_path / "stranger", hub.url)
    command = ["eeg-copilot", "push", "dataset", str(run / "corpus"), "--repo-id", NAME, "--yes"]
    done = stranger.attempt(*command, HF_HUB_OFFLINE="1")
    assert (done.returncode, hub.requests) == (2, [])
    assert done.stderr.splitlines() == ["error: HF_HUB_OFFLINE is set: nothing was sent; unset it to push"]


@pytest.mark.slow
def test_models_answer_by_name(hub: HubServer, run: Path, tmp_path: Path) -> None:
    finish_models(run)
    push_all(run, hub, tmp_path / "owner")
    hub.repo("datasets", NAME).access["guest"] = "accepted"
    stranger = Stranger(tmp_path / "stranger", hub.url)
    cards = {end: hub.files("models", NAME + end)["README.md"].decode() for end in ("-pruned", "-adapter", "-merged")}
    blocks = [block for card in cards.values() for block in list_blocks(card, "python")]
    assert len(blocks) == 3
    assert f'AutoPeftModelForCausalLM.from_pretrained("{NAME}-adapter")' in blocks[1]
    assert f'load_dataset("{NAME}", split="test")' in blocks[2]
    loaded = stranger.program("\n".join(blocks) + ADAPTER)
    assert json.loads(loaded.splitlines()[-1]) == ["PeftModelForCausalLM", f"{NAME}-pruned"]
    for card in cards.values():
        for line in (line for block in list_blocks(card, "bash") for line in block.splitlines()):
            stranger.run(*shlex.split(line))
    assert (stranger.home / "eeg-emotion-copilot-merged" / "model.safetensors").is_file()

    corpus, model = stranger.program(SNAPSHOT.format(name=NAME)).split()
    (gguf,) = Path(model).glob("*.gguf")
    command = ["eeg-copilot", "evaluate", "--corpus", corpus, "--model", str(gguf), "--out", "evaluation"]
    command += ["--set", "max_rows=6", "--set", "held_out_fold=null"]
    told = stranger.run(*command, HF_HUB_OFFLINE="1")
    assert "unseen subjects" in told
    assert (stranger.home / "evaluation" / "manifest.json").is_file()


def finish_models(run: Path) -> None:
    """Add a pruned model, an adapter, a merged model and GGUF files to a run: random weights, but real files."""
    from factories import make_tiny_model
    from finished import finish_stage
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from model_recipes.gguf import GgufRecipe, export_gguf

    base = make_tiny_model(run / "base")
    files = {path.name: path.read_bytes() for path in base.iterdir() if path.name != "manifest.json"}
    finish_stage(run / "pruned", "prune", files, (base,), synthetic=True)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(run / "pruned"), LoraConfig(target_modules=["q_proj"]))
    model.save_pretrained(run.parent / "adapter")
    names = ("adapter_config.json", "adapter_model.safetensors")
    adapter = {name: (run.parent / "adapter" / name).read_bytes() for name in names}
    finish_stage(run / "adapter", "adapter", adapter, (run / "pruned", run / "corpus"), synthetic=True)
    finish_stage(run / "merged", "merge", files, (run / "pruned", run / "adapter"), synthetic=True)
    recipe = GgufRecipe(name="tiny", types=["Q8_0"], perplexity_windows=2, parity_prompts=1)
    export_gguf(recipe, run / "merged", run / "corpus", run / "gguf")

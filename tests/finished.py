"""Finished stages for tests of cards and of publishing: real manifests around small files."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from dataset_builder.manifest import Manifest, Metric, write_bytes
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import open_stage
from dataset_builder.types import EMOTIONS

CORPUS_README = b"""---
pretty_name: A corpus
license: other
configs:
- config_name: faced-emotion-qa
  default: true
  data_files:
  - split: train
    path: data/train-00000-of-00001-abc.parquet
---

# A corpus
"""

SOURCE = {
    "name": "faced",
    "title": "FACED",
    "synthetic": False,
    "licence_id": "other",
    "licence_name": "terms of the release",
    "citation": "Chen et al. 2023, Sci Data 10:740.",
    "url": "https://doi.org/10.1038/s41597-023-02650-w",
    "population": "123 healthy adults of one laboratory.",
}


class AnyRecipe(StrictModel):
    """A recipe with one key."""

    name: str = "test-recipe"


def finish_stage(
    folder: Path, stage: str, files: dict[str, bytes], parents: tuple[Path, ...] = (), **fields: Any
) -> Manifest:
    """Write a finished stage whose `fields` (facts, metrics, notes, synthetic ...) end in its manifest."""
    with open_stage(stage, folder, AnyRecipe(), parents=parents, seed=17) as opened:
        for name, data in files.items():
            write_bytes(opened.folder / name, data)
        for name, value in fields.items():
            setattr(opened, name, value)
    assert opened.manifest is not None
    return opened.manifest


def make_rows(n: int = 28) -> bytes:
    """Return a Parquet file with the one column that a card reads."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"emotion": [EMOTIONS[i % len(EMOTIONS)] for i in range(n)]}), sink)
    return bytes(sink.getvalue().to_pybytes())


def finish_corpus(folder: Path, **fields: Any) -> Manifest:
    """Write a small corpus."""
    splits = {"train": {"rows": 28, "subjects": 1}, "test": {"rows": 28, "subjects": 1}}
    facts = {"splits": splits, "source": SOURCE, "values_per_code": 45}
    files = {"README.md": CORPUS_README, "data/train-00000-of-00001-abc.parquet": make_rows()}
    return finish_stage(folder, "corpus", files, **({"facts": facts} | fields))


def finish_chain(root: Path, **fields: Any) -> dict[str, Path]:
    """Write corpus, base, pruned, recovered, adapter, merged and gguf folders that refer to each other."""
    names = ("corpus", "base", "pruned", "recovered", "adapter", "merged", "gguf")
    places = {name: root / name for name in names}
    finish_corpus(places["corpus"], **fields)
    weights = {"config.json": b"{}", "model.safetensors": b"\x00\x01weights"}
    facts = {"base": {"model_id": "Qwen/Qwen2-0.5B", "source": "Hugging Face Hub", "licence": "apache-2.0"}}
    finish_stage(places["base"], "base", weights, facts=facts)
    perplexity = Metric(name="perplexity", value=105.25, n=4096, unit="tokens", split="python-docs", method="windows")
    finish_stage(places["pruned"], "prune", weights, (places["base"],), metrics=[perplexity])
    finish_stage(places["recovered"], "recover", weights, (places["pruned"], places["base"]))
    adapter = {"adapter_config.json": b'{"base_model_name_or_path": null}', "adapter_model.safetensors": b"\x00lora"}
    finish_stage(
        places["adapter"], "adapter", adapter, (places["recovered"], places["corpus"]), metrics=emotion_metrics()
    )
    finish_stage(places["merged"], "merge", weights, (places["recovered"], places["adapter"]))
    gguf = {"eeg-copilot-f16.gguf": b"GGUF\x00f16", "eeg-copilot-Q8_0.gguf": b"GGUF\x00q8"}
    finish_stage(places["gguf"], "gguf", gguf, (places["merged"], places["corpus"]))
    return places


def emotion_metrics(model: str = "language model") -> list[Metric]:
    """Return accuracy under both protocols, for a model and the linear probe."""
    common = {"name": "balanced_accuracy", "unit": "trials", "split": "test", "chance": 1 / 9, "method": "bootstrap"}
    rows = [(model, "unseen subjects", 0.2345), (model, "unseen subjects and clips", 0.1234)]
    rows += [("linear probe", "unseen subjects", 0.3456)]
    return [
        Metric(**common, value=value, n=224, protocol=protocol, reader=reader, interval=[value - 0.05, value + 0.05])
        for reader, protocol, value in rows
    ]


def make_verdicts(reader: str, *, passed: bool) -> list[dict[str, Any]]:
    """Return what the controls of an evaluation say of a reader under both protocols."""
    text = "reads which film was shown: +0.1" if passed else "not shown to read the EEG: +0.0"
    protocols = ("unseen subjects", "unseen subjects and clips")
    told = {"reads": "film" if passed else "nothing", "text": text, "clips": "films were known", "comparisons": []}
    where = [{"split": "test", "protocol": protocol, "reader": reader} for protocol in protocols]
    return [place | told for place in where]


def finish_evaluation(
    root: Path, places: dict[str, Path], readers: dict[str, bool], files: dict[str, bytes] | None = None, **fields: Any
) -> Path:
    """Write an evaluation of the merged model and the GGUF files; `readers` tells whose controls passed."""
    read = (places["corpus"], places["merged"], places["gguf"])
    metrics = [metric for reader in readers for metric in emotion_metrics(reader)]
    verdicts = [verdict for reader, passed in readers.items() for verdict in make_verdicts(reader, passed=passed)]
    facts = {"verdicts": verdicts}
    finish_stage(
        root / "evaluation", "evaluate", files or {"x.json": b"{}"}, read, metrics=metrics, facts=facts, **fields
    )
    return root / "evaluation"


def finish_space(folder: Path, **header: Any) -> Path:
    """Write a Space whose program says nothing."""
    keys = {"title": "EEG", "sdk": "gradio", "sdk_version": "6.31.0", "app_file": "app.py", "license": "apache-2.0"}
    readme = f"---\n{yaml.safe_dump(keys | header)}---\n\n# EEG\n".encode()
    finish_stage(folder, "space", {"README.md": readme, "app.py": b"import gradio\n", "requirements.txt": b"gradio\n"})
    return folder

"""What a GGUF file says of its origin (``general.*``), from the manifests of the stages before it."""

from pathlib import Path
from typing import Any

from gguf.utility import model_weight_count_rounded_notation

from dataset_builder.environment import read_own_version
from dataset_builder.manifest import Manifest, read_manifest
from dataset_builder.prompts import load_style
from dataset_builder.recipe import StrictModel
from model_recipes.exporting.gguf_file import NOTICE

#: Licence identifier -> name and where its text stands.
_LICENCES = {
    "apache-2.0": ("Apache License 2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    "mit": ("MIT License", "https://opensource.org/license/mit"),
}

_HUB = "https://huggingface.co"


class GeneralConfig(StrictModel):
    """What only the person who exports can tell; left out where it is not given.

    Parameters
    ----------
    author, organization : str, optional
    quantized_by : str, optional
        Default: this package and its version.
    repo_id : str, optional
        Where on the Hub the files will lie.
    description : str
    tags : list of str
    """

    author: str | None = None
    organization: str | None = None
    quantized_by: str | None = None
    repo_id: str | None = None
    description: str = f"Estimates the emotion that a film clip evoked from coded EEG. {NOTICE}"
    tags: list[str] = ["eeg", "emotion", "research-only"]


def describe_general(
    config: GeneralConfig, name: str, version: str, n_parameters: int, base: dict[str, Any], corpus_dir: str | Path
) -> dict[str, Any]:
    """Return the ``general.*`` keys of a file, without their prefix.

    Parameters
    ----------
    config : GeneralConfig
    name, version : str
        Of the model.
    n_parameters : int
    base : dict
        Facts of the base, as the first stage told them.
    corpus_dir : str or Path
    """
    style = load_style(corpus_dir).config
    repo = f"{_HUB}/{config.repo_id}" if config.repo_id else None
    given = {
        "author": config.author,
        "organization": config.organization,
        "quantized_by": config.quantized_by or f"eeg-emotion-copilot {read_own_version()}",
        "url": repo,
        "repo_url": repo,
    }
    return {
        "type": "model",
        "name": name,
        "basename": name,
        "finetune": style.style.replace("_", "-"),
        "version": version,
        "size_label": model_weight_count_rounded_notation(n_parameters),
        "description": config.description,
        "languages": [style.language],
        "tags": config.tags,
        **{key: value for key, value in given.items() if value},
        **_describe_licence(base),
        **_describe_base(base),
        **_describe_data(read_manifest(corpus_dir)),
    }


def name_base(base: dict[str, Any]) -> str:
    """Return a Hub id where the base has one, else the name that the recipe gave it."""
    return str(base.get("model_id") or base.get("name") or "")


def name_corpus(manifest: Manifest) -> str:
    """Return the name of a corpus."""
    return str(manifest.recipe.get("name", "corpus"))


def _describe_licence(base: dict[str, Any]) -> dict[str, str]:
    if not (licence := str(base.get("licence") or "")):
        return {}
    name, link = _LICENCES.get(licence.lower(), ("", ""))
    return {"license": licence} | ({"license.name": name, "license.link": link} if name else {})


def _describe_base(base: dict[str, Any]) -> dict[str, Any]:
    if not (name := name_base(base)):
        return {}
    organization, slash, short = name.rpartition("/")
    version = base.get("commit") or base.get("revision")
    hub = {"organization": organization, "repo_url": f"{_HUB}/{name}"} if slash else {}
    found = {"name": short, **hub, **({"version": str(version)} if version else {})}
    return {"base_model.count": 1} | {f"base_model.0.{key}": value for key, value in found.items()}


def _describe_data(corpus: Manifest) -> dict[str, Any]:
    """Return the corpus and, where its manifest tells, the recordings it was made from."""
    source = corpus.facts.get("source") or {}
    version = corpus.recipe.get("version")
    sets: list[dict[str, str]] = [{"name": name_corpus(corpus)} | ({"version": str(version)} if version else {})]
    if source.get("title"):
        sets.append({"name": str(source["title"])} | ({"url": str(source["url"])} if source.get("url") else {}))
    keys = {f"dataset.{i}.{key}": value for i, found in enumerate(sets) for key, value in found.items()}
    return {"dataset.count": len(sets)} | keys

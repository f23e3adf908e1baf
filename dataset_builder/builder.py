"""The corpus as a builder of `datasets`: raw folder in, `DatasetDict` out, kept in the cache of `datasets`.

``EEGEmotionCopilot(config_name="band_power", data_dir="FACED")`` works on its own. After ``import dataset_builder`` the
same is behind ``load_dataset("eeg-emotion-copilot", name="band_power", data_dir="FACED")``, see
`dataset_builder.registration`. The rows are those of `build_corpus`, which runs once per content of the raw folder.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import datasets
from pyarrow import dataset as arrow

from dataset_builder.codecs import make_codec
from dataset_builder.corpus import CorpusRecipe, build_corpus, open_source
from dataset_builder.errors import InputError
from dataset_builder.manifest import hash_file
from dataset_builder.recipe import load_recipe
from dataset_builder.registration import DATASET_NAME
from dataset_builder.rows import FEATURES
from dataset_builder.splits import ALL_SPLITS
from dataset_builder.stage import fingerprint_files, stage_key

#: Packaged recipe of each configuration; the configurations are named like the codecs.
RECIPES: dict[str, str] = {
    "band_power": "faced-qa.yaml",
    "components": "faced-qa-components.yaml",
    "evidence": "faced-reader.yaml",
    "dwt_topk": "faced-qa-dwt-topk.yaml",
    "wavelet": "faced-qa-wavelet.yaml",
    "wavelet_segments": "faced-qa-wavelet-segments.yaml",
    "raw": "faced-qa-raw.yaml",
    "chunk": "faced-qa-chunk.yaml",
}


@dataclass
class CorpusConfig(datasets.BuilderConfig):
    """A configuration: a codec with its recipe. Every field can be given to ``load_dataset``.

    Parameters
    ----------
    recipe : str, optional
        A recipe file to use instead of the packaged one.
    overrides : list of str
        ``"section.key=value"``, as after ``--set``: ``["split.protocol=10-fold", "split.fold=0"]``.
    tokenizer : str, optional
        As in `build_corpus`.
    """

    recipe: str | None = None
    overrides: list[str] = field(default_factory=list)
    tokenizer: str | None = None

    def load_recipe(self) -> CorpusRecipe:
        """Return the recipe with the overrides.

        Raises
        ------
        RecipeError
            If it is not one.
        """
        if self.recipe is not None:
            return load_recipe(self.recipe, CorpusRecipe, self.overrides)
        with resources.as_file(resources.files("dataset_builder").joinpath("recipes", RECIPES[self.name])) as path:
            return load_recipe(path, CorpusRecipe, self.overrides)

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """Return the name under which `datasets` caches: it changes with the recipe and with every raw file.

        `datasets` itself would look at neither, and at the folder only by the path that was typed.
        """
        key = [_read_key(self), str(self.data_dir), str(custom_features or "")]
        return f"{self.name}-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"


class EEGEmotionCopilot(datasets.GeneratorBasedBuilder):
    """Builds the corpus from a raw folder.

    Parameters
    ----------
    config_name : str
        Name of a codec; ``"band_power"`` if not given.
    data_dir : str or Path
        Root of the raw data, for example a FACED download.
    cache_dir : str or Path, optional
        Where corpus and Arrow files are kept; the cache of `datasets` if not given.
    **kwargs
        Fields of `CorpusConfig` and parameters of ``datasets.DatasetBuilder``.

    Raises
    ------
    InputError
        If the folder is missing or cannot be used; also later, while building.
    RecipeError
        If an override does not fit.
    """

    BUILDER_CONFIG_CLASS = CorpusConfig
    BUILDER_CONFIGS = [CorpusConfig(name=name, description=f"The corpus with the codec {name}.") for name in RECIPES]
    DEFAULT_CONFIG_NAME = "band_power"

    def __init__(
        self,
        cache_dir: str | Path | None = None,
        dataset_name: str | None = None,
        config_name: str | None = None,
        hash: str | None = None,  # noqa: A002 - a parameter of the base class
        data_dir: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        if data_dir is None:
            raise InputError("data_dir: is needed to build a corpus; give the folder of the raw data")
        # The configuration's id tells contents already: a hash beside it would make two caches of one corpus.
        super().__init__(
            cache_dir=None if cache_dir is None else str(cache_dir),
            dataset_name=dataset_name or DATASET_NAME,
            config_name=config_name,
            data_dir=str(Path(data_dir).expanduser().resolve()),
            **kwargs,
        )
        self._workers = 1

    def download_and_prepare(self, *args: Any, num_proc: int | None = None, **kwargs: Any) -> None:
        """Build the corpus, if that was not done before, and write Arrow files, both with `num_proc` processes."""
        self._workers = num_proc or 1
        super().download_and_prepare(*args, num_proc=num_proc, **kwargs)

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=datasets.Features.from_dict(FEATURES))

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        # Beside the folder that `datasets` writes and replaces.
        folder = Path(self.cache_dir).parent / "corpus"
        config = self.config
        build_corpus(config.load_recipe(), config.data_dir, folder, self._workers, config.tokenizer)
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"files": files, "subjects": _list_subjects(files)})
            for split, files in _list_files(folder).items()
        ]

    def _generate_examples(self, files: tuple[str, ...], subjects: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        shards = _open_shards(files)
        for subject in subjects:
            for row in shards.to_table(filter=arrow.field("subject") == subject).to_pylist():
                yield row["row_id"], row


def _read_key(config: CorpusConfig) -> str:
    """Return the key of the corpus that a configuration stands for, see `dataset_builder.stage.stage_key`."""
    recipe = config.load_recipe()
    source = open_source(recipe, str(config.data_dir))
    reads = make_codec(recipe.codec).reads
    files = [path for subject in source.subjects() for path in source.files(subject, reads)]
    raw = fingerprint_files([*source.tables(), *files], source.root)
    return stage_key("corpus", recipe, fingerprint=raw + _hash_tokenizer(config.tokenizer))


def _hash_tokenizer(tokenizer: str | None) -> str:
    if tokenizer is None:
        return ""
    path = Path(tokenizer)
    return hash_file(path / "tokenizer.json" if path.is_dir() else path)


def _list_files(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the shards of every split that has any. A tuple: `datasets` divides only lists among processes."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted((folder / "data").glob("*.parquet")):
        split = path.name.split("-")[0]
        found[split] = (*found.get(split, ()), str(path))
    return {split: found[split] for split in sorted(found, key=ALL_SPLITS.index)}


def _list_subjects(files: tuple[str, ...]) -> list[str]:
    """Return the subjects in the order of their rows; the list that `datasets` divides among processes."""
    return list(dict.fromkeys(_open_shards(files).to_table(columns=["subject"])["subject"].to_pylist()))


def _open_shards(files: tuple[str, ...]) -> Any:
    # Not with pyarrow.parquet: `datasets` replaces its functions in the module of a builder, to stream from the Hub.
    return arrow.dataset(list(files), format="parquet")

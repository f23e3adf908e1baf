"""What may be called unseen: read from manifests, and never claimed where they do not tell."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_builder.codecs import Codec
from dataset_builder.corpus import load_split
from dataset_builder.extract import SubjectFacts
from dataset_builder.manifest import MANIFEST, Manifest, hash_file, read_manifest
from dataset_builder.preprocess import PreprocessingConfig
from dataset_builder.recipe import validate
from dataset_builder.sources.folder_config import FolderConfig
from dataset_builder.trained_people import TrainedPeople
from model_recipes.evaluation.plain_models import is_plain
from model_recipes.exporting.gguf_file import read_copilot_gguf
from model_recipes.lineage import find_training

#: Stages that train a model on labels.
_TRAINING = ("adapter", "reader")

_FACED = "faced"


@dataclass(frozen=True)
class Exposure:
    """What a model has met in training.

    Parameters
    ----------
    unseen_folds : frozenset of int
        Clip folds (`dataset_builder.splits.clip_fold`) whose labels reached neither the language model nor its codec.
    subjects : frozenset of str, or None
        Pseudonyms of the training subjects; None where their corpus is not at hand.
    validation : frozenset of str
        Subjects whose loss training watched.
    files : dict of str to str
        The recordings of the corpus, name to sha256.
    source : tuple of (str, bool)
        Name of the corpus' source, and whether it is synthetic.
    corpus_dir : Path or None
        The corpus, if it is at hand as it was.
    people : TrainedPeople or None
        By what the training subjects are recognised, where the model or its corpus tells.
    alike : bool
        Whether the corpus is known to have cut and cleaned recordings by the defaults, as they are read here: otherwise
        the same trial has another digest.
    """

    unseen_folds: frozenset[int]
    subjects: frozenset[str] | None = None
    validation: frozenset[str] = frozenset()
    files: dict[str, str] | None = None
    source: tuple[str, bool] = ("", False)
    corpus_dir: Path | None = None
    people: TrainedPeople | None = None
    alike: bool = False

    def can_tell(self, person: SubjectFacts, source: str) -> bool:
        """Tell whether a person who is not found among the training subjects is not one of them.

        FACED's pseudonyms are the release's own and settle it wherever the corpus names its people.
        """
        if self.subjects is not None and source == self.source[0] == _FACED:
            return True
        comparable = source == _FACED or self.alike
        return comparable and self.people is not None and self.people.can_tell(person, source)


def find_exposure(path: str | Path, codec: Codec, corpus_dir: str | Path | None = None) -> Exposure:
    """Find out what a model met in training, from the manifests that can be reached.

    Parameters
    ----------
    path : str or Path
        Finished model folder, adapter folder or GGUF file.
    codec : Codec
        The one that came with the model.
    corpus_dir : str or Path, optional
        Where its corpus lies now; taken only if it is the very corpus that the model names.
    """
    path = Path(path)
    if is_plain(path):
        return Exposure(frozenset())
    folder = path if path.is_dir() else path.parent
    stages = list(walk_folders(folder)) if (folder / MANIFEST).is_file() else []
    trained = next((manifest for _, manifest in stages if manifest.stage in _TRAINING), None)
    found = next((place for place, manifest in stages if manifest.stage == "corpus"), None)
    if found is None and corpus_dir is not None and _is_corpus_of(path, trained, Path(corpus_dir)):
        found = Path(corpus_dir)
    corpus = None if found is None else read_manifest(found)
    kept = {corpus.recipe.get("split", {}).get("held_out_fold")} if corpus else set()
    held = {trained.recipe.get("held_out_fold")} if trained else set()
    if trained is None and path.is_file() and (training := find_training(path)) is not None:
        held = {training.held_out_fold}
    if trained is None and not held:
        kept = set()  # an unknown training may have used any corpus
    unseen = frozenset(fold for fold in held | kept if fold is not None) & _unseen_by_codec(codec, kept)
    people = _read_people(path, trained, corpus)
    if found is None or corpus is None:
        return Exposure(unseen, people=people)
    return Exposure(
        unseen_folds=unseen,
        subjects=frozenset(load_split(found, "train")["subject"]),
        validation=frozenset(load_split(found, "validation")["subject"]),
        files={item.name: item.sha256 for item in corpus.inputs},
        source=(str(corpus.recipe.get("source", {}).get("name", "")), corpus.synthetic),
        corpus_dir=found,
        people=people,
        alike=_opened_alike(corpus.recipe),
    )


def unseen_by_codec(codec: Codec, corpus_dir: str | Path, fold: int | None) -> bool:
    """Tell whether a corpus' codec learned nothing from the labels of a clip fold."""
    kept = {read_manifest(corpus_dir).recipe.get("split", {}).get("held_out_fold")}
    return fold is not None and fold in _unseen_by_codec(codec, kept)


def find_trained(people: Sequence[SubjectFacts], exposure: Exposure, source: tuple[str, bool]) -> list[str]:
    """Return the subjects who were trained on, as far as can be told.

    A person is known by the digests of trials, a recording by its bytes. Where the corpus was made from another form of
    the release (features, waveforms), bytes differ, and the same pseudonym in the same source counts as the same
    person.
    """
    known = [exposure.people is not None and exposure.people.knows(person) for person in people]
    if exposure.subjects is None or exposure.files is None:
        return [person.subject for person, met in zip(people, known, strict=True) if met]
    # Whole words only: sub-1 is not meant by sub-10/eeg.edf.
    named = re.compile(rf"(?<![A-Za-z0-9-])({'|'.join(map(re.escape, exposure.subjects))})(?![A-Za-z0-9-])")
    hashes = {digest for name, digest in exposure.files.items() if exposure.subjects and named.search(name)}
    found = []
    for person, met in zip(people, known, strict=True):
        same_file = any(item.sha256 in hashes for item in person.files)
        other_file = any(item.name in exposure.files for item in person.files)
        namesake = person.subject in exposure.subjects and source == exposure.source and not other_file
        if same_file or namesake or met:
            found.append(person.subject)
    return found


def walk_folders(folder: Path) -> Iterator[tuple[Path, Manifest]]:
    """Yield a stage and all stages before it that are still what it was made from, each with its folder."""
    manifest = read_manifest(folder)
    yield folder, manifest
    for parent in manifest.parents:
        place = folder / parent.folder
        if (place / MANIFEST).is_file() and hash_file(place / MANIFEST) == parent.sha256:
            yield from walk_folders(place)


def _read_people(path: Path, trained: Manifest | None, corpus: Manifest | None) -> TrainedPeople | None:
    """Return by what training subjects are recognised, as the GGUF file, the reader or the corpus tells."""
    told = [manifest.facts.get("trained_people") for manifest in (trained, corpus) if manifest is not None]
    if path.is_file():
        told.insert(0, read_copilot_gguf(path).facts.get("trained_people"))
    found = next((facts for facts in told if facts), None)
    return None if found is None else validate(TrainedPeople, found, where=f"{path.name}: trained_people")


def _opened_alike(recipe: dict[str, Any]) -> bool:
    """Tell whether a corpus cut and cleaned its recordings by the defaults."""
    table, defaults = FolderConfig().table, PreprocessingConfig().model_dump(mode="json")
    return recipe.get("preprocessing") == defaults and recipe.get("source", {}).get("table", table) == table


def _unseen_by_codec(codec: Codec, kept: set[Any]) -> frozenset[int]:
    """Return the folds whose labels a codec did not learn from."""
    if not codec.supervised:
        return frozenset(range(3))
    own = getattr(codec.config, "held_out_fold", None)
    return frozenset(fold for fold in {own, *kept} if fold is not None)


def _is_corpus_of(path: Path, trained: Manifest | None, corpus_dir: Path) -> bool:
    """Tell whether a corpus is the one that a model says it was trained on."""
    digest = hash_file(corpus_dir / MANIFEST) if (corpus_dir / MANIFEST).is_file() else ""
    if trained is not None:
        return digest in {parent.sha256 for parent in trained.parents}
    training = find_training(path) if path.is_file() else None
    return training is not None and training.corpus_sha256 == digest

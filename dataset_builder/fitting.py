"""Fitting a codec to the training subjects' training trials, and to nothing else."""

from collections.abc import Mapping

from dataset_builder.codecs import Codec, Features, Fitted, Target
from dataset_builder.errors import InputError
from dataset_builder.extract import Extraction, SubjectFacts
from dataset_builder.sparse import Reconstruction, fit_reconstruction
from dataset_builder.splits import SplitPlan


def fit_codec(
    codec: Codec, people: Mapping[str, Extraction], plan: SplitPlan, folds: dict[int, int], seed: int
) -> Fitted:
    """Fit on the training subjects' training trials; only a codec that needs labels is shown them.

    Parameters
    ----------
    codec : Codec
        Unfitted.
    people : dict of str to Extraction
    plan : SplitPlan
    folds : dict of int to int
        Fold of every clip, see `dataset_builder.rows.fold_clips`.
    seed : int
        Decides which people a supervised codec leaves out together.

    Raises
    ------
    InputError
        If there is too little to fit on.
    """
    chosen = _choose_trials(people, plan, folds)
    kept = (_take_trials(people[subject], trials) for subject, trials in chosen.items())
    if not codec.supervised:
        return Fitted(codec.fit(kept))
    targets = {
        subject: [Target(t.clip, t.emotion, t.start_s) for t in (people[subject].facts.trials[i] for i in trials)]
        for subject, trials in chosen.items()
    }
    return codec.fit_supervised(dict(zip(chosen, kept, strict=True)), targets, seed)


def learn_reconstruction(
    codec: Codec, people: Mapping[str, Extraction], plan: SplitPlan, folds: dict[int, int]
) -> Reconstruction:
    """Learn from the training subjects' training trials how channels go together; see `fit_reconstruction`.

    Raises
    ------
    InputError
        If the codec does not read differential entropy of all channels, or too few people are there.
    """
    if codec.reads != "de":
        raise InputError(f"reconstruct: codec {codec.name} reads {codec.reads}; accepted: codecs that read de")
    chosen = _choose_trials(people, plan, folds)
    kept = (_take_trials(people[subject], trials)["power"] for subject, trials in chosen.items())
    return fit_reconstruction(power.swapaxes(1, 2) for power in kept)


def assign_trials(facts: SubjectFacts, plan: SplitPlan, folds: dict[int, int]) -> list[str | None]:
    """Return the split of each trial of a subject; None where the protocol leaves it out."""
    return [
        plan.assign(facts.subject, trial.clip, None if trial.clip is None else folds.get(trial.clip), trial.rank)
        for trial in facts.trials
    ]


def _choose_trials(people: Mapping[str, Extraction], plan: SplitPlan, folds: dict[int, int]) -> dict[str, list[int]]:
    """Return the positions of each training subject's training trials; subjects without any are not there."""
    splits = {subject: assign_trials(people[subject].facts, plan, folds) for subject in plan.train_subjects}
    chosen = {subject: [i for i, split in enumerate(found) if split == "train"] for subject, found in splits.items()}
    return {subject: trials for subject, trials in chosen.items() if trials}


def _take_trials(extraction: Extraction, trials: list[int]) -> Features:
    return {name: array[trials] for name, array in extraction.load().items()}

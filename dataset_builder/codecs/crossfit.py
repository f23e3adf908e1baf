"""Cross-fitting: every training subject is encoded by a codec that was fitted on others."""

from collections.abc import Callable, Mapping, Sequence

from dataset_builder.codecs.base import Codec, Target
from dataset_builder.codecs.fitted import Fitted
from dataset_builder.errors import InputError
from dataset_builder.seeds import make_rng
from dataset_builder.splits import clip_fold

#: Fewest training subjects: two are left when one is set aside, and a spread between people needs two.
_MIN_SUBJECTS = 3

#: Fits a codec on some subjects, without some clips.
FitOn = Callable[[Sequence[str], frozenset[int]], Codec]


def crossfit(
    fit_on: FitOn,
    targets: Mapping[str, Sequence[Target]],
    *,
    folds: int,
    over_clips: bool,
    seed: int,
    held_out_fold: int | None = None,
) -> Fitted:
    """Fit a codec on all training subjects and once more without each group of them.

    Everything is fitted anew for a group: scales, weights and calibration, so that nothing of a person, labels or
    signals, is in the codec that encodes the person's training rows.

    Parameters
    ----------
    fit_on : callable
        Takes subjects and the clips that must not be learned from.
    targets : dict of str to sequence of Target
        Labels of every training subject's training trials.
    folds : int
        Groups of subjects.
    over_clips : bool
        Whether clips are left out too, one of each emotion at a time: for codes that claim to hold for new clips.
    seed : int
        Decides who is left out together.
    held_out_fold : int or None
        Clip fold that no fit may learn from.

    Raises
    ------
    InputError
        If fewer than three subjects have a labelled trial.
    """
    subjects = sorted(name for name, trials in targets.items() if any(trial.emotion for trial in trials))
    if len(subjects) < _MIN_SUBJECTS:
        raise InputError(f"codec: {len(subjects)} training subjects with labels; at least {_MIN_SUBJECTS} are needed")
    clips = fold_targets(targets)
    never = frozenset(clip for clip, fold in clips.items() if fold == held_out_fold)
    left_out = sorted(set(clips.values()) - {held_out_fold}) if over_clips else []
    fitted = Fitted(fit_on(subjects, never))
    for group in _group_subjects(subjects, folds, seed):
        others = [name for name in subjects if name not in group]
        codec = fit_on(others, never)
        fitted.crossfitted.update(dict.fromkeys(group, codec))
        for fold in left_out if len(left_out) > 1 else []:
            own = frozenset(clip for clip in clips if clips[clip] == fold)
            codec = fit_on(others, never | own)
            fitted.unmet.update({(name, clip): codec for name in group for clip in own})
    return fitted


def fold_targets(targets: Mapping[str, Sequence[Target]]) -> dict[int, int]:
    """Return the `clip_fold` of every clip in `targets` whose emotion is known."""
    emotions = {t.clip: t.emotion for trials in targets.values() for t in trials if t.clip is not None and t.emotion}
    return {clip: clip_fold(clip, emotions) for clip in sorted(emotions)}


def _group_subjects(subjects: Sequence[str], folds: int, seed: int) -> list[frozenset[str]]:
    """Return groups of nearly equal size, drawn with the seed."""
    folds = min(folds, len(subjects))
    order = make_rng(seed, "cross-fitting").permutation(len(subjects))
    return [frozenset(subjects[place] for place in order[fold::folds]) for fold in range(folds)]

"""What the evidence codec may be told, and what it takes where it is told nothing."""

from typing import Literal, Self

from pydantic import Field, model_validator

from dataset_builder.codecs.normalize import Normalization
from dataset_builder.codecs.views import TargetKind
from dataset_builder.recipe import StrictModel
from dataset_builder.splits import N_CLIP_FOLDS

#: Penalty of each kind of class, in units of the kernel's mean diagonal. Half and twice as much cost FACED's
#: cross-fitted training rows (000-079) no more than a point of balanced accuracy.
_ALPHA: dict[TargetKind, float] = {"clip": 0.7, "segment": 0.3, "emotion": 5.0}

#: Share of channels whose loss a reader is made to bear. On FACED's cross-fitted training rows a tenth is worth half a
#: point of balanced accuracy for segments, a fifth no more.
_DROPOUT: dict[TargetKind, float] = {"clip": 0.0, "segment": 0.1, "emotion": 0.0}


class EvidenceConfig(StrictModel):
    """Options of the evidence code.

    Parameters
    ----------
    name : str
    target : {"clip", "emotion"}
        ``clip``: the reader tells the films of the training data apart and the odds of a film count for its emotion.
        On FACED that gives seven times chance for new people, and it is film recognition: on films that were not
        in training it is at chance and sure of itself. ``emotion``: the reader is made to hold for new films, which
        it does a little (17 % balanced accuracy over the three clip folds, chance is 11 %).
    seconds : int
        Length of every trial in seconds; others are refused.
    segments : bool
        Cut longer trials into segments of that length, each a row of its own that knows nothing of the others but what
        `normalization` lets it know: with mode ``session`` their level and spread.
    folds : int
        Groups of training subjects for cross-fitting; with fewer subjects each is a group.
    levels : int
        Steps of the quantiser: up to 10 are digits, up to 26 small letters, up to 52 letters with case for the sign.
    layout : {"lines", "bare"}
        One line with the name of each emotion, or the letters alone in the order of `EMOTIONS`.
    normalization : Normalization
        Which of a person's trials set the scale.
    alpha : float, optional
        Ridge penalty in units of the kernel's mean diagonal; 0.7 for clips, 0.3 for segments of clips and 5 for
        emotions if not given.
    dropout : float, optional
        Share of channels whose loss the reader of segments is made to bear; 0.1 if not given. Whole clips and emotions
        have no such reader.
    held_out_fold : int, optional
        Clips of this `dataset_builder.splits.clip_fold` are not learned from, though they may stand in train: for a
        model that is trained without that fold and tested on it. A protocol that keeps the clips out of train does
        the same by itself.
    """

    name: Literal["evidence"] = "evidence"
    target: Literal["clip", "emotion"] = "clip"
    seconds: int = Field(default=30, ge=2, le=60)
    segments: bool = False
    folds: int = Field(default=8, ge=2, le=20)
    levels: int = Field(default=26, ge=2, le=52)
    layout: Literal["lines", "bare"] = "lines"
    normalization: Normalization = Normalization()
    alpha: float | None = Field(default=None, gt=0)
    dropout: float | None = Field(default=None, ge=0, le=0.9)
    held_out_fold: int | None = Field(default=None, ge=0, lt=N_CLIP_FOLDS)

    @model_validator(mode="after")
    def _check_dropout(self) -> Self:
        if self.dropout and not (self.segments and self.target == "clip"):
            raise ValueError("dropout belongs to segments of target clip")
        return self

    @property
    def kind(self) -> TargetKind:
        """What the classes are."""
        return "segment" if self.segments and self.target == "clip" else self.target

    @property
    def penalty(self) -> float:
        """`alpha`, or what is usual for the kind of classes."""
        return self.alpha or _ALPHA[self.kind]

    @property
    def lost_channels(self) -> float:
        """`dropout`, or what is usual for the kind of classes."""
        return self.dropout if self.dropout is not None else _DROPOUT[self.kind]

"""What an evaluation recipe may say."""

from typing import Literal

from pydantic import Field

from dataset_builder.recipe import StrictModel


class EvaluateRecipe(StrictModel):
    """What is evaluated.

    Parameters
    ----------
    split : {"auto", "test", "validation"}
        Of a corpus; ``"auto"``: test, or validation where there are no test subjects.
    held_out_fold : int or None
        Of a corpus: clips of this fold were kept from training; None if none was. For people of a folder the model's
        manifests tell.
    max_rows : int or None
        At most so many trials, drawn at random over both protocols.
    probes : list of str
        ``"emotion"``: a linear probe on the code. ``"clip"``: one that recognises clips.
    controls : {"off", "basic", "full"}
        ``"basic"``: those that need no pass of the model, or a few. ``"full"``: codes exchanged between trials and
        noise as well; where the recordings are at hand, noise of their spectrum and the field's DE + SVM.
    control_rows : int
        At most so many trials per protocol of which the model is asked again for controls.
    reference_rows : int
        At most so many training rows that a model is asked about to set thresholds of its prediction sets, see
        `model_recipes.evaluation.conformal`; 0 leaves that out. Only for codes whose training rows were cross-fitted.
    generated_rows : int
        Trials per protocol to which the model writes a free answer.
    svm_every : int
        The field's SVM learns from every so many seconds.
    seed : int
    """

    split: Literal["auto", "test", "validation"] = "auto"
    held_out_fold: int | None = Field(default=0, ge=0, le=2)
    max_rows: int | None = Field(default=None, ge=1)
    probes: list[Literal["emotion", "clip"]] = ["emotion", "clip"]
    controls: Literal["off", "basic", "full"] = "basic"
    control_rows: int = Field(default=140, ge=1)
    reference_rows: int = Field(default=280, ge=0)
    generated_rows: int = Field(default=0, ge=0)
    svm_every: int = Field(default=3, ge=1, le=30)
    seed: int = 17


class PeopleRecipe(EvaluateRecipe):
    """An evaluation on the people of a folder: what is measured, and on whom.

    Parameters
    ----------
    subjects : list of str
    protocol : str
        A name in `model_recipes.evaluation.protocols.PROTOCOL_NAMES`, a fold after a colon where one is needed.
    """

    subjects: list[str]
    protocol: str = "auto"

"""What every record states, whatever was found: its notice by status, what the headline is, and the limits."""

from typing import Literal

Status = Literal["draft", "edited", "signed", "amended"]

_USE = "For research use only. Not a medical device. Not for diagnosis, treatment, triage or monitoring. "

#: Stands at the top and the bottom of every rendering, by status.
NOTICES: dict[Status, str] = {
    "draft": _USE + "This draft was written by a program and has not been reviewed by a qualified person.",
    "edited": _USE + "This draft was written by a program, changed by a person and not signed.",
    "signed": _USE + "This record was drafted by a program and signed by the person named in it.",
    "amended": _USE + "This record was drafted by a program, signed by the person named in it and amended since.",
}

#: The notice of everything that nobody has reviewed.
NOTICE = NOTICES["draft"]

#: What the headline is, in the words of every rendering.
WORDING = "Model estimate of stimulus-evoked emotion"

#: What no reader may miss.
LIMITS: tuple[str, ...] = (
    "The labels the model learned are the emotions that film clips were meant to evoke, not what people felt; a "
    "person's own report comes first.",
    "The training population is one laboratory's healthy volunteers of 17 to 38 years (FACED: Chen et al. 2023, "
    "Scientific Data 10:740). Nothing is known of patients, other ages or other cultures.",
    "Each training clip carries one emotion, so a model may recognise the clip instead of the emotion. Accuracy on "
    "clips that were never trained on is the number to look at.",
    "The estimate says nothing of mood, personality, intent, truthfulness, suicide risk or any mental disorder.",
    "Scores are not calibrated probabilities. Scaling to the person uses all windows of the recording, unlabelled.",
    "Never to be used at work, in education, recruiting, insurance, policing, border control or courts (see also "
    "Article 5(1)(f) of Regulation (EU) 2024/1689).",
    "EEG itself can identify a person. Treat this page, its picture of the signal and the code that the model read as "
    "personal health data.",
)

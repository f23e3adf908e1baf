"""What may be said of a model: only what its controls bear out."""

from typing import Any

from cards.chain import Chain

#: The measure and the protocol that a sentence about emotion rests on.
MEASURE = "balanced_accuracy"
STRICTEST = "unseen subjects and clips"


def list_verdicts(chain: Chain) -> list[dict[str, Any]]:
    """Return the verdicts on what this folder holds: ``reader``, ``protocol``, ``reads_eeg``, ``text``, ``clips``."""
    own = chain.own_readers()
    return [verdict for verdict in chain.verdicts() if verdict["reader"] in own]


def is_supported(chain: Chain, reader: str, protocol: str) -> bool:
    """Tell whether the controls of one reader under one protocol were run and passed, on recorded people."""
    told = [v for v in list_verdicts(chain) if v["reader"] == reader and v["protocol"] == protocol]
    return not chain.synthetic and any(verdict["reads_eeg"] is True for verdict in told)


def say_verdict(chain: Chain) -> str:
    """Return the one sentence about this folder that stands at the top of its card."""
    if chain.synthetic:
        return "Nothing is claimed of it: it was made from invented recordings."
    verdicts = list_verdicts(chain)
    if not verdicts:
        return "Nothing is claimed of it: no evaluation with controls is at hand."
    passed = [v for v in verdicts if v["reads_eeg"] is True]
    if any(v["protocol"] == STRICTEST for v in passed):
        return "On people and clips that training never met, its controls pass: its answers depend on the EEG."
    if passed:
        return (
            "On people whom training never met its controls pass, but only on clips that it knows: how much of that is "
            "the clip stands in the table of controls."
        )
    return "Its controls do not pass: it is not shown that its answers depend on the EEG."

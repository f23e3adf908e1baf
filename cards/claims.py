"""What may be said of a model: only what its controls bear out."""

from typing import Any

from cards.chain import Chain

#: The measure and the protocol that a sentence about emotion rests on.
MEASURE = "balanced_accuracy"
STRICTEST = "unseen subjects and clips"

#: Protocols whose people training never met; of others nothing is claimed.
UNMET = ("unseen subjects", STRICTEST)


def list_verdicts(chain: Chain) -> list[dict[str, Any]]:
    """Return the verdicts on what this folder holds: ``reader``, ``protocol``, ``reads``, ``text``, ``clips``.

    Those on the reader that stands for the folder come first.
    """
    own = chain.own_readers()
    found = [verdict for verdict in chain.verdicts() if verdict["reader"] in own]
    chosen = chain.choose_reader([verdict["reader"] for verdict in found])
    return sorted(found, key=lambda verdict: verdict["reader"] != chosen)


def has_passed(verdict: dict[str, Any]) -> bool:
    """Tell whether a reader was above every control without the trial's own EEG, on people whom training never met."""
    return verdict.get("protocol") in UNMET and verdict.get("reads") in ("film", "eeg")


def reads_eeg(verdict: dict[str, Any]) -> bool:
    """Tell whether a reader was also above the EEG of another person at the same clip."""
    return has_passed(verdict) and verdict["reads"] == "eeg"


def is_supported(chain: Chain, reader: str, protocol: str) -> bool:
    """Tell whether the controls of one reader under one protocol were run and passed, on recorded people."""
    told = [v for v in list_verdicts(chain) if v["reader"] == reader and v["protocol"] == protocol]
    return not chain.synthetic and any(map(has_passed, told))


def say_verdict(chain: Chain) -> str:
    """Return the one sentence about this folder that stands at the top of its card."""
    if chain.synthetic:
        return f"Nothing is claimed of it. {chain.tell_invented()}"
    told = [verdict for verdict in list_verdicts(chain) if verdict["protocol"] in UNMET]
    chosen = chain.choose_reader([verdict["reader"] for verdict in told])
    verdicts = [verdict for verdict in told if verdict["reader"] == chosen]
    if not verdicts:
        return "Nothing is claimed of it: no evaluation with controls on people whom training never met is at hand."
    passed = [verdict for verdict in verdicts if has_passed(verdict)]
    if not passed:
        return "Its controls do not pass: it is not shown that its answers depend on the EEG."
    strict = [verdict for verdict in passed if verdict["protocol"] == STRICTEST]
    people = "people and clips that training never met" if strict else "people whom training never met, at known clips"
    said = f"On {people}, its answers depend on the EEG"
    if any(map(reads_eeg, strict or passed)):
        return f"{said}, and on more of it than people at the same clip share."
    return f"{said}; they are not shown to depend on anything of the person beyond the film."

"""Who was trained on, told by their data alone: enough to recognise a person again, and to name nobody.

A model that is handed on without its corpus must still be able to say that it has met somebody. Pseudonyms will not do:
another folder may number its people anew. The digest of a trial's data is the same wherever the trial stands.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from dataset_builder.extract import SubjectFacts
from dataset_builder.recipe import StrictModel

#: Digests that are kept of a person, the smallest ones: whoever lacks a few trials is recognised all the same.
_PER_PERSON = 4

#: Hexadecimal digits of a digest that are kept; 64 bits, so that no two of a thousand people agree by chance.
_DIGITS = 16


class TrainedPeople(StrictModel):
    """Digests of the training subjects' data.

    Parameters
    ----------
    form : str
        Which array was digested: ``"signal_uv"``, ``"de"`` or ``"psd"``. In another form the same person has other
        digests and cannot be recognised.
    source : str
        Name of the source that read them: another one may scale or filter differently.
    people : list of list of str
        Digests of some of each person's trials, in an order that follows from nobody's name.
    """

    form: str
    source: str
    people: list[list[str]]

    def knows(self, person: SubjectFacts) -> bool:
        """Tell whether a person is one of these."""
        own = {trial.digest[:_DIGITS] for trial in person.trials}
        return any(own & set(digests) for digests in self.people)

    def can_tell(self, person: SubjectFacts, source: str) -> bool:
        """Tell whether somebody who is not recognised is somebody else."""
        return bool(person.trials) and (person.digest_of, source) == (self.form, self.source)


def describe_people(people: Iterable[SubjectFacts], source: str) -> dict[str, Any] | None:
    """Return `TrainedPeople` as JSON for a manifest; None where people were read in different forms, or nobody was."""
    known = [person for person in people if person.trials]
    forms = {person.digest_of for person in known}
    if len(forms) != 1:
        return None
    sketches = sorted(_choose_digests([trial.digest for trial in person.trials]) for person in known)
    return TrainedPeople(form=forms.pop(), source=source, people=sketches).model_dump()


def _choose_digests(digests: Sequence[str]) -> list[str]:
    return sorted(digest[:_DIGITS] for digest in digests)[:_PER_PERSON]

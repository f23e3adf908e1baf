"""The crisis card: where to turn when an entered answer asks for a person to act now.

One file per locale; a number stands on a card only where the file names its source and the day it was checked. Unknown
locales get the card without a number. A card does not replace the hand-off to a person, which the record asks for.
"""

from functools import cache
from importlib import resources

import yaml

from dataset_builder.prompts import Language
from dataset_builder.recipe import StrictModel, validate

#: Cards that name a service; `load_card` knows a general one for everywhere else.
LOCALES: tuple[str, ...] = ("en-US",)


class CrisisLine(StrictModel):
    """One way to get help.

    Parameters
    ----------
    text : str
    contact : str
        Number or address; empty where the reader's own local one is meant.
    """

    text: str
    contact: str = ""


class CrisisCard(StrictModel):
    """What is shown.

    Parameters
    ----------
    title : str
    region : str
        Where the numbers are valid; empty for the general card.
    language : {"en", "zh"}
    lines : list of CrisisLine
    handoff : str
        Asks for the hand-off to a person.
    source, checked : str
        Where the numbers come from, and the month in which somebody looked; empty on the general card.
    """

    title: str
    region: str = ""
    language: Language
    lines: list[CrisisLine]
    handoff: str
    source: str = ""
    checked: str = ""


@cache
def load_card(locale: str = "en") -> CrisisCard:
    """Return the card of a locale such as ``"en-US"``; the general one in its language where none is kept.

    Parameters
    ----------
    locale : str
        Language and region (BCP 47); ``_`` is read as ``-``. A language that has no card gets English.
    """
    wanted = locale.replace("_", "-").partition(".")[0].lower()
    names = {name.lower(): name for name in LOCALES}
    name = names.get(wanted) or ("zh" if wanted.startswith("zh") else "en")
    text = resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return validate(CrisisCard, yaml.safe_load(text), where=f"crisis/{name}.yaml")

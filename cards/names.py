"""What no folder knows of itself: where things will live on the Hub, and on what terms."""

from dataclasses import dataclass

from cards.vocabulary import LICENCES, is_hub_id
from dataset_builder.errors import InputError


@dataclass(frozen=True)
class CardNames:
    """Names that come from whoever publishes.

    Parameters
    ----------
    repo_id : str, optional
        The repository of this card, ``namespace/name``. Without it, examples load from the local folder.
    base_model : str, optional
        The repository of the model that this one was made from; of a Space, of the model that it runs.
    dataset : str, optional
        The repository of the corpus.
    licence : str, optional
        Licence of the base model, for bases whose manifest does not tell it.
    """

    repo_id: str | None = None
    base_model: str | None = None
    dataset: str | None = None
    licence: str | None = None

    def __post_init__(self) -> None:
        if self.licence is not None and self.licence not in LICENCES - {"other", "unknown"}:
            raise InputError(f"--licence: {self.licence!r} is not a licence identifier of the Hub")
        for option, name in (
            ("--repo-id", self.repo_id),
            ("--base-model", self.base_model),
            ("--dataset", self.dataset),
        ):
            if name is not None and not is_hub_id(name):
                raise InputError(f"{option}: {name!r} is not of the form namespace/name")

"""What the source ``recordings`` can be told in a recipe."""

from pathlib import PurePosixPath
from typing import Literal

from pydantic import field_validator

from dataset_builder.sources.base import SourceConfig
from dataset_builder.types import EMOTIONS

#: What a label can mean, as cards say it.
LABELS_ARE = {
    "evoked": "Labels say which emotion the stimulus was meant to evoke, not what anybody felt.",
    "self-report": "Labels are what people reported of themselves.",
}


class FolderConfig(SourceConfig):
    """What the source can be told.

    Parameters
    ----------
    table : str
        CSV file, relative to the folder.
    labels : dict of str to str
        The table's own words -> `EMOTIONS`, for example ``{happy: joy}``.
    labels_are : {"evoked", "self-report"}
        What a label means; cards say it.
    facial_features : list of str
        Columns with facial features such as action units; only these can enter a prompt.
    title, licence_id, licence_name, citation, url, population : str
        What cards say of the data.
    """

    name: Literal["recordings"] = "recordings"
    table: str = "recordings.csv"
    labels: dict[str, str] = {}
    labels_are: Literal["evoked", "self-report"] = "evoked"
    facial_features: list[str] = []
    title: str = "A folder of EEG recordings"
    licence_id: str = "other"
    licence_name: str = "not stated"
    citation: str = "not stated"
    url: str = "not stated"
    population: str = "Who was recorded is not stated."

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(set(labels.values()) - set(EMOTIONS)):
            raise ValueError(f"labels map to {', '.join(unknown)}; accepted: {', '.join(EMOTIONS)}")
        return labels

    @field_validator("table")
    @classmethod
    def _check_table(cls, table: str) -> str:
        path = PurePosixPath(table)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError("table must lie in the folder")
        return table

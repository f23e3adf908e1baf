"""Raw data -> Recording.

``faced`` reads FACED's release layout, which the synthetic cohort (`synthetic.write_cohort`) shares; `recordings` reads
one recording file. To add a data set, write a file with a subclass of `base.Source`, add a line to `SOURCES` and name
it in the README.
"""

from dataset_builder.sources.base import Source
from dataset_builder.sources.faced import FacedSource

SOURCES: dict[str, type[Source]] = {"faced": FacedSource}

__all__ = ["SOURCES", "Source"]

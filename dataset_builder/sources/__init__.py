"""Raw data -> Recording.

``faced`` reads FACED's release layout in every form, which the synthetic cohort (`synthetic.write_cohort`) shares, and
``faced_bids`` its BIDS copy; ``recordings`` reads a folder of one's own files with a table, ``seed_iv`` SEED-IV's
release. The module `recordings` reads one file. To add a data set, write a file with a subclass of
`base.Source`, add a line to `SOURCES` and to `SourceSection`, and name it in the README.
"""

from dataset_builder.sources.base import Source
from dataset_builder.sources.faced import FacedConfig, FacedSource
from dataset_builder.sources.faced_bids import FacedBidsConfig, FacedBidsSource
from dataset_builder.sources.folder import FolderConfig, RecordingsSource
from dataset_builder.sources.seed_iv import SeedIvConfig, SeedIvSource

SOURCES: dict[str, type[Source]] = {
    "faced": FacedSource,
    "faced_bids": FacedBidsSource,
    "recordings": RecordingsSource,
    "seed_iv": SeedIvSource,
}

#: The section `source` of a recipe; its `name` decides.
SourceSection = FacedConfig | FacedBidsConfig | FolderConfig | SeedIvConfig

__all__ = ["SOURCES", "FacedConfig", "Source", "SourceSection"]

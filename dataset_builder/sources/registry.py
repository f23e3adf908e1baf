"""Which sources there are; read through `dataset_builder.sources`, which loads them when they are asked for."""

from dataset_builder.sources.base import Layout, Source
from dataset_builder.sources.faced import FacedConfig, FacedSource
from dataset_builder.sources.faced_bids import FacedBidsConfig, FacedBidsSource
from dataset_builder.sources.folder import FolderConfig, RecordingsSource
from dataset_builder.sources.seed_iv import SeedIvConfig, SeedIvSource

SOURCES: dict[str, type[Layout]] = {
    "faced": FacedSource,
    "faced_bids": FacedBidsSource,
    "recordings": RecordingsSource,
    "seed_iv": SeedIvSource,
}

#: The section `source` of a recipe; its `name` decides.
SourceSection = FacedConfig | FacedBidsConfig | FolderConfig | SeedIvConfig

__all__ = ["SOURCES", "FacedConfig", "Source", "SourceSection"]

"""Raw data -> Recording.

``faced`` reads FACED's release layout in every form, which the synthetic cohort (`synthetic.write_cohort`) shares, and
``faced_bids`` its BIDS copy; ``recordings`` reads a folder of one's own files with a table, ``seed_iv`` SEED-IV's
release. The module `recordings` reads one file. To add a data set, write a file with a subclass of
`base.Source`, add a line to `SOURCES` and to `SourceSection` in ``registry.py``, and name it in the README.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataset_builder.sources.registry import SOURCES, FacedConfig, Source, SourceSection

__all__ = ["SOURCES", "FacedConfig", "Source", "SourceSection"]


def __getattr__(name: str) -> Any:
    """Load the sources when one is asked for: who reads a single recording needs none of them, nor their packages."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dataset_builder.sources import registry

    return getattr(registry, name)

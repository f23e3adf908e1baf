"""De-identification of recordings: EDF, BDF, FIF, BrainVision, EEGLAB -> the same signal without who and when.

Every output header is built anew from fields that are known to be harmless; nothing else of a header is copied. What
was left out is told by class (`CLASSES`) and never by value.
"""

from copilot.deid.findings import CLASSES, HeaderField
from copilot.deid.preview import preview_header

__all__ = ["CLASSES", "HeaderField", "preview_header"]

"""EEG -> corpus.

``raw folder -> Recording -> Trial -> Code -> prompt and answer -> Parquet corpus``. In: a FACED-layout folder or, for
one record, one recording file. Out: a folder that ``datasets.load_dataset`` reads. Imports nothing else of ours and no
torch.

Importing this package makes ``datasets.load_dataset("eeg-emotion-copilot", ...)`` known, see `registration`.
"""

from dataset_builder.registration import register

register()

"""What SEED-IV's ReadMe and channel table state: rate, channels, and the emotion of each clip."""

import re
from pathlib import Path

from dataset_builder.errors import InputError
from dataset_builder.sources.workbooks import read_first_sheet

README = "ReadMe.txt"
CHANNEL_TABLE = "Channel Order.xlsx"

SFREQ_HZ = 200.0

#: Rows of every array, as ``Channel Order.xlsx`` lists them. CB1 and CB2 are below the 10-10 system.
CHANNELS: tuple[str, ...] = tuple(
    """FP1 FPZ FP2 AF3 AF4 F7 F5 F3 F1 FZ F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCZ FC2 FC4 FC6 FT8
    T7 C5 C3 C1 CZ C2 C4 C6 T8 TP7 CP5 CP3 CP1 CPZ CP2 CP4 CP6 TP8 P7 P5 P3 P1 PZ P2 P4 P6 P8
    PO7 PO5 PO3 POZ PO4 PO6 PO8 CB1 O1 OZ O2 CB2""".split()
)

#: Clips of one session.
N_CLIPS = 24

#: The release's numbers 0 to 3 -> our emotions; it calls them neutral, sad, fear and happy.
CODES: tuple[str, ...] = ("neutral", "sadness", "fear", "joy")

#: Session -> emotion of each of its clips.
LABELS: dict[int, tuple[str, ...]] = {
    session: tuple(CODES[int(code)] for code in codes)
    for session, codes in {
        1: "123020010121112322330303",
        2: "213002023323201121030131",
        3: "122133311210233023002010",
    }.items()
}


def check_labels(path: Path) -> None:
    """Compare the labels that the release's ReadMe states, where it is there, with those that are used.

    Raises
    ------
    InputError
        If they differ, or the file cannot be read.
    """
    if not path.is_file():
        return
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{README}: cannot be read ({error.strerror})") from None
    for session, numbers in re.findall(r"session(\d)_label\s*=\s*\[([\d,\s]+)\]", text):
        told = tuple(CODES[int(n)] for n in re.findall(r"\d+", numbers) if int(n) < len(CODES))
        if told != LABELS.get(int(session)):
            raise InputError(f"{README}: labels of session {session} differ from those of the release")


def check_channels(path: Path) -> None:
    """Compare the release's channel table, where it is there, with the order that is used.

    Raises
    ------
    InputError
        If they differ, or the file cannot be read.
    """
    if not path.is_file():
        return
    rows = read_first_sheet(path, CHANNEL_TABLE)
    told = tuple(str(row[0]).strip().upper() for row in rows if row and row[0])
    if told != CHANNELS:
        raise InputError(f"{CHANNEL_TABLE}: lists {len(told)} channels in another order than the release's 62")

"""Recordings in five formats that say in every place who was recorded, when, by whom and with what."""

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from pathlib import Path

import mne
import numpy as np
from edfio import Bdf, BdfSignal, Edf, EdfAnnotation, EdfSignal, Patient
from edfio import Recording as EdfRecording
from scipy.io import savemat

#: Words that must be found nowhere, each planted at least once in every format.
NAME, MRN, DOCTOR, SERIAL, WARD = "Quackenbush", "MRN-778899", "Zwingli", "AMP-4711", "Brombeerweg"
#: One with letters that UTF-8 and Latin-1 write differently, one in letters that only UTF-8 and UTF-16 have.
UMLAUT, HAN = "Jürgensøn", "欧阳娜娜"
DATES = ("02-FEB-1931", "1931-02-03", "20210405101112000000", "05.04.21", "10.11.12", "2021-04-05")
WORDS = (NAME, MRN, DOCTOR, SERIAL, WARD, UMLAUT, HAN, *DATES)

CHANNELS = ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "O1", "O2", "T7", "T8", NAME)
SFREQ_HZ, SECONDS = 100, 4
FREE_TEXT = f"Pt. {NAME} {UMLAUT} of {WARD} says hello, {DATES[5]}"
KNOWN = ("eyes open", "S  1", "clip 12")


def make_signal() -> np.ndarray:
    """Return made-up samples of shape (11, 400), µV."""
    return np.random.default_rng(3).normal(0, 20, (len(CHANNELS), SFREQ_HZ * SECONDS))


def write_edf(folder: Path) -> Path:
    return _write_edf(folder / f"{NAME}_{DATES[1]}.edf", Edf, EdfSignal)


def write_bdf(folder: Path) -> Path:
    return _write_edf(folder / f"{NAME}_{DATES[1]}.bdf", Bdf, BdfSignal)


def write_edf_latin(folder: Path) -> Path:
    """Write an EDF file that MNE cannot read for its Latin-1."""
    return _write_edf(folder / f"{NAME}_{DATES[1]}.edf", Edf, EdfSignal, "latin-1")


def _write_edf(path: Path, of_type: type, signal_type: type, encoding: str = "utf-8") -> Path:
    signals = [
        signal_type(row, SFREQ_HZ, label=f"EEG {name}-REF"[:16], physical_dimension="uV", physical_range=(-200, 200),
                    transducer_type=f"{SERIAL} electrode", prefiltering=f"HP:0.1Hz {DOCTOR}")
        for name, row in zip(CHANNELS, make_signal(), strict=True)
    ]  # fmt: skip
    annotations = [EdfAnnotation(1 + i * 0.1, None, text) for i, text in enumerate((*KNOWN, FREE_TEXT, HAN))]
    of_type(
        signals,
        patient=Patient(code=MRN, sex="F", birthdate=date(1931, 2, 2), name=NAME),
        recording=EdfRecording(
            startdate=date(2021, 4, 5), hospital_administration_code=WARD, investigator_technician_code=DOCTOR,
            equipment_code=SERIAL,
        ),
        starttime=time(10, 11, 12),
        annotations=annotations,
    ).write(path)  # fmt: skip
    data = bytearray(path.read_bytes())
    n_signals = int(data[252:256])
    at = 256 + n_signals * (256 - 32)
    data[at : at + 32] = f"{UMLAUT} {WARD}".encode(encoding).ljust(32)  # the reserved field of the first channel
    data[192 + 5 : 192 + 5 + 12] = NAME.encode().ljust(12)  # behind "EDF+C"
    path.write_bytes(bytes(data) + f"trailing {DOCTOR}".encode())
    return path


def write_fif(folder: Path) -> Path:
    info = mne.create_info([*CHANNELS[:-1], f"EEG of {NAME} with a long name"], SFREQ_HZ, "eeg")
    raw = mne.io.RawArray(make_signal() * 1e-6, info, first_samp=50, verbose="ERROR")
    places = {name: np.array([0.01 * i, 0.05, 0.08]) for i, name in enumerate(CHANNELS[:-1])}
    face = np.random.default_rng(0).normal(0, 0.05, (20, 3))
    raw.set_montage(
        mne.channels.make_dig_montage(places, hsp=face, nasion=(0, 0.1, 0), lpa=(-0.08, 0, 0), rpa=(0.08, 0, 0)),
        on_missing="ignore", verbose="ERROR",
    )  # fmt: skip
    raw.set_meas_date(datetime(2021, 4, 5, 10, 11, 12, tzinfo=UTC))
    raw.info["bads"] = ["O2", f"EEG of {NAME} with a long name"]
    raw.info["experimenter"], raw.info["description"] = DOCTOR, f"{FREE_TEXT} {HAN}"
    raw.info["subject_info"] = {
        "his_id": MRN, "last_name": NAME, "first_name": UMLAUT, "birthday": date(1931, 2, 2), "sex": 2,
    }  # fmt: skip
    raw.info["device_info"] = {"type": "amplifier", "model": "x", "serial": SERIAL, "site": WARD}
    with raw.info._unlock():
        raw.info["proj_name"], raw.info["proj_id"] = WARD, 1
        raw.info["line_freq"] = 50.0
    texts = [*KNOWN, FREE_TEXT, HAN]
    notes = mne.Annotations(np.arange(5) * 0.5 + 0.6, 0.1, texts, orig_time=raw.info["meas_date"],
                            ch_names=[(), (f"EEG of {NAME} with a long name",), (), (), ()])  # fmt: skip
    raw.set_annotations(notes)
    path = folder / f"{NAME}_{DATES[1]}_raw.fif"
    raw.save(path, verbose="ERROR")
    return path


def write_brainvision(folder: Path, encoding: str = "utf-8") -> Path:
    stem = f"{NAME}_{DATES[1]}"
    path = folder / f"{stem}.vhdr"
    (make_signal().T * 10).astype("<i2").tofile(folder / f"{stem}.eeg")
    han = HAN if encoding == "utf-8" else ""
    lines = ["Brain Vision Data Exchange Header File Version 1.0", f"; {DOCTOR} {han}", "[Common Infos]"]
    lines += ["Codepage=UTF-8"] * (encoding == "utf-8")
    lines += [f"DataFile={stem}.eeg", f"MarkerFile={stem}.vmrk", "DataFormat=BINARY", "DataOrientation=MULTIPLEXED"]
    lines += [f"NumberOfChannels={len(CHANNELS)}", f"SamplingInterval={1e6 / SFREQ_HZ:g}", f"Operator={DOCTOR}"]
    lines += ["[Binary Infos]", "BinaryFormat=INT_16", "[User Infos]", f"Prop1=string,SubjectID,{MRN}"]
    lines += ["[Channel Infos]"]
    lines += [f"Ch{i}={name},{SERIAL if i == 2 else ''},0.1,µV" for i, name in enumerate(CHANNELS, start=1)]
    lines += [
        "[Coordinates]",
        *(f"Ch{i}=1,-{i}0,7" for i in range(1, 12)),
        "[Comment]",
        "",
        "A m p l i f i e r  S e t u p",
    ]
    lines += [f"Patient {NAME} {UMLAUT}, amplifier {SERIAL} [ward]", "[Common Infos]", f"Ward={WARD}"]
    path.write_bytes("\r\n".join(lines).encode(encoding))
    marks = ["Brain Vision Data Exchange Marker File, Version 1.0", "[Common Infos]", f"DataFile={stem}.eeg"]
    marks += [f"; {FREE_TEXT}", "[Marker Infos]", f"Mk1=New Segment,,1,1,0,{DATES[2]}", "Mk2=Stimulus,S  1,100,1,0"]
    marks += [f"Mk3=Comment,{FREE_TEXT.replace(',', chr(92) + '1')},150,1,0", f"Mk4={NAME},S  2,160,1,0"]
    marks += ["Mk5=Comment,eyes open,170,1,0", "Mk6=Comment,clip 12,180,1,0", f"Mk7=Stimulus,S  3,190,1,0,{MRN}"]
    (folder / f"{stem}.vmrk").write_bytes("\r\n".join([*marks, f"[{DOCTOR}]", f"a={MRN}"]).encode(encoding))
    return path


def write_brainvision_latin(folder: Path) -> Path:
    return write_brainvision(folder, "latin-1")


def write_eeglab(folder: Path, *, side_file: bool = True) -> Path:
    path = folder / f"{NAME}_{DATES[1]}.set"
    signal = make_signal().astype(np.float32)
    labels = [{"labels": name, "X": 0.1 * i, "Y": 0.5, "Z": 1.0, "type": DOCTOR if i == 1 else "EEG", "urchan": i,
               "note": MRN} for i, name in enumerate(CHANNELS)]  # fmt: skip
    events = [{"type": text, "latency": 50.0 * (i + 1), "duration": 0.0, "comment": f"{DOCTOR} {HAN}"}
              for i, text in enumerate((*KNOWN, FREE_TEXT))]  # fmt: skip
    if side_file:
        signal.T.tofile(path.with_suffix(".fdt"))
        with path.with_suffix(".fdt").open("ab") as stream:
            stream.write(f"by {DOCTOR}".encode("utf-16-le"))
    eeg = {
        "setname": f"{NAME} {UMLAUT}", "filename": path.name, "filepath": f"C:\\{WARD}\\{NAME}", "subject": MRN,
        "group": WARD, "condition": HAN, "session": DATES[0], "comments": FREE_TEXT, "nbchan": len(CHANNELS),
        "trials": 1, "pnts": SFREQ_HZ * SECONDS, "srate": float(SFREQ_HZ), "xmin": 0.0, "xmax": SECONDS - 0.01,
        "data": path.with_suffix(".fdt").name if side_file else signal, "ref": DOCTOR, "history": f"load {NAME}",
        "etc": {"amplifier": SERIAL, MRN.replace("-", "_"): {"recorded": DATES[5]}}, "chanlocs": _as_structs(labels),
        "event": _as_structs(events), "icaweights": np.eye(3), NAME: 1.0,
    }  # fmt: skip
    savemat(path, {"EEG": eeg}, appendmat=False)
    return path


def write_eeglab_embedded(folder: Path) -> Path:
    return write_eeglab(folder, side_file=False)


def _as_structs(rows: list[dict]) -> np.ndarray:
    found = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for index, row in enumerate(rows):
        found[0, index] = tuple(row.values())
    return found


WRITERS: dict[str, Callable[[Path], Path]] = {
    "edf": write_edf,
    "bdf": write_bdf,
    "fif": write_fif,
    "brainvision": write_brainvision,
    "brainvision-latin-1": write_brainvision_latin,
    "eeglab": write_eeglab,
    "eeglab-embedded": write_eeglab_embedded,
}


def find_words(folder: Path, text: str = "") -> list[str]:
    """Return which planted words are in a text, in a file below a folder or in its name, in any encoding."""
    parts = [text.encode("utf-8"), *(path.name.encode() for path in folder.rglob("*"))]
    parts += [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    forms = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
    patterns = {word: {word.encode(form, "ignore") for form in forms} - {b""} for word in WORDS}
    return [word for word, forms in patterns.items() if any(p.lower() in part.lower() for p in forms for part in parts)]


def copy_all(path: Path, folder: Path) -> Path:
    """Copy a recording with its side files."""
    for file in path.parent.glob(f"{path.stem}.*"):
        shutil.copy(file, folder / file.name)
    return folder / path.name

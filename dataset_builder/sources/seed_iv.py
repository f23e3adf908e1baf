"""SEED-IV (Zheng et al. 2019): 15 people in three sessions of 24 film clips each, all 72 clips different.

Read are ``eeg_raw_data/{1,2,3}/{subject}_{date}.mat``: one file per person and session, with variables that end in
``_eeg1`` to ``_eeg24`` and hold one clip each, shape (62, n_times) at 200 Hz. What stands before ``_eeg`` differs from
person to person and is ignored. Layout, channel order and labels agree in the authors' page, their ReadMe as several
public loaders quote it, and TorchEEG. Where ``ReadMe.txt`` and ``Channel Order.xlsx`` lie in the folder, they are
compared with what is used here.

Not confirmed by the documentation: the unit, which is taken for µV and refused if the size is not that of EEG; whether
the arrays were filtered before release (the authors describe 1-75 Hz for their features); and the reference.

The released features (``eeg_feature_smooth``) are smoothed over 4-s windows, unlike FACED's; features are computed from
the waveforms instead, as for every other source. CB1 and CB2 have no place in the 10-10 system and are left out.

Everybody saw the clips in the same order, so the place in the session cannot be told from the clip.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mne
import numpy as np
from pydantic import field_validator

from dataset_builder.errors import InputError
from dataset_builder.filters import filter_signal
from dataset_builder.preprocess import PreprocessingConfig, preprocess_pieces
from dataset_builder.sources.base import Layout, SourceConfig, SourceInfo
from dataset_builder.sources.faced_tables import is_synthetic
from dataset_builder.sources.mat_files import list_arrays, load_array
from dataset_builder.sources.montage import match_channels
from dataset_builder.sources.recording_files import find_unit_scale
from dataset_builder.sources.seed_iv_fake import write_seed_iv
from dataset_builder.sources.seed_iv_tables import (
    CHANNEL_TABLE,
    CHANNELS,
    LABELS,
    N_CLIPS,
    README,
    SFREQ_HZ,
    check_channels,
    check_labels,
)
from dataset_builder.types import Recording

#: The amplifier's own rate; the release is resampled to 200 Hz.
_DEVICE_SFREQ_HZ = 1000.0

#: The longest clip of the release lasts under 5 minutes; 20 are the bound.
_MAX_VALUES = 62 * 200 * 60 * 20

_FILE = re.compile(r"(\d{1,2})_\d{8}\.mat")
_VARIABLE = re.compile(r".*_eeg(\d{1,2})")

_REAL = SourceInfo(
    name="seed_iv",
    title="SEED-IV: SJTU Emotion EEG Dataset for four emotions",
    synthetic=False,
    licence_id="other",
    licence_name="signed licence agreement with the authors (BCMI, Shanghai Jiao Tong University); academic research "
    "only, do not redistribute the data",
    citation="Zheng WL, Liu W, Lu Y, Lu BL, Cichocki A (2019). EmotionMeter: a multimodal framework for recognizing "
    "human emotions. IEEE Transactions on Cybernetics 49(3):1110-1122. doi:10.1109/TCYB.2018.2797176",
    url="https://bcmi.sjtu.edu.cn/~seed/seed-iv.html",
    population="Recorded were 15 healthy students (8 women) of one university in China, who watched 72 film clips in "
    "three sessions; other ages, patients, other cultures and emotions outside the laboratory are not covered.",
)

_SYNTHETIC = SourceInfo(
    name="seed_iv",
    title="Synthetic data in SEED-IV's layout",
    synthetic=True,
    licence_id="apache-2.0",
    licence_name="Apache-2.0",
    citation="Made up for tests and trials of this software, in the layout of Zheng et al. (2019), "
    "doi:10.1109/TCYB.2018.2797176.",
    url="https://bcmi.sjtu.edu.cn/~seed/seed-iv.html",
    population="Nobody was recorded: all subjects are made up and say nothing about people.",
)


class SeedIvConfig(SourceConfig):
    """What the source can be told.

    Parameters
    ----------
    sessions : list of int
        Which of the three sessions are read.
    """

    name: Literal["seed_iv"] = "seed_iv"
    sessions: list[int] = [1, 2, 3]

    @field_validator("sessions")
    @classmethod
    def _check_sessions(cls, sessions: list[int]) -> list[int]:
        if not sessions or sorted(set(sessions)) != sessions or not set(sessions) <= set(LABELS):
            raise ValueError(f"sessions are {sessions}; accepted: one or more of 1, 2, 3 in this order")
        return sessions


@dataclass(frozen=True)
class _Session:
    """The clips of one file that can be used, cleaned."""

    clips: tuple[int, ...]
    emotions: tuple[str, ...]
    signal_uv: np.ndarray
    notes: tuple[str, ...]


class SeedIvSource(Layout):
    """SEED-IV's release. See the module for the files.

    Parameters
    ----------
    root : Path
        Folder that holds ``eeg_raw_data``.
    config : SeedIvConfig, optional
    preprocessing : PreprocessingConfig, optional
        Used within each session: the cap was put on anew for the next one.
    """

    Config = SeedIvConfig

    def __init__(
        self, root: Path, config: SeedIvConfig | None = None, preprocessing: PreprocessingConfig | None = None
    ) -> None:
        super().__init__(root, config, preprocessing)
        if not (self.root / "eeg_raw_data").is_dir():
            raise InputError(f"{self.root.name}: holds no eeg_raw_data; expected SEED-IV's release layout")
        check_labels(self.root / README)
        check_channels(self.root / CHANNEL_TABLE)
        self._synthetic = is_synthetic(self.root)
        montage = match_channels(CHANNELS)
        self._rows = [CHANNELS.index(name) for name in montage.used]
        self._channels = tuple(montage.used.values())

    @property
    def info(self) -> SourceInfo:
        """Origin, licence, citation, population."""
        return _SYNTHETIC if self._synthetic else _REAL

    def subjects(self) -> list[str]:
        """Return the pseudonyms of all subjects with data, sorted: sub01 to sub15."""
        found = sorted({subject for session in self.config.sessions for subject in self._list_files(session)})
        if not found:
            raise InputError(f"{self.root.name}: eeg_raw_data holds no file such as 1/1_20160518.mat")
        return found

    def read(self, subject: str, reads: str = "de") -> Recording:
        """Read all sessions of one subject; see `Source.read`."""
        files = self._files(subject)
        sessions = [self._read_session(path, session) for session, path in files.items()]
        missing = [session for session in self.config.sessions if session not in files]
        clips = tuple(clip for session in sessions for clip in session.clips)
        return Recording(
            subject=subject,
            channels=self._channels,
            clips=clips,
            emotions=tuple(emotion for session in sessions for emotion in session.emotions),
            signal_uv=np.concatenate([session.signal_uv for session in sessions]),
            sfreq_hz=self.preprocessing.sfreq_hz,
            ranks=clips,  # numbered in the order in which everybody saw them
            device_sfreq_hz=_DEVICE_SFREQ_HZ,
            synthetic=self._synthetic,
            notes=(
                "CB1 and CB2 left out: they have no place in the 10-10 system",
                *(f"session {session} is not there" for session in missing),
                *(note for session in sessions for note in session.notes),
            ),
        )

    def files(self, subject: str, reads: str = "de") -> list[Path]:
        """Return the files that `read` opens for a subject."""
        return list(self._files(subject).values())

    def tables(self) -> list[Path]:
        """Return the ReadMe and the channel table where they are there."""
        return [path for path in (self.root / README, self.root / CHANNEL_TABLE) if path.is_file()]

    @classmethod
    def write_fake(cls, root: Path, n_subjects: int = 2, seed: int = 17) -> "SeedIvSource":
        """Write four made-up clips per session; see `Layout.write_fake`."""
        write_seed_iv(root, n_subjects, seed)
        return cls(root)

    def _list_files(self, session: int) -> dict[str, Path]:
        paths = sorted((self.root / "eeg_raw_data" / str(session)).glob("*.mat"))
        matches = ((_FILE.fullmatch(path.name), path) for path in paths)
        return {f"sub{int(match[1]):02d}": path for match, path in matches if match}

    def _files(self, subject: str) -> dict[int, Path]:
        listed = {session: self._list_files(session) for session in self.config.sessions}
        files = {session: paths[subject] for session, paths in listed.items() if subject in paths}
        if not files:
            raise InputError(f"eeg_raw_data: has no file of {subject!r}; subjects are sub01 to sub15")
        return files

    def _read_session(self, path: Path, session: int) -> _Session:
        name = path.relative_to(self.root).as_posix()
        arrays, notes = self._find_clips(path, name)
        trials = sorted(arrays)
        pieces = (self._load(path, arrays[trial], name) for trial in trials)
        try:
            scale, found = self._find_scale(self._load(path, arrays[trials[0]], name), name)
            signal_uv, cleaned = preprocess_pieces(
                pieces, len(trials), self._channels, self.preprocessing, show=f"session {session}", scale=scale
            )
        except InputError as error:
            raise InputError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from None
        return _Session(
            clips=tuple((session - 1) * N_CLIPS + trial for trial in trials),
            emotions=tuple(LABELS[session][trial - 1] for trial in trials),
            signal_uv=signal_uv,
            notes=tuple(f"session {session}: {note}" for note in (*notes, *found, *cleaned)),
        )

    def _find_clips(self, path: Path, name: str) -> tuple[dict[int, str], list[str]]:
        """Return clip -> variable for the clips that are long enough, and notes."""
        found, short = {}, []
        for variable, shape in list_arrays(path, name).items():
            match = _VARIABLE.fullmatch(variable)
            if not match or not 1 <= int(match[1]) <= N_CLIPS:
                continue
            trial = int(match[1])
            if len(shape) != 2 or shape[0] != len(CHANNELS):
                raise InputError(f"{name}: clip {trial} has shape {shape}, expected ({len(CHANNELS)}, n_times)")
            if shape[1] < round(self.preprocessing.trial_s * SFREQ_HZ):
                short.append(trial)
            elif trial in found:
                raise InputError(f"{name}: holds clip {trial} twice")
            else:
                found[trial] = variable
        if not found:
            raise InputError(f"{name}: holds no variable that ends in _eeg1 to _eeg{N_CLIPS} and is long enough")
        absent = N_CLIPS - len(found) - len(short)
        notes = [f"{absent} of {N_CLIPS} clips are not in the file"] if absent else []
        if short:
            notes.append(f"{len(short)} clips are shorter than {self.preprocessing.trial_s:g} s and left out")
        return found, notes

    def _load(self, path: Path, variable: str, name: str) -> mne.io.BaseRaw:
        values = load_array(path, variable, name, _MAX_VALUES)[self._rows].astype(np.float64)
        info = mne.create_info(list(self._channels), SFREQ_HZ, "eeg", verbose="ERROR")
        return mne.io.RawArray(values * 1e-6, info, verbose="ERROR")

    def _find_scale(self, piece: mne.io.BaseRaw, name: str) -> tuple[float, list[str]]:
        signal_uv = piece.get_data(verbose="ERROR") * 1e6
        if not np.isfinite(signal_uv).all():
            return 1.0, []  # told by `preprocess_pieces`
        return find_unit_scale(filter_signal(signal_uv, SFREQ_HZ), name)

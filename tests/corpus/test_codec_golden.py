"""What the model reads, one file per codec: a change of any of these lines is a new version of every corpus.

After a wanted change, write the files anew by hand and read the difference before committing it::

    python -m tests.corpus.test_codec_golden
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dataset_builder.codecs import CODECS, Target, make_codec
from dataset_builder.seeds import make_rng
from dataset_builder.types import EMOTIONS, SCALP_CHANNELS, Recording

FOLDER = Path(__file__).parent / "golden"


#: What band features are made of, by the axes (trial, channel, second, band) that each part differs over.
_LAYERS = ((1, 3), (0, 3), (0, 1, 3), (0, 1, 2, 3))


def make_person(number: int, n_trials: int = 9) -> Recording:
    """A synthetic recording: pink noise with an alpha rhythm at the back of the head, 30 s at 128 Hz, µV.

    Band features are drawn too instead of computed, so that these lines depend on codecs alone.
    """
    rng = make_rng(17, "golden", number)
    frequencies_hz = np.fft.rfftfreq(3840, 1 / 128)
    shape = 1 / np.maximum(frequencies_hz, 0.5)
    noise = rng.normal(size=(n_trials, 30, 1921)) + 1j * rng.normal(size=(n_trials, 30, 1921))
    back = np.array([name[0] in "PO" for name in SCALP_CHANNELS])
    alpha = 3 * np.exp(-(((frequencies_hz - 10) / 1.5) ** 2)) * (0.2 + back[:, None])
    gain = np.exp(rng.normal(0, 0.3, (n_trials, 30, 1)))
    signal = np.fft.irfft(noise * (shape + shape.mean() * alpha * rng.uniform(0.3, 1, (n_trials, 1, 1))), axis=-1)
    signal = gain * signal / signal.std() * 15
    shape = (n_trials, 30, 30, 5)
    de = sum(rng.normal(0, 0.4, [size if axis in axes else 1 for axis, size in enumerate(shape)]) for axes in _LAYERS)
    clips = tuple(range(1, n_trials + 1))
    return Recording(
        subject=f"sub{number:03d}",
        channels=SCALP_CHANNELS,
        clips=clips,
        emotions=(None,) * n_trials,
        signal_uv=signal.astype(np.float32),
        sfreq_hz=128.0,
        de=(2 + de).astype(np.float32),
        ranks=clips,
        synthetic=True,
    )


@cache
def make_people() -> tuple[Recording, ...]:
    return tuple(make_person(number) for number in range(5))


def write_code(name: str) -> str:
    """Return legend and text of one trial of a person that the codec was not fitted on."""
    codec = make_codec(CODECS[name].Config())
    people = {person.subject: codec.extract(person) for person in make_people()[:4]}
    targets = {subject: [Target(clip, EMOTIONS[clip - 1]) for clip in range(1, 10)] for subject in people}
    codec = codec.fit_supervised(people, targets, 17).codec if codec.supervised else codec.fit(people.values())
    return f"{codec.legend}\n\n{codec.to_text(codec.encode_recording(make_people()[4])[4])}\n"


@pytest.mark.parametrize("name", CODECS)
def test_the_model_reads_what_was_reviewed(name: str) -> None:
    assert write_code(name) == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def test_no_file_is_left_of_a_codec_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(CODECS)


def write_files() -> None:
    """Write all files; only ever called by hand."""
    FOLDER.mkdir(exist_ok=True)
    for name in CODECS:
        (FOLDER / f"{name}.txt").write_text(write_code(name), encoding="utf-8")


if __name__ == "__main__":
    write_files()

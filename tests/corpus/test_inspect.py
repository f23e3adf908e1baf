"""The inspect page: holds what the model reads, needs nothing from elsewhere, says what is missing."""

import base64
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from copilot.cli import main as run_cli
from dataset_builder.codecs import CODECS, Codec, make_codec
from dataset_builder.corpus import CorpusRecipe, build_corpus, load_codec, load_split
from dataset_builder.errors import InputError
from dataset_builder.inspection import Subject, render_inspection
from dataset_builder.inspection_figures import plot_comparison, plot_spectrum
from dataset_builder.recipe import validate
from dataset_builder.run_inspect import main
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort, write_recording_file
from tests.corpus.test_codec_golden import make_people
from tests.corpus.test_every_codec import fit_to

#: How each picture is called.
TRACE, SPECTRUM, MAPS, PAIR = "Traces of a few", "Power spectrum", "Scalp maps", "Decoded values and"


def fit_on_four(name: str, **options: object) -> Codec:
    codec = make_codec(CODECS[name].Config.model_validate(options))
    return fit_to(codec, [codec.extract(person) for person in make_people()[:4]])


@pytest.fixture(scope="module")
def subject() -> Subject:
    """Three trials of a person that no codec here was fitted on."""
    whole = make_people()[4]
    assert whole.signal_uv is not None
    assert whole.de is not None
    facts = {name: getattr(whole, name)[:3] for name in ("clips", "emotions", "ranks")}
    few = dataclasses.replace(whole, signal_uv=whole.signal_uv[:3], de=whole.de[:3], **facts)
    return Subject(few, few)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "cohort"
    write_cohort(SynthRecipe(subjects=4, seed=3, signals=["sub003"]), folder)
    return folder


@pytest.fixture(scope="module")
def corpus(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    split = {"protocol": "ranges", "train": [0, 1], "validation": [2, 2], "test": [3, 3]}
    values = {"name": "inspected", "version": 1, "codec": {"name": "band_power"}, "split": split}
    folder = tmp_path_factory.mktemp("out") / "corpus"
    build_corpus(validate(CorpusRecipe, values, where="test"), cohort, folder)
    return folder


def read_code(page: str) -> str:
    return re.findall(r'<pre class="code">(.*?)</pre>', page, flags=re.DOTALL)[0]


def check_self_contained(page: str) -> None:
    """No script, no address outside, no path; every picture is whole and inline."""
    assert "<script" not in page
    assert not re.search(r"https?://(?!www\.w3\.org)", re.sub(r"base64,[^\"]*", "", page))
    assert "default-src 'none'; img-src data:" in page
    assert "research use only" in page
    for kind, data in re.findall(r'src="data:image/([a-z+]+);base64,([^"]*)"', page):
        picture = base64.b64decode(data, validate=True)
        assert picture.startswith(b"\x89PNG" if kind == "png" else b"<?xml")
        assert kind == "png" or picture.rstrip().endswith(b"</svg>")


@pytest.mark.parametrize("name", CODECS)
def test_page_of_every_codec_shows_the_code_and_its_error(name: str, subject: Subject) -> None:
    codec = fit_on_four(name)
    page = render_inspection(subject, 2, codec)
    check_self_contained(page)
    assert read_code(page) == codec.to_text(codec.encode_recording(subject.recording)[2])
    assert all(f'alt="{start}' in page for start in (TRACE, SPECTRUM, MAPS, PAIR))
    assert f"{codec.n_tokens:,} for {codec.n_values:,} values" in page
    shown = [float(cell) for cell in re.findall(r'<td class="number">([\d.]+)</td>', page)]
    expected = codec.measure_error(subject.recording)
    assert np.allclose(shown, np.concatenate([expected[2], expected.mean(axis=0)]), atol=0.006)
    assert "Synthetic data" in page


def test_page_is_repeatable(subject: Subject) -> None:
    codec = fit_on_four("band_power")
    assert render_inspection(subject, 0, codec) == render_inspection(subject, 0, codec)


def test_features_alone_give_a_page_without_traces(subject: Subject) -> None:
    features = dataclasses.replace(subject.recording, signal_uv=None, sfreq_hz=None)
    page = render_inspection(Subject(features, None), 0, fit_on_four("band_power"))
    assert "Only band features are here" in page
    assert TRACE not in page
    assert MAPS in page
    assert PAIR in page


def test_missing_channels_are_named(subject: Subject) -> None:
    whole = subject.recording
    assert whole.signal_uv is not None
    assert whole.de is not None
    few = dataclasses.replace(
        whole, channels=whole.channels[4:9], signal_uv=whole.signal_uv[:, 4:9], de=whole.de[:, 4:9], notes=("A & B",)
    )
    page = render_inspection(Subject(few, few), 0, fit_on_four("band_power"))
    assert "scalp channels that are missing: Fp1, Fp2, Fz, F3, FC5, FC6" in page
    assert "Too few channels for a scalp map" in page
    assert "A &amp; B" in page


@pytest.mark.parametrize(("digits_apart", "answer"), [(True, "yes, in every pair"), (False, "no: it needs")])
def test_tokenizer_counts_and_is_asked(digits_apart: bool, answer: str, subject: Subject) -> None:
    codec = fit_on_four("band_power")
    text = codec.to_text(codec.encode_recording(subject.recording)[0])
    tokenizer = _CharacterTokenizer(glued=not digits_apart)
    page = render_inspection(subject, 0, codec, tokenizer=tokenizer)
    assert f"{len(text) + (not digits_apart):,}, counted" in page
    assert answer in page


class _CharacterTokenizer:
    """One token a character; `glued` puts one more before every text."""

    def __init__(self, glued: bool) -> None:
        self.glued = glued

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return [0] * self.glued + [ord(character) for character in text]


def test_power_of_one_window_and_of_many_and_waves_are_drawn_apart(subject: Subject) -> None:
    forms: list[tuple[str, dict[str, object]]] = [
        ("band_power", {}),
        ("band_power", {"space": "channels"}),
        ("band_power", {"windows": 3}),
        ("components", {"windows": 5, "n_components": 4}),
        ("raw", {"channels": ["Cz"]}),
    ]
    pictures = [plot_comparison(next(iter(fit_on_four(n, **o).compare(subject.recording)))) for n, o in forms]
    assert len(set(pictures)) == len(forms)
    for picture in pictures:
        assert picture.count(b"<svg") == 1


def test_spectrum_is_repeatable_and_follows_the_signal() -> None:
    seconds = np.arange(2500) / 250
    waves = [20 * np.sin(2 * np.pi * hz * seconds)[None] for hz in (6, 10)]
    theta, again, alpha = (plot_spectrum(wave, 250.0, ("Fz",)) for wave in (waves[0], waves[0], waves[1]))
    assert theta == again != alpha


def test_command_draws_the_row_of_a_corpus(
    corpus: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "page.html"
    arguments = ["inspect", "--raw", str(cohort), "--subject", "sub003", "--clip", "7", "--corpus", str(corpus)]
    assert run_cli([*arguments, "--out", str(out)]) == 0
    page = out.read_text(encoding="utf-8")
    check_self_contained(page)
    row = next(row for row in load_split(corpus, "test") if row["clip"] == 7)
    assert read_code(page) == row["code"]
    assert page.count("<h3>") == 2
    for name in (TRACE, SPECTRUM, MAPS, PAIR):
        assert name in page
    assert str(tmp_path) not in page
    assert str(cohort) not in page
    assert f"wrote {out}" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_command_draws_a_subject_without_waveforms(corpus: Path, cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    main(["--raw", str(cohort), "--subject", "sub000", "--clip", "1", "--corpus", str(corpus), "--out", str(out)])
    assert "Only band features are here" in out.read_text(encoding="utf-8")


def test_command_draws_a_recording_file(corpus: Path, tmp_path: Path, subject: Subject) -> None:
    edf = write_recording_file(
        dataclasses.replace(make_people()[4], sex="F"), tmp_path / "secret-name.edf", trials=[0, 1]
    )
    out = tmp_path / "page.html"
    main(["--recording", str(edf), "--window", "2", "--corpus", str(corpus), "--out", str(out)])
    page = out.read_text(encoding="utf-8")
    assert "window 2 of" in page
    assert "secret-name" not in page
    assert load_codec(corpus).from_text(read_code(page)).values.size == 45


def test_recipe_is_enough_for_a_codec_that_learns_nothing(cohort: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "page.html"
    recipe.write_text("name: x\nversion: 1\ncodec: {name: raw, channels: [Fz, Cz]}\n", encoding="utf-8")
    base = ["--raw", str(cohort), "--subject", "sub003", "--clip", "1", "--out", str(out), "--recipe", str(recipe)]
    assert main(base) == 0
    assert read_code(out.read_text(encoding="utf-8")).startswith("Fz ")
    recipe.write_text("name: x\nversion: 1\ncodec: {name: components}\n", encoding="utf-8")
    with pytest.raises(InputError, match="codec components is fitted on training subjects; give --corpus"):
        main(base)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subject", "sub009", "--clip", "1"], r"--subject sub009: not found; 4 subjects are there"),
        (["--subject", "sub003", "--clip", "29"], r"clip 29: not in sub003; clips that are there: 1, 2,"),
        (["--subject", "sub003"], r"give --raw, --subject and --clip, or --recording"),
        (["--subject", "sub003", "--clip", "1", "--tokenizer", "nowhere"], r"tokenizer nowhere: not found"),
        (["--subject", "sub003", "--clip", "1", "--recipe", "r.yaml"], r"either --corpus or --recipe"),
    ],
)
def test_mistakes_are_one_clear_line(
    arguments: list[str], message: str, corpus: Path, cohort: Path, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    with pytest.raises(InputError, match=message) as caught:
        main(["--raw", str(cohort), "--corpus", str(corpus), "--out", str(out), *arguments])
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert not out.exists()

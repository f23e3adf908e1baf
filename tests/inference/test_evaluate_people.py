"""Scoring the people of a folder with a model's own codec, and what may be called unseen of them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from factories import make_tiny_model
from peft import LoraConfig, get_peft_model

from dataset_builder.codecs import dump_codec
from dataset_builder.corpus import CODEC_FILE, CorpusRecipe, build_corpus, load_codec, load_split
from dataset_builder.errors import InputError
from dataset_builder.extract import SubjectFacts
from dataset_builder.manifest import Artifact, hash_file, read_manifest, write_bytes, write_text
from dataset_builder.noise import NoiseSource, draw_alike
from dataset_builder.prompts import load_style
from dataset_builder.recipe import StrictModel
from dataset_builder.score_rows import choose_people, make_rows, read_people
from dataset_builder.sources import SOURCES
from dataset_builder.sources.faced_tables import SYNTHETIC_MARK
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.stage import open_stage
from dataset_builder.types import EMOTIONS
from model_recipes import run_evaluate
from model_recipes.checkpoint import load_model
from model_recipes.evaluate import EvaluateRecipe, evaluate_models
from model_recipes.evaluation.claims import Exposure, find_exposure, find_trained
from model_recipes.evaluation.package import PROMPT_FILE, find_package
from model_recipes.evaluation.people import evaluate_people
from model_recipes.evaluation.protocols import choose_tested, divide_claims
from model_recipes.evaluation.source_controls import find_weights
from model_recipes.evaluation.svm import SVM_FILE, FieldSvm, FieldWeights, fit_svm, normalise_running, smooth_seconds
from model_recipes.evaluation.text_quality import measure_text
from model_recipes.gguf import GgufRecipe, export_gguf

QUICK = EvaluateRecipe(controls="basic", control_rows=6, probes=["emotion"])


class Fold(StrictModel):
    """The one key of a training that matters here."""

    held_out_fold: int | None = None


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "raw"
    write_cohort(SynthRecipe(subjects=10, signals=0), folder)
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Return a second cohort: the same pseudonyms, other people."""
    folder = tmp_path_factory.mktemp("people") / "other"
    write_cohort(SynthRecipe(subjects=3, signals=0, seed=99), folder)
    return folder


@pytest.fixture(scope="module")
def corpus(raw, tmp_path_factory):
    split = {"protocol": "ranges", "train": [0, 5], "validation": [6, 6], "test": [7, 9]}
    recipe = CorpusRecipe.model_validate(
        {"name": "people", "version": 1, "codec": {"name": "band_power"}, "split": split}
    )
    folder = tmp_path_factory.mktemp("people") / "corpus"
    build_corpus(recipe, raw, folder)
    return folder


@pytest.fixture(scope="module")
def reader_dir(corpus):
    return write_reader(corpus.parent, corpus, 0)


def write_reader(folder, corpus, held_out_fold):
    """Write what the reader stage writes: a plain model folder with codec and prompts."""
    base = make_tiny_model(folder / "base")
    with open_stage("reader", folder / "reader", Fold(held_out_fold=held_out_fold), parents=[base, corpus]) as stage:
        for path in base.iterdir():
            if path.name != "manifest.json":
                shutil.copy(path, stage.folder)
        write_bytes(stage.folder / CODEC_FILE, dump_codec(load_codec(corpus)))
        write_text(stage.folder / PROMPT_FILE, load_style(corpus).config.model_dump_json())
    return folder / "reader"


def open_source(raw):
    return SOURCES["faced"](raw)


def test_rows_are_those_of_the_corpus(raw, corpus):
    rows = make_rows(open_source(raw), load_codec(corpus), load_style(corpus), ["sub007", "sub008", "sub009"])
    wanted = load_split(corpus, "test").to_list()
    keys = ("row_id", "messages", "code", "clip_fold", "emotion", "rank")
    assert [{key: row[key] for key in keys} for row in rows] == [{key: row[key] for key in keys} for row in wanted]


def test_folds_do_not_depend_on_who_is_scored(raw, corpus):
    people = read_people(open_source(raw), load_codec(corpus), load_style(corpus), ["sub007"])
    whole = {row["clip"]: row["clip_fold"] for row in load_split(corpus, "train").to_list()}
    assert {row["clip"]: row["clip_fold"] for row in people.rows} == whole


def test_who_cannot_be_read_is_counted_and_does_not_stop_the_others(raw, corpus, tmp_path):
    folder = tmp_path / "raw"
    shutil.copytree(raw, folder)
    (folder / "EEG_Features/DE/sub008.pkl.pkl").write_bytes(b"nothing")
    people = read_people(open_source(folder), load_codec(corpus), load_style(corpus), ["sub007", "sub008"])
    assert {row["subject"] for row in people.rows} == {"sub007"}
    assert people.dropped == {"recording cannot be read": 1}
    with pytest.raises(InputError, match=r"1 subjects: none can be scored: .*sub008"):
        read_people(open_source(folder), load_codec(corpus), load_style(corpus), ["sub008"])


def test_people_are_named_in_lists():
    known = ["sub007", "sub008", "sub080", "sub099"]
    assert choose_people(known, "all") == known
    assert choose_people(known, "7-8, 99") == ["sub007", "sub008", "sub099"]
    assert choose_people(known, "sub080,sub007") == ["sub007", "sub080"]
    for wrong in ("200-300", "sub1", "", "a-b"):
        with pytest.raises(InputError, match="nobody found; accepted: all, names, numbers and ranges"):
            choose_people(known, wrong)


def test_protocols_say_who_is_tested():
    known = [f"sub{i:03d}" for i in range(80, 103)]
    assert choose_tested(known, None, "faced-80-20-23") == ("test", ["sub100", "sub101", "sub102"])
    assert choose_tested(known, "80-81", "faced-80-20-23") == ("validation", ["sub080", "sub081"])
    split, names = choose_tested([f"sub{i:03d}" for i in range(100)], None, "10-fold:3")
    assert (split, names[0], len(names)) == ("test", "sub030", 10)
    with pytest.raises(InputError, match="sub003 are not tested by protocol faced-80-20-23"):
        choose_tested(["sub003", "sub100"], "3", "faced-80-20-23")
    with pytest.raises(InputError, match="needs a fold, as in 10-fold:3"):
        choose_tested(known, None, "10-fold")
    with pytest.raises(InputError, match=r"--protocol 'mine': unknown; accepted: auto, unseen-subjects"):
        choose_tested(known, None, "mine")


def test_people_are_scored_and_both_protocols_stand_side_by_side(raw, reader_dir, tmp_path):
    manifest = evaluate_people(QUICK, reader_dir, raw, tmp_path / "out", subjects="7-9")
    n = {m.protocol: m.n for m in manifest.metrics if m.name == "accuracy" and m.reader == "language model"}
    assert n == {"unseen subjects": 54, "unseen subjects and clips": 30}
    assert manifest.metric("accuracy", reader="linear probe") is not None
    assert 0 < manifest.metric("calibration_error", reader="language model").value < 1
    assert [verdict["reads"] for verdict in manifest.facts["verdicts"]] == ["nothing", "nothing"]
    assert [parent.stage for parent in manifest.parents] == ["reader", "corpus"]
    assert "EEG_Features/DE/sub007.pkl.pkl" in {item.name for item in manifest.inputs}
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "Synthetic data.</strong> Made-up EEG was read." in page
    assert "not shown to read the EEG" in page
    assert "http" not in page.replace("http-equiv", "")
    assert evaluate_people(QUICK, reader_dir, raw, tmp_path / "out", subjects="7-9") == manifest


def test_recorded_people_are_not_called_made_up(raw, reader_dir, tmp_path, capsys):
    recorded = tmp_path / "raw"
    shutil.copytree(raw, recorded, ignore=shutil.ignore_patterns("manifest.json", SYNTHETIC_MARK))
    arguments = ["--faced", str(recorded), "--model", str(reader_dir), "--subjects=7", "--out", str(tmp_path / "out")]
    assert run_evaluate.main([*arguments, "--set", "controls=off", "--set", "probes=[]", "--set", "max_rows=8"]) == 0
    assert "trained on synthetic data, tested on recorded people\n" in capsys.readouterr().out
    assert read_manifest(tmp_path / "out").synthetic, "nothing may be claimed of a model that learned from nobody"
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "the people who were read are recorded" in page
    assert "Made-up EEG was read" not in page


def test_training_subjects_are_counted_apart_or_refused(raw, reader_dir, tmp_path):
    manifest = evaluate_people(QUICK, reader_dir, raw, tmp_path / "out", subjects="0,6,7")
    assert manifest.metric("accuracy", reader="language model", protocol="subjects seen in training").n == 28
    assert any("sub000 were in training" in note for note in manifest.notes)
    assert any("sub006 are validation subjects" in note for note in manifest.notes)
    with pytest.raises(InputError, match="--protocol unseen-subjects: sub000 were in training"):
        evaluate_people(QUICK, reader_dir, raw, tmp_path / "no", subjects="0,7", protocol="unseen-subjects")
    assert not (tmp_path / "no").exists()


def test_a_person_is_known_by_the_recording_not_by_the_name(raw, other, corpus, reader_dir):
    package = find_package(reader_dir)
    exposure = find_exposure(reader_dir, package.codec)
    source = ("faced", True)
    mine = read_people(open_source(raw), package.codec, package.style, ["sub000", "sub007"]).facts
    theirs = read_people(open_source(other), package.codec, package.style, ["sub000"]).facts
    assert find_trained(mine, exposure, source) == ["sub000"]
    assert find_trained(theirs, exposure, source) == []
    renamed = [mine[0].model_copy(update={"subject": "sub555"})]
    assert find_trained(renamed, exposure, source) == ["sub555"], "the same bytes under another name"
    moved = Exposure(frozenset(), people=exposure.people)
    assert find_trained([*mine, *renamed, *theirs], moved, source) == ["sub000", "sub555"], "digests alone tell"
    assert moved.can_tell(theirs[0], "faced")
    assert not moved.can_tell(theirs[0], "recordings"), "another source may filter otherwise"
    assert not moved.can_tell(theirs[0].model_copy(update={"digest_of": "signal_uv"}), "faced")
    form = [mine[0].model_copy(update={"files": [], "trials": []})]
    assert find_trained(form, exposure, source) == ["sub000"], "another form of the same release"
    assert find_trained(form, exposure, ("recordings", True)) == []


def test_a_name_within_a_longer_one_is_nobodys():
    people = [
        SubjectFacts(
            subject=f"sub-{i}", state="used", files=[Artifact(name=f"sub-{i}/eeg.edf", bytes=1, sha256=str(i))]
        )
        for i in (1, 2, 10)
    ]
    files = {person.files[0].name: person.files[0].sha256 for person in people}
    exposure = Exposure(frozenset(), subjects=frozenset({"sub-1"}), files=files)
    assert find_trained(people, exposure, ("faced", False)) == ["sub-1"]


@pytest.mark.parametrize("h_freq_hz", [47.0, 40.0])
def test_who_was_read_otherwise_in_training_is_not_called_unseen(h_freq_hz, tmp_path):
    source = SOURCES["recordings"].write_fake(tmp_path / "raw", 4)
    values = {
        "name": "filtered",
        "version": 1,
        "codec": {"name": "band_power"},
        "source": {"name": "recordings"},
        "preprocessing": {"h_freq_hz": h_freq_hz},
        "split": {"protocol": "ranges", "train": [1, 2], "validation": [3, 3], "test": [4, 4]},
    }
    build_corpus(CorpusRecipe.model_validate(values), tmp_path / "raw", tmp_path / "corpus")
    reader = write_reader(tmp_path, tmp_path / "corpus", None)
    package = find_package(reader)
    exposure = find_exposure(reader, package.codec)
    people = read_people(source, package.codec, package.style, source.subjects()).facts
    alike = h_freq_hz == 47.0
    assert set(find_trained(people, exposure, ("recordings", True))) == (exposure.subjects if alike else set())
    assert [exposure.can_tell(person, "recordings") for person in people] == [alike] * 4
    assert not exposure.can_tell(people[0], "faced")


def test_unseen_clips_are_claimed_only_where_model_and_codec_never_met_them(reader_dir, corpus, tmp_path, monkeypatch):
    codec = load_codec(corpus)
    assert find_exposure(reader_dir, codec).unseen_folds == {0}
    monkeypatch.setattr(type(codec), "supervised", True)
    assert find_exposure(reader_dir, codec).unseen_folds == set(), "the codec learned from all labels"
    monkeypatch.undo()
    every = write_reader(corpus.parent / "every", corpus, None)
    assert find_exposure(every, codec).unseen_folds == set()
    base = make_tiny_model(tmp_path / "untrained")
    assert find_exposure(base, codec).unseen_folds == set()


def test_without_the_corpus_nothing_is_called_unseen(raw, reader_dir, corpus, tmp_path):
    alone = tmp_path / "far" / "away" / "reader"
    shutil.copytree(reader_dir, alone)
    manifest = evaluate_people(QUICK, alone, raw, tmp_path / "out", subjects="7")
    protocols = {m.protocol for m in manifest.metrics}
    assert protocols == {"subjects not known to be unseen"}
    assert any("nobody of them is called unseen" in note for note in manifest.notes)
    claimed = evaluate_people(QUICK, alone, raw, tmp_path / "out", subjects="7", protocol="unseen-subjects")
    assert any("caller's claim" in note for note in claimed.notes)
    assert {m.protocol for m in claimed.metrics} == {"unseen subjects", "unseen subjects and clips"}
    found = evaluate_people(QUICK, alone, raw, tmp_path / "out", subjects="7", corpus_dir=corpus)
    assert not any("caller" in note or "nobody" in note for note in found.notes)


def test_no_clip_is_called_unseen_where_the_clips_are_not_faceds(raw, reader_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("dataset_builder.score_rows._FACED", {1: "joy"})
    manifest = evaluate_people(QUICK, reader_dir, raw, tmp_path / "out", subjects="7")
    assert {metric.protocol for metric in manifest.metrics} == {"unseen subjects"}
    assert any(note.startswith("clips seen in training, or not known to be unseen") for note in manifest.notes)


def test_only_new_clips_may_be_asked_for(raw, reader_dir, tmp_path):
    protocol = "unseen-subjects-and-clips"
    manifest = evaluate_people(QUICK, reader_dir, raw, tmp_path / "out", subjects="7", protocol=protocol)
    assert {(m.protocol, m.n) for m in manifest.metrics if m.name == "accuracy"} == {("unseen subjects and clips", 10)}
    row = {"subject": "sub007", "clip_fold": 0}
    with pytest.raises(InputError, match="no clip is known to be new to model and codec"):
        divide_claims([row], Exposure(frozenset()), [], [], protocol)


def test_a_gguf_file_brings_codec_and_prompts(raw, reader_dir, corpus, tmp_path):
    out = corpus.parent / "gguf"
    export_gguf(GgufRecipe(name="x", types=["F16"], perplexity_windows=2, parity_prompts=1), reader_dir, corpus, out)
    few = QUICK.model_copy(update={"max_rows": 8})
    ours = evaluate_people(few, reader_dir, raw, tmp_path / "ours", subjects="7")
    theirs = evaluate_people(few, out / "x-F16.gguf", raw, tmp_path / "theirs", subjects="7", n_threads=1)
    for protocol in ("unseen subjects", "unseen subjects and clips"):
        one = ours.metric("accuracy", reader="language model", protocol=protocol)
        assert theirs.metric("accuracy", reader="language model F16", protocol=protocol).n == one.n
    assert {item.sha256 for item in theirs.inputs} >= {hash_file(out / "x-F16.gguf")}
    foreign = tmp_path / "foreign.gguf"
    foreign.write_bytes((out / "x-F16.gguf").read_bytes().replace(b"eeg_copilot.", b"xyz_copilot."))
    with pytest.raises(InputError, match=r"foreign.gguf: has no eeg_copilot keys, .* add --corpus"):
        find_package(foreign)
    asked = evaluate_people(few, foreign, raw, tmp_path / "foreign", subjects="7", corpus_dir=corpus, n_threads=1)
    assert asked.metric("accuracy", reader="language model GGUF", protocol="subjects not known to be unseen").n == 8
    assert (
        "foreign.gguf: training subjects unknown: cannot prove that these people were unseen, or any clip"
        in asked.notes
    )
    alone = tmp_path / "far" / "x.gguf"
    alone.parent.mkdir()
    shutil.copy(out / "x-F16.gguf", alone)
    codec = find_package(alone).codec
    told = find_exposure(alone, codec)
    assert told.people is not None, "the file itself tells by digests whom it was trained on"
    assert len(told.people.people) == 6
    assert replace(told, people=None) == Exposure(frozenset({0})), "and the held-out fold"
    assert find_exposure(alone, codec, corpus).subjects == {f"sub{i:03d}" for i in range(6)}


def test_an_adapter_finds_base_and_corpus(raw, corpus, tmp_path):
    base = make_tiny_model(corpus.parent / "under")
    with open_stage("adapter", corpus.parent / "adapter", Fold(held_out_fold=0), parents=[base, corpus]) as stage:
        model, _ = load_model(base)
        get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(stage.folder)
    package = find_package(corpus.parent / "adapter")
    assert package.base == corpus.parent / "adapter" / ".." / "under"
    few = QUICK.model_copy(update={"max_rows": 4})
    manifest = evaluate_people(few, corpus.parent / "adapter", raw, tmp_path / "out", subjects="7")
    assert [parent.stage for parent in manifest.parents] == ["adapter", "base", "corpus"]
    asked = [m.n for m in manifest.metrics if m.name == "accuracy" and m.reader == "language model"]
    assert sum(asked) == 4


def test_what_is_no_model_is_refused(reader_dir, tmp_path):
    with pytest.raises(InputError, match="absent: no such model"):
        find_package(tmp_path / "absent")
    with pytest.raises(InputError, match="reader: is no adapter, so it takes no --base"):
        find_package(reader_dir, base_dir=reader_dir)


def test_a_folder_without_codec_says_what_is_missing(tmp_path):
    base = make_tiny_model(tmp_path / "plain")
    with pytest.raises(InputError, match=r"plain: has no codec.safetensors with prompt.json"):
        find_package(base)


def test_a_moved_reader_knows_its_training_people_by_their_data(raw, other, reader_dir, corpus, tmp_path):
    told = read_manifest(corpus).facts["trained_people"]
    assert (told["form"], len(told["people"])) == ("de", 6)
    assert "sub0" not in str(told), "nobody is named"
    alone = tmp_path / "far" / "away" / "reader"
    shutil.copytree(reader_dir, alone)
    manifest = json.loads((alone / "manifest.json").read_text(encoding="utf-8"))
    manifest["facts"]["trained_people"] = told
    (alone / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    found = evaluate_people(QUICK, alone, raw, tmp_path / "out", subjects="0,1,7")
    assert any("2 of 3 people were trained on: sub000, sub001" in note for note in found.notes)
    assert {m.protocol for m in found.metrics} == {
        "subjects seen in training",
        "unseen subjects",
        "unseen subjects and clips",
    }
    renumbered = tmp_path / "renumbered"
    shutil.copytree(raw, renumbered)
    place = renumbered / "EEG_Features" / "DE"
    (place / "sub000.pkl.pkl").rename(place / "swap")
    (place / "sub009.pkl.pkl").rename(place / "sub000.pkl.pkl")
    (place / "swap").rename(place / "sub009.pkl.pkl")
    found = evaluate_people(QUICK, alone, renumbered, tmp_path / "out", subjects="9")
    assert any("1 of 1 people were trained on: sub009" in note for note in found.notes)
    with pytest.raises(InputError, match="--protocol unseen-subjects: sub009 were in training"):
        evaluate_people(QUICK, alone, renumbered, tmp_path / "no", subjects="9", protocol="unseen-subjects")


def make_plain(reader_dir, folder):
    """Copy a model as anybody would publish it: without manifest, codec and prompts."""
    folder.mkdir(parents=True)
    ours = ("manifest.json", CODEC_FILE, PROMPT_FILE)
    for path in reader_dir.iterdir():
        if path.name not in ours:
            shutil.copy(path, folder)
    return folder


def test_a_plain_transformers_folder_borrows_codec_and_prompts(raw, reader_dir, corpus, tmp_path):
    plain = make_plain(reader_dir, tmp_path / "plain")
    few = QUICK.model_copy(update={"max_rows": 6})
    with pytest.raises(InputError, match=r"plain: has no codec.safetensors with prompt.json, .* add --corpus"):
        evaluate_people(few, plain, raw, tmp_path / "no", subjects="7")
    evaluate_people(few, reader_dir, raw, tmp_path / "ours", subjects="7")
    theirs = evaluate_people(few, plain, raw, tmp_path / "theirs", subjects="7", corpus_dir=corpus)
    assert {m.protocol for m in theirs.metrics} == {"subjects not known to be unseen"}
    note = "plain: training subjects unknown: cannot prove that these people were unseen, or any clip"
    assert note in theirs.notes
    assert "plain/model.safetensors" in {item.name for item in theirs.inputs}
    read = [pq.read_table(tmp_path / name / "predictions-language-model.parquet") for name in ("ours", "theirs")]
    np.testing.assert_allclose(*([table[e].to_numpy() for e in EMOTIONS] for table in read), atol=1e-6)
    beside = evaluate_models(EvaluateRecipe(held_out_fold=None, max_rows=6), corpus, [plain], tmp_path / "beside")
    assert note in beside.notes
    assert beside.metric("accuracy", reader="language model").n == 6


def test_a_plain_adapter_finds_its_base_in_its_own_config(raw, reader_dir, corpus, tmp_path):
    plain = make_plain(reader_dir, tmp_path / "plain")
    model, _ = load_model(reader_dir)
    model.config._name_or_path = str(plain)
    lora = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    lora.peft_config["default"].base_model_name_or_path = str(plain)
    lora.save_pretrained(tmp_path / "adapter")
    package = find_package(tmp_path / "adapter", corpus_dir=corpus)
    assert package.base == plain
    rows = load_split(corpus, "test").to_list()[:2]
    with package.open_reader() as adapted, find_package(plain, corpus_dir=corpus).open_reader() as bare:
        assert np.abs(adapted.score(rows) - bare.score(rows)).max() > 1e-6
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = "somebody/model"
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match="adapter: is an adapter, and the model under it is not where it was"):
        find_package(tmp_path / "adapter", corpus_dir=corpus)
    assert find_package(tmp_path / "adapter", plain, corpus).base == plain


def test_a_folder_that_is_no_model_is_refused_in_one_line(corpus, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no manifest.json, config.json or adapter_config.json; accepted"):
        find_package(tmp_path / "empty", corpus_dir=corpus)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}", encoding="utf-8")
    package = find_package(broken, corpus_dir=corpus)
    with pytest.raises(InputError, match="broken: cannot be read as a causal language model"), package.open_reader():
        pass


def test_noise_keeps_mean_and_covariance_and_forgets_the_trial():
    rng = np.random.default_rng(0)
    course = np.cumsum(rng.standard_normal((40, 3, 60)), axis=2)  # slow drifts
    mixing = rng.standard_normal((3, 3))
    trials = np.einsum("ij,tjs->tis", mixing, course) + 5
    noise = draw_alike(trials, 2, rng)
    assert noise.shape == trials.shape
    np.testing.assert_allclose(noise.mean(axis=(0, 2)), trials.mean(axis=(0, 2)), atol=4 * trials.std() / np.sqrt(40))
    real, drawn = (np.cov(x.transpose(1, 0, 2).reshape(3, -1)) for x in (trials, noise))
    np.testing.assert_allclose(drawn, real, atol=0.6 * np.abs(real).max())
    spectra = [np.mean(np.abs(np.fft.rfft(x - 5, axis=2)) ** 2, axis=0).sum(axis=0) for x in (trials, noise)]
    assert np.corrcoef(np.log(spectra[0][1:]), np.log(spectra[1][1:]))[0, 1] > 0.9
    shared = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(trials - 5, noise - 5, strict=True)]
    assert abs(np.mean(shared)) < 0.25, "slow courses agree by chance, but not as trials do with themselves"


def test_noise_keeps_person_and_labels(raw):
    source = open_source(raw)
    noisy, again = (NoiseSource(source, 3).read("sub007") for _ in range(2))
    real = source.read("sub007")
    assert (noisy.clips, noisy.emotions, noisy.age) == (real.clips, real.emotions, real.age)
    np.testing.assert_array_equal(noisy.de, again.de)
    assert np.abs(noisy.de - real.de).mean() > 0.05
    np.testing.assert_allclose(noisy.de.mean(axis=(0, 2)), real.de.mean(axis=(0, 2)), atol=0.5)


def test_the_fields_svm_learns_what_is_planted_and_not_from_whom_it_scores(raw):
    source = open_source(raw)
    with pytest.raises(InputError, match="2 people to learn from; at least 5"):
        fit_svm(source, ["sub000", "sub001"], {}, frozenset(), 3, 0)
    weights = fit_svm(source, source.subjects()[:6], {}, frozenset(), 3, 0)
    svm = FieldSvm(source, weights)
    rows = [
        {"subject": "sub008", "clip": clip, "emotion": emotion}
        for clip, emotion in zip(*[getattr(source.read("sub008"), name) for name in ("clips", "emotions")], strict=True)
    ]
    scores = svm.score(rows)
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert weights.n_people == 6
    parts = [svm.score([rows[0] | {"start_s": 10.0 * part, "duration_s": 10.0}])[0] for part in range(3)]
    np.testing.assert_allclose(np.mean(parts, axis=0), scores[0])
    assert set(svm.score([{"subject": "sub123", "clip": 1}])[0]) == {1 / 9}


def test_what_the_svm_learned_is_kept_beside_the_corpus_and_serves_for_strangers(raw, other, reader_dir, tmp_path):
    home = tmp_path / "run"
    for name in ("base", "corpus", "reader"):
        shutil.copytree(reader_dir.parent / name, home / name)
    recipe = QUICK.model_copy(update={"controls": "full", "svm_every": 10})
    manifest = evaluate_models(recipe, home / "corpus", [home / "reader"], home / "scores", source=open_source(raw))
    readers = {metric.reader for metric in manifest.metrics}
    assert {"DE + SVM", "language model, noise of the same spectrum", "language model, no EEG"} <= readers
    weights = find_weights(home / "corpus", frozenset({0}))
    assert (weights.n_people, weights.unseen_folds, weights.every) == (6, {0}, 10)
    assert find_weights(home / "corpus", frozenset({1})) is None  # it learned from those clips
    rows = load_split(home / "corpus", "test").to_list()
    fitted = fit_svm(
        open_source(raw),
        [f"sub{i:03d}" for i in range(6)],
        {r["clip"]: r["clip_fold"] for r in rows},
        frozenset({0}),
        10,
        17,
    )
    scores = [FieldSvm(open_source(raw), found).score(rows) for found in (weights, fitted)]
    np.testing.assert_array_equal(*scores)

    strangers = evaluate_people(recipe, home / "reader", other, tmp_path / "out", subjects="all")
    assert strangers.metric("accuracy", reader="DE + SVM") is not None
    assert any(
        note.startswith("DE + SVM learned from 6 training people of the model's corpus") for note in strangers.notes
    )
    (home / "scores" / SVM_FILE).write_bytes(b"nothing")
    with pytest.raises(InputError, match="svm.safetensors: is damaged"):
        FieldWeights.load(home / "scores" / SVM_FILE)
    again = evaluate_people(recipe, home / "reader", other, tmp_path / "again", subjects="all")
    assert "left out: svm.safetensors: is damaged; accepted: the file that an evaluation writes" in again.notes


def test_the_svm_does_not_learn_from_people_who_are_scored_elsewhere(raw, reader_dir, tmp_path):
    recipe = QUICK.model_copy(update={"controls": "full", "svm_every": 10})
    manifest = evaluate_people(recipe, reader_dir, raw, tmp_path / "out", subjects="9")
    assert any(note.startswith("DE + SVM learned from 6 other people") for note in manifest.notes)  # not from 7 and 8


def test_running_statistics_begin_with_the_others_and_end_with_the_person():
    rng = np.random.default_rng(0)
    seconds = rng.normal(3.0, 2.0, (3000, 4))
    scaled = normalise_running(seconds, np.zeros(4), np.ones(4))
    np.testing.assert_allclose(scaled[0], (seconds[0] - 0.01 * seconds[0]) / np.sqrt(0.99 + 1e-5), rtol=1e-6)
    np.testing.assert_allclose(scaled[-500:].std(axis=0), 1, atol=0.1)
    late = seconds.copy()
    late[100:] += 50
    np.testing.assert_array_equal(normalise_running(late, np.zeros(4), np.ones(4))[:100], scaled[:100])


def test_smoothing_looks_back_only():
    rng = np.random.default_rng(0)
    trials = rng.standard_normal((2, 30, 3))
    smooth = smooth_seconds(trials)
    assert np.diff(smooth, axis=1).std() < 0.1 * np.diff(trials, axis=1).std()
    constant = np.ones((1, 30, 3))
    np.testing.assert_allclose(smooth_seconds(constant), constant)


def test_free_answers_are_judged(corpus):
    rows = load_split(corpus, "test").to_list()[:4]
    style, texts = load_style(corpus), [row["messages"][2]["content"] for row in rows]
    scores = np.eye(9)[[row["label"] for row in rows]]
    where = {"split": "test", "protocol": "p", "reader": "r"}
    found = {m.name: m.value for m in measure_text(texts, rows, scores, style, 0, **where)}
    assert found == {"text_valid": 1, "text_accuracy": 1, "text_agreement": 1, "text_resolved": 1}
    broken = ["no JSON", texts[1].replace('"emotion"', '"mood"'), texts[2], texts[3]]
    found = {m.name: m.value for m in measure_text(broken, rows, scores, style, 0, **where)}
    assert (found["text_valid"], found["text_accuracy"]) == (0.5, 0.5)


def test_command_scores_people(raw, reader_dir, tmp_path, capsys):
    arguments = ["--faced", str(raw), "--model", str(reader_dir), "--subjects", "8-9", "--out", str(tmp_path / "out")]
    changes = ["--set", "control_rows=4", "--set", "generated_rows=1", "--set", "max_rows=20", "--set", "svm_every=10"]
    assert run_evaluate.main(arguments + changes) == 0
    printed = capsys.readouterr().out
    for text in ("unseen subjects and clips: ", "DE + SVM", "linear probe", "not shown to read the EEG", "report.html"):
        assert text in printed
    assert ", on one second in 10; it votes per trial" in printed
    assert "\nsynthetic data\n" in printed
    manifest = read_manifest(tmp_path / "out")
    assert manifest.metric("text_valid", reader="language model").n == 1
    controls = {c["control"] for verdict in manifest.facts["verdicts"] for c in verdict["comparisons"]}
    assert {"no EEG", "noise of the same spectrum", "code of another trial", "chance"} <= controls


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "x"], "give --corpus"),
        (["--faced", "raw"], "takes one --model, found 0"),
        (["--corpus", "c", "--subjects", "1-2"], "^--subjects: only with --faced$"),
        (["--corpus", "c", "--protocol", "auto"], "^--protocol: only with --faced$"),
        (["--corpus", "c", "--source", "faced", "--base", "b"], "^--source, --base: only with --faced$"),
    ],
)
def test_options_that_do_not_go_together(arguments, message):
    with pytest.raises(InputError, match=message):
        run_evaluate.main(arguments)

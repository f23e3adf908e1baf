import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from copilot.record import FORMATS, Record, parse_record, render_html, render_json
from copilot.record.types import LIMITS, NOTICE, WORDING, Turn, group_age
from dataset_builder.bands import compute_de
from dataset_builder.errors import InputError
from dataset_builder.manifest import Metric
from dataset_builder.prompts import SUGGESTIONS
from tests.copilot.copilot_fakes import FakeEngine, answer_with, make_copilot_recording, make_provenance, make_record

HOSTILE = "\"'><script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)>{{ 7*7 }}"
METRIC = Metric(
    name="balanced_accuracy",
    value=0.321,
    n=644,
    unit="trials",
    split="test",
    protocol="unseen subjects and clips",
    interval=[0.28, 0.36],
    chance=1 / 9,
)


class Page(HTMLParser):
    """Everything of a page that could fetch, run or link, and its visible text."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._hidden = False
        self.feed(html.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag == "style"

    def handle_endtag(self, tag):
        self._hidden = False

    def handle_data(self, data):
        if not self._hidden:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def read_text(name: str, data: bytes) -> str:
    """Return what a reader of a format sees."""
    if name != "pdf":
        return data.decode("utf-8")
    pages = [page.extract_text() for page in PdfReader(io.BytesIO(data)).pages]
    return re.sub(r"\s+", " ", " ".join(pages))


@pytest.fixture(scope="module")
def record() -> Record:
    recording = make_copilot_recording(4, synthetic=True, notes=("Noted.",))
    return make_record(recording, FakeEngine("fear"), metrics=[METRIC])


@pytest.fixture(scope="module")
def flat_record() -> Record:
    recording = make_copilot_recording(2)
    return make_record(replace(recording, signal_uv=np.zeros_like(recording.signal_uv)))


@pytest.fixture(scope="module")
def page(record) -> Page:
    return Page(render_html(record))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_repeatable_and_carries_the_notice(name, record):
    data = FORMATS[name](record)
    assert data == FORMATS[name](record)
    assert NOTICE in read_text(name, data)
    assert len(data) < 1_500_000


def test_json_round_trip(record, flat_record):
    for item in (record, flat_record):
        assert parse_record(render_json(item)) == item
        assert render_json(parse_record(render_json(item))) == render_json(item)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "schema_version 99; accepted: 2"),
        ({"schema_version": None}, "schema_version None"),
        ({"status": "final"}, "status"),
        ({"patient_name": "x"}, "patient_name"),
        ({"estimate": None}, "estimate"),
    ],
)
def test_changed_json_is_refused_in_one_line(record, change, message):
    values = json.loads(render_json(record)) | change
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        parse_record(json.dumps(values).encode())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"3"])
def test_foreign_bytes_are_refused(data):
    with pytest.raises(InputError, match=r"record\.json"):
        parse_record(data)


def test_page_fetches_nothing_and_runs_nothing(page):
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object", "embed", "form", "base")]
    cited = {item.source.url for item in SUGGESTIONS.values()}
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on") or name in ("srcset", "style", "action", "srcdoc")]
        assert (attrs.get("src") or "data:image/").startswith("data:image/")
        if "href" in attrs:
            assert tag == "a"
            assert attrs["href"] in cited
    assert len(page.all("a")) >= 1


def test_style_sheet_is_admitted_by_its_hash_and_fetches_nothing(record):
    import base64
    import hashlib

    html = render_html(record).decode()
    style = re.search(r"<style>(.*?)</style>", html, re.S)[1]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1].replace("&#39;", "'")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert f"'sha256-{digest}'" in policy
    assert "url(" not in style
    assert "@import" not in style


def test_notice_is_at_the_top_and_the_bottom(page):
    assert page.text.count(NOTICE) == 2
    assert page.text.index(NOTICE) < page.text.index(WORDING)
    assert page.text.rindex(NOTICE) > page.text.index(LIMITS[-1])


def test_page_says_draft_synthetic_and_every_limit(page, flat_record):
    assert "Draft" in page.texts
    assert "Synthetic data." in page.texts
    assert all(limit in page.text for limit in LIMITS)
    assert "Synthetic data." not in Page(render_html(flat_record)).texts


@pytest.mark.parametrize("synthetic", [True, False, None])
def test_synthetic_training_is_told(flat_record, synthetic):
    provenance = make_provenance(synthetic_training=synthetic)
    page = Page(render_html(flat_record.model_copy(update={"provenance": provenance})))
    assert ("Synthetic training." in page.texts) is bool(synthetic)


def test_scores_in_the_table_sum_to_one(page):
    scores = [float(cell["data-score"]) for cell in page.all("td") if "data-score" in cell]
    assert len(scores) == 9
    assert sum(scores) == pytest.approx(1, abs=1e-5)


def test_page_is_accessible(page):
    assert page.all("html") == [{"lang": "en"}]
    assert all(len(image["alt"] or "") > 20 for image in page.all("img"))
    assert len(page.all("img")) == 4
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    identifiers = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))
    assert {attrs["aria-labelledby"] for attrs in page.all("section") if "aria-labelledby" in attrs} <= set(identifiers)


def test_page_shows_prompt_sources_and_accuracy(record, page):
    assert [turn.role for turn in record.prompt] == ["system", "user"]
    shown = "".join(page.texts)
    assert all(turn.content in shown for turn in record.prompt)
    assert len(record.suggestions) == 3
    for item in record.suggestions:
        assert item.text in page.text
        assert item.source.title in page.text
        assert item.source.url in page.text
        assert "not a prescription" in item.why
    assert page.text.count("Not yet clinically reviewed.") == 3
    assert "0.321 (0.280 to 0.360)" in page.text
    assert "unseen subjects and clips" in page.text


def test_missing_accuracy_is_said_aloud(page, flat_record):
    assert "No measured accuracy" in Page(render_html(flat_record)).texts
    assert "No measured accuracy" not in page.texts


def test_abstaining_record_has_no_label_no_score_and_no_suggestion(flat_record):
    estimate = flat_record.estimate
    assert estimate.abstained
    assert (estimate.emotion, estimate.scores, estimate.windows) == (None, [], [])
    assert (flat_record.assessment, flat_record.suggestions, flat_record.prompt) == (None, [], [])
    assert not flat_record.quality.sufficient
    page = Page(render_html(flat_record))
    assert "No estimate" in page.texts
    assert estimate.reason in page.text
    assert not [cell for cell in page.all("td") if "data-score" in cell]


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (FakeEngine("joy"), "Neutral and positive states get no suggestion."),
        (FakeEngine("neutral"), "Neutral and positive states get no suggestion."),
        (FakeEngine("fear", text=answer_with("Fine.", "fear")), "None: the model selected none that fits."),
        (FakeEngine("fear"), ""),
    ],
)
def test_a_record_says_why_it_holds_no_suggestion(engine, said):
    record = make_record(make_copilot_recording(2), engine)
    assert record.no_suggestions == said
    assert bool(record.suggestions) is not bool(said)
    assert said in Page(render_html(record)).text


def test_a_record_without_an_estimate_says_why_it_holds_no_suggestion(flat_record):
    assert flat_record.no_suggestions == "None: no estimate was given."
    assert flat_record.no_suggestions in Page(render_html(flat_record)).text


def test_a_review_is_told(record):
    lines = [record.suggestions[0].model_copy(update={"reviewed": "clinical psychologist, 2026-05-04"})]
    text = Page(render_html(record.model_copy(update={"suggestions": lines}))).text
    assert "Reviewed by: clinical psychologist, 2026-05-04." in text
    assert "Not yet clinically reviewed." not in text


def test_withheld_text_is_nowhere():
    record = make_record(engine=FakeEngine("joy", text=answer_with("A clear depression, take 50 mg of something.")))
    assert record.assessment.text == ""
    for name, render in FORMATS.items():
        assert "take 50 mg" not in read_text(name, render(record))
    assert "Withheld." in Page(render_html(record)).texts


@pytest.mark.parametrize("same", [True, False])
def test_sentences_that_differ_from_the_numbers_are_pointed_out(record, same):
    text = f"Fine. {record.assessment.observation}" if same else "Everything is blue."
    changed = record.model_copy(update={"assessment": record.assessment.model_copy(update={"text": text})})
    assert ("The sentences above differ from it." in Page(render_html(changed)).texts) is not same


def test_hostile_text_stays_text(record):
    clean = Page(render_html(record))
    hostile = record.model_copy(
        update={
            "recording": record.recording.model_copy(update={"notes": [HOSTILE], "channels": [HOSTILE]}),
            "assessment": record.assessment.model_copy(update={"text": HOSTILE}),
            "estimate": record.estimate.model_copy(update={"cautions": [HOSTILE]}),
            "prompt": [Turn(role=HOSTILE, content="</pre>" + HOSTILE)],
            "provenance": record.provenance.model_copy(update={"model": HOSTILE, "software": {HOSTILE: HOSTILE}}),
        }
    )
    page = Page(render_html(hostile))
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in clean.tags}
    assert len(page.all("img")) == len(clean.all("img"))
    assert "".join(page.texts).count(HOSTILE) == 9


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "file:///etc/passwd"])
def test_only_web_addresses_become_links(record, address):
    line = record.suggestions[0]
    changed = line.model_copy(update={"source": line.source.model_copy(update={"url": address})})
    page = Page(render_html(record.model_copy(update={"suggestions": [changed]})))
    assert page.all("a") == []


@pytest.mark.parametrize(("age", "kept"), [(None, None), (0, 0), (89, 89), (90, "90 or older"), (117, "90 or older")])
def test_group_age(age, kept):
    assert group_age(age) == kept


def test_no_age_above_ninety_is_in_any_format():
    record = make_record(make_copilot_recording(2, age=97))
    assert record.subject.age == "90 or older"
    assert record.prompt == []
    text = render_json(record).split(b'"pictures"')[0]
    assert not re.search(rb"\b97\b", text)
    assert not re.search(r"\b97\b(?!%)", Page(render_html(record)).text)


def test_recording_with_band_features_only_has_maps_but_no_traces():
    recording = make_copilot_recording(2)
    features = replace(recording, de=compute_de(recording.signal_uv, 250.0), signal_uv=None, sfreq_hz=None)
    record = make_record(features)
    assert [picture.id for picture in record.pictures] == ["topomaps"]
    assert record.recording.window_s == 30
    assert record.recording.seconds == 60


def test_few_channels_are_listed_as_missing():
    recording = make_copilot_recording(2)
    record = make_record(replace(recording, channels=recording.channels[:20], signal_uv=recording.signal_uv[:, :20]))
    assert record.recording.missing_channels == list(recording.channels[20:])


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_survives_json(record, text):
    changed = record.model_copy(update={"notice": text})
    assert parse_record(render_json(changed)).notice == text

"""From draft to signature: what may be changed, by whom, what is kept, and what is refused."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copilot.record import FORMATS, parse_record, render_json
from copilot.record.audit import NO_DIGEST, verify_log
from copilot.record.json import digest_record
from copilot.record.marks import MAX_NAME, MAX_TEXT
from copilot.record.review import AUDIT, open_review
from copilot.record.review_files import load_review, save_review
from copilot.record.signing import load_checklist
from copilot.record.statements import NOTICES
from dataset_builder.errors import InputError
from dataset_builder.prompts import LANGUAGES, LIBRARY
from tests.copilot.copilot_fakes import FakeEngine, answer_with
from tests.copilot.record.review_fakes import (
    ALL_CHECKED,
    AMENDER,
    MOMENT,
    ROLE,
    SIGNER,
    edit_all,
    make_reviews,
    quick_record,
    quick_recording,
    sign_review,
    start_review,
)


def test_status_goes_from_draft_over_edited_and_signed_to_amended():
    review = start_review()
    assert review.status == "draft"
    edit_all(review)
    assert review.status == "edited"
    sign_review(review)
    assert review.status == "signed"
    review.add_note("Called back.", **AMENDER)
    assert review.status == "amended"
    assert review.record.notice == NOTICES["amended"]


def test_the_draft_is_never_changed_and_its_digest_is_the_first_entry():
    review = start_review()
    before = render_json(review.draft)
    sign_review(edit_all(review))
    assert render_json(review.draft) == before
    assert review.log.entries[0].after == review.record.draft_sha256 == digest_record(review.draft)
    assert review.draft.status == "draft"
    assert review.draft.notice == NOTICES["draft"]


def test_every_field_tells_who_wrote_it():
    review = start_review()
    assert {state.origin for state in review.list_fields() if not state.field.startswith("questionnaire")} == {
        "machine"
    }
    edit_all(review)
    record = review.record
    assert (record.estimate.origin, record.assessment.origin) == ("edited", "edited")
    assert record.assessment.model == record.estimate.model == "tiny"
    assert {line.id: line.origin for line in record.suggestions} == {"mindfulness": "machine", "kindness": "human"}
    assert [line.model for line in record.suggestions] == ["tiny", ""]
    items = {item.id: item for section in record.sections for item in section.items}
    assert (items["phq9_total"].value, items["phq9_total"].origin) == (12, "human")
    assert items["usable"].origin == "machine"
    assert record.notes[0].origin == "human"


def test_the_model_s_headline_and_scores_stay_when_a_person_overrides_them():
    review = start_review()
    scores = review.record.estimate.scores
    review.edit("estimate.emotion", "sadness", role=ROLE)
    assert (review.record.estimate.emotion, review.record.estimate.stated) == ("fear", "sadness")
    assert review.record.estimate.scores == scores
    review.edit("estimate.emotion", None, role=ROLE)
    assert (review.record.estimate.stated, review.record.estimate.origin) == ("fear", "machine")


def test_options_that_fit_another_emotion_alone_leave_with_it():
    review = start_review()
    assert [line.id for line in review.record.suggestions] == ["grounding", "naming", "mindfulness"]
    review.edit("estimate.emotion", "sadness", role=ROLE)
    assert [line.id for line in review.record.suggestions] == ["mindfulness"]
    assert "for sadness; selected by the model" in review.record.suggestions[0].why
    review.edit("estimate.emotion", "joy", role=ROLE)
    assert review.record.suggestions == []
    assert review.record.no_suggestions == LIBRARY.no_suggestion["en"]
    assert review.list_options() == []


def test_a_person_s_words_are_marked_as_such_where_the_model_wrote_none():
    for review in (
        start_review(recording=replace(quick_recording(), age=80)),
        start_review(FakeEngine("fear", text=answer_with("Take 20 mg.", "fear"))),
    ):
        review.edit("assessment.text", "Seen in person.\nCalm.", role=ROLE)
        assert review.record.assessment.origin == "human"
        assert review.record.assessment.withheld == ""
        assert review.record.assessment.text == "Seen in person.\nCalm."


def test_a_person_may_state_an_emotion_where_the_model_gives_none():
    review = start_review(recording=replace(quick_recording(), age=80))
    assert review.list_options() == []
    review.edit("estimate.emotion", "fear", role=ROLE)
    assert (review.record.estimate.abstained, review.record.estimate.origin) == (True, "human")
    assert [item.id for item in review.list_options()] == [i.id for i in LIBRARY.list_suggestions("fear", 80, "F")]
    assert b"Fear" in FORMATS["html"](review.record)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("estimate.emotion", "bliss", "estimate.emotion: found 'bliss'; accepted: anger, disgust"),
        ("estimate.emotion", 3, "estimate.emotion: found 3"),
        ("assessment.text", "x" * (MAX_TEXT + 1), f"found {MAX_TEXT + 1} characters; accepted: at most {MAX_TEXT}"),
        ("assessment.text", "bell\a", "cannot be shown"),
        ("assessment.text", 3, "found int; accepted: text"),
        ("suggestions", ["take-pills"], "1 unknown or unfit; accepted: grounding"),
        ("suggestions", ["kindness"], "1 unknown or unfit"),
        ("suggestions", "Take 50 mg of something", "1 unknown or unfit"),
        ("questionnaire.phq9_total", 28, "found 28; accepted: whole numbers from 0 to 27"),
        ("questionnaire.phq9_total", -1, "found -1"),
        ("questionnaire.phq9_item9", 4, "0 to 3"),
        ("questionnaire.gad7_total", 22, "0 to 21"),
        ("questionnaire.gad7_total", 2.5, "found float"),
        ("questionnaire.gad7_total", True, "found bool"),
        ("questionnaire.gad7_total", "7", "found str"),
        ("quality.usable", 1, "field 'quality.usable': unknown; accepted: estimate.emotion"),
        ("estimate.scores", [], "unknown"),
        ("status", "signed", "unknown"),
        ("", "", "unknown"),
    ],
)
def test_a_value_that_a_field_does_not_accept_changes_nothing(field, value, message):
    review = start_review()
    before = (review.record, review.log.entries)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        review.edit(field, value, role=ROLE)
    assert "\n" not in str(caught.value)
    assert (review.record, review.log.entries) == before


@pytest.mark.parametrize("role", ["", "  ", "x" * (MAX_NAME + 1), "a\nb"])
def test_a_change_needs_a_role(role):
    review = start_review()
    with pytest.raises(InputError, match="role"):
        review.edit("assessment.text", "New.", role=role)
    assert review.status == "draft"


def test_a_change_to_the_same_value_is_none():
    review = start_review()
    review.edit("assessment.text", review.record.assessment.text, role=ROLE)
    review.edit("questionnaire.phq9_total", None, role=ROLE)
    assert (review.status, len(review.log.entries)) == ("draft", 1)


@pytest.mark.parametrize("missing", ALL_CHECKED)
def test_signing_needs_every_tick(missing):
    review = start_review()
    ticked = [key for key in ALL_CHECKED if key != missing]
    assert review.list_obstacles(ticked) == [f"the checklist lacks {missing}"]
    with pytest.raises(InputError, match=missing):
        review.sign(**SIGNER, checklist=ticked)
    assert review.status == "draft"
    assert review.signed_versions == ()


@pytest.mark.parametrize(
    "who", [{"name": "", "role": ROLE}, {"name": "Ada", "role": " "}, {"name": "x" * 81, "role": ROLE}]
)
def test_signing_needs_a_name_and_a_role(who):
    review = start_review()
    with pytest.raises(InputError, match="name|role"):
        review.sign(**who, checklist=ALL_CHECKED)
    assert review.status == "draft"


@pytest.mark.parametrize("value", [1, 2, 3])
def test_item_nine_shows_the_card_and_holds_the_signature_until_somebody_took_over(value):
    review = start_review()
    assert not review.shows_crisis_card
    review.edit("questionnaire.phq9_item9", value, role=ROLE)
    assert review.shows_crisis_card
    assert review.needs_handoff
    with pytest.raises(InputError, match="needs a recorded hand-off: to whom and when"):
        review.sign(**SIGNER, checklist=ALL_CHECKED)
    review.record_handoff("Dr. Duty", "2026-05-04T10:20", note="By telephone.", role=ROLE)
    assert not review.needs_handoff
    assert review.shows_crisis_card
    review.sign(**SIGNER, checklist=ALL_CHECKED)
    assert review.record.handoff.to == "Dr. Duty"


def test_item_nine_of_zero_asks_for_nothing():
    review = start_review()
    review.edit("questionnaire.phq9_item9", 0, role=ROLE)
    assert not review.shows_crisis_card
    review.sign(**SIGNER, checklist=ALL_CHECKED)
    assert review.status == "signed"


def test_item_nine_cannot_slip_in_after_the_signature():
    review = start_review()
    review.sign(**SIGNER, checklist=ALL_CHECKED)
    with pytest.raises(InputError, match="needs a recorded hand-off first"):
        review.edit("questionnaire.phq9_item9", 1, **AMENDER)
    assert review.status == "signed"
    review.record_handoff("Dr. Duty", "2026-05-04T10:20", **AMENDER)
    review.edit("questionnaire.phq9_item9", 1, **AMENDER)
    assert review.status == "amended"


@pytest.mark.parametrize(
    ("to", "when"),
    [("", "2026-05-04T10:20"), ("Dr. Duty", ""), ("Dr. Duty", "soon")]
    + [("Dr. Duty", "2026-05-04"), ("Dr. Duty", "20260504"), ("Dr. Duty", "2026-05-04T10")],
)
def test_a_hand_off_says_to_whom_and_when(to, when):
    with pytest.raises(InputError, match="hand-off"):
        start_review().record_handoff(to, when, role=ROLE)


def test_a_signed_record_is_amended_not_changed():
    review = sign_review(edit_all(start_review()))
    signed = review.signed_versions[0]
    for who in ({"role": ROLE}, {**SIGNER}, {"role": ROLE, "reason": "why not"}):
        with pytest.raises(InputError, match="signed|reason"):
            review.edit("assessment.text", "Other words.", **who)
    assert review.status == "signed"
    review.edit("assessment.text", "Other words.", **AMENDER)
    assert review.signed_versions[0] == signed
    assert parse_record(signed).assessment.text == "The person speaks of sadness."
    assert parse_record(signed).sign_off == review.record.sign_off
    assert parse_record(review.signed_versions[1]) == review.record
    assert (review.record.changes[-1].action, review.record.changes[-1].reason) == ("amend", AMENDER["reason"])
    with pytest.raises(InputError, match="signed already"):
        review.sign(**SIGNER, checklist=ALL_CHECKED)


def test_the_signature_names_the_record_that_was_signed():
    review = edit_all(start_review())
    review.record_handoff("Dr. Duty", "2026-05-04T10:20", role=ROLE)
    before = digest_record(review.record)
    review.sign(**SIGNER, checklist=ALL_CHECKED[::-1], moment=MOMENT)
    assert review.record.sign_off.record_sha256 == before
    assert review.record.sign_off.checklist == list(ALL_CHECKED)
    assert review.record.sign_off.time == "2026-05-04T10:30:00Z"


def test_only_a_draft_can_be_opened():
    with pytest.raises(InputError, match="found status signed"):
        open_review(sign_review(start_review()).record)


@pytest.mark.parametrize("change", [{"status": "signed"}, {"status": "draft"}, {"sign_off": None}])
def test_a_record_whose_status_contradicts_it_is_refused(change):
    values = json.loads(render_json(sign_review(edit_all(start_review())).record)) | change
    if change == {"status": "signed"}:
        values["sign_off"] = None
    with pytest.raises(InputError, match=r"record\.json: status"):
        parse_record(json.dumps(values).encode())


def test_the_log_has_one_entry_per_step_and_no_word_of_the_record():
    review = sign_review(edit_all(start_review()))
    review.export("json", moment=MOMENT)
    entries = review.log.entries
    assert [entry.action for entry in entries] == ["draft", *["edit"] * 5, "note", "hand-off", "sign", "export"]
    assert [entry.previous for entry in entries] == [NO_DIGEST, *(entry.hash for entry in entries[:-1])]
    assert entries[3].before != entries[3].after
    data = review.log.render()
    for word in (b"sadness", b"Slept", b"Ada", b"Signer", b"clinician"):
        assert word not in data
    assert verify_log(data).entries == entries


def test_same_steps_at_the_same_moments_give_the_same_bytes():
    first, second = (sign_review(edit_all(start_review())) for _ in range(2))
    assert render_json(first.record) == render_json(second.record)
    assert first.log.render() == second.log.render()


@pytest.fixture(scope="module")
def log_lines() -> list[bytes]:
    return sign_review(edit_all(start_review())).log.render().splitlines(keepends=True)


def test_every_changed_line_is_named(log_lines):
    for number, line in enumerate(log_lines):
        entry = json.loads(line)
        for key in entry:
            changed = entry | {key: entry[key] + 1 if key == "seq" else f"{entry[key]}0"}
            data = [*log_lines[:number], json.dumps(changed).encode() + b"\n", *log_lines[number + 1 :]]
            with pytest.raises(InputError, match=rf"audit\.jsonl line {number + 1}: "):
                verify_log(b"".join(data))


def test_taken_out_moved_doubled_and_foreign_lines_are_named(log_lines):
    for broken, line in (
        (log_lines[1:], 1),
        (log_lines[:2] + log_lines[3:], 3),
        ([log_lines[1], log_lines[0], *log_lines[2:]], 1),
        ([*log_lines[:4], log_lines[3], *log_lines[4:]], 5),
        ([*log_lines[:2], b"\n", *log_lines[2:]], 3),
        ([*log_lines, b"{}\n"], len(log_lines) + 1),
        ([*log_lines, b"\xff\xfe\n"], len(log_lines) + 1),
    ):
        with pytest.raises(InputError, match=rf"audit\.jsonl line {line}: "):
            verify_log(b"".join(broken))
    with pytest.raises(InputError, match="holds no entry"):
        verify_log(b"")


def test_a_forged_line_with_a_digest_of_its_own_breaks_the_chain(log_lines):
    from copilot.record.audit import AuditEntry, _hash_line

    values = json.loads(log_lines[3]) | {"role": "somebody else"}
    values.pop("hash")
    forged = AuditEntry(**values, hash=_hash_line(values)).render()
    with pytest.raises(InputError, match="line 5: does not follow"):
        verify_log(b"".join([*log_lines[:3], forged, *log_lines[4:]]))


@pytest.mark.parametrize("status", ["draft", "edited", "signed", "amended"])
def test_a_review_is_kept_and_read_back(status, tmp_path):
    review = make_reviews()[status]
    place = save_review(review, tmp_path)
    assert place.stat().st_mode & 0o777 == 0o700
    again = load_review(tmp_path)
    assert (again.draft, again.record, again.status) == (review.draft, review.record, status)
    assert again.log.entries == review.log.entries
    assert again.signed_versions == review.signed_versions
    assert sorted(path.name for path in tmp_path.iterdir()) == ["review"]


def test_a_folder_without_a_review_begins_one_on_its_draft(tmp_path):
    (tmp_path / "record.json").write_bytes(render_json(quick_record()))
    review = load_review(tmp_path)
    assert review.status == "draft"
    assert list(tmp_path.iterdir()) == [tmp_path / "record.json"]
    with pytest.raises(InputError, match=r"record\.json: cannot be read here"):
        load_review(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("draft.json", r"review/draft\.json: is not the draft"),
        ("record.json", r"review/record\.json: is not the record"),
        ("signed-1.json", r"review/signed-1\.json and on: are not"),
        ("audit.jsonl", r"audit\.jsonl line 1: was changed"),
    ],
)
def test_a_file_changed_behind_its_back_is_found(name, message, tmp_path):
    path = save_review(make_reviews()["amended"], tmp_path) / name
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"seq":1,', '"seq":1, ') if name == "audit.jsonl" else text.replace("250", "251"))
    if name == "audit.jsonl":
        path.write_text(text.replace('"action":"draft"', '"action":"edit"', 1))
    elif "250" not in text:
        path.write_text(text.replace("FACED", "FACET"))
    with pytest.raises(InputError, match=message):
        load_review(tmp_path)


def test_a_version_that_was_signed_cannot_vanish(tmp_path):
    (save_review(make_reviews()["amended"], tmp_path) / "signed-2.json").unlink()
    with pytest.raises(InputError, match="versions that"):
        load_review(tmp_path)


def test_two_people_do_not_overwrite_each_other(tmp_path):
    save_review(start_review(), tmp_path)
    one, other = load_review(tmp_path), load_review(tmp_path)
    one.add_note("First.", role=ROLE)
    save_review(one, tmp_path)
    other.add_note("Second.", role=ROLE)
    with pytest.raises(InputError, match="holds steps that this review does not know"):
        save_review(other, tmp_path)
    assert load_review(tmp_path).record.notes[0].text == "First."


def test_a_save_that_died_between_its_renames_loses_nothing(tmp_path):
    review = edit_all(start_review())
    save_review(review, tmp_path).rename(tmp_path / "review.old")
    (tmp_path / "review.partial").mkdir()
    assert load_review(tmp_path).record == review.record
    review.add_note("More.", role=ROLE)
    save_review(review, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["review"]
    assert len(load_review(tmp_path).record.notes) == 2


@pytest.mark.parametrize("name", [*FORMATS, AUDIT])
def test_an_export_is_logged_and_says_where_the_log_stood(name):
    review = sign_review(edit_all(start_review()))
    head = review.log.head
    data = review.export(name, moment=MOMENT)
    assert data
    assert (review.log.entries[-1].action, review.log.entries[-1].field) == ("export", name)
    assert review.log.entries[-1].record == digest_record(review.record)
    if name in ("json", "html"):
        assert head.sha256.encode() in data
    if name == AUDIT:
        assert verify_log(data).entries == review.log.entries


def test_an_unknown_format_is_one_line():
    with pytest.raises(InputError, match="format 'docx': unknown; accepted: json, html, pdf, fhir, audit"):
        start_review().export("docx")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_checklist_has_the_same_keys_in_every_language(language):
    assert tuple(load_checklist(language)) == ALL_CHECKED
    assert all(load_checklist(language).values())


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=200))
def test_any_text_is_kept_or_refused_in_one_line(text):
    review = start_review()
    shown = re.sub(r"\r\n?", "\n", text).strip()
    if not re.sub(r"[\n\t\u3000]", "", shown).isprintable():
        with pytest.raises(InputError, match=r"^assessment\.text: holds characters that cannot be shown; [^\n]+$"):
            review.edit("assessment.text", text, role=ROLE)
        return
    review.edit("assessment.text", text, role=ROLE)
    assert review.record.assessment.text == re.sub(r"\r\n?", "\n", text).strip()
    assert parse_record(render_json(review.record)) == review.record

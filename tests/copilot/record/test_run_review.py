"""The command: edits, signs, exports, and refuses in one line."""

import json

import pytest

from copilot.record import name_file, parse_record, render_json
from copilot.record.audit import verify_log
from copilot.record.review_files import load_review
from copilot.run_review import main, make_parser, parse_value
from dataset_builder.errors import CopilotError
from tests.copilot.record.review_fakes import ALL_CHECKED, quick_record

SIGN = ["--sign", "--name", "Ada Signer", "--role", "psychologist", "--checked", *ALL_CHECKED]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / "record.json").write_bytes(render_json(quick_record()))
    return tmp_path / "record"


def test_looking_writes_nothing(folder, capsys):
    assert main([str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "status     draft" in shown
    assert "machine    estimate.emotion = fear" in shown
    assert "to sign    the checklist lacks person" in shown
    assert [path.name for path in folder.iterdir()] == ["record.json"]


def test_edit_sign_and_export(folder, capsys):
    edits = ["--set", "assessment.text=Two\\nlines.", "--set", "questionnaire.phq9_total=7", "--note", "Calm."]
    assert main([str(folder), *edits, "--role", "psychologist"]) == 0
    assert "edited     assessment.text = Two lines." in capsys.readouterr().out
    assert main([str(folder), *SIGN, "--export", "json", "html", "pdf", "fhir", "audit"]) == 0
    assert "status     signed" in capsys.readouterr().out
    names = {path.name for path in (folder / "exports").iterdir()}
    assert names == {name_file(name) for name in ("json", "html", "pdf", "fhir", "audit")}
    record = parse_record((folder / "exports" / "record.json").read_bytes())
    assert (record.status, record.sign_off.name) == ("signed", "Ada Signer")
    assert record.assessment.text == "Two\nlines."
    assert json.loads((folder / "exports" / "record.fhir.json").read_bytes())["resourceType"] == "Bundle"
    assert verify_log((folder / "exports" / "audit.jsonl").read_bytes()).entries == load_review(folder).log.entries
    assert parse_record((folder / "record.json").read_bytes()).status == "draft"


def test_item_nine_prints_the_card_of_the_locale(folder, capsys):
    common = [str(folder), "--role", "psychologist"]
    assert main([*common, "--set", "questionnaire.phq9_item9=1", "--locale", "en-US"]) == 0
    assert "988" in capsys.readouterr().out
    with pytest.raises(CopilotError, match="needs a recorded hand-off"):
        main([str(folder), *SIGN])
    assert main([str(folder), *SIGN, "--hand-off", "Dr. Duty", "2026-05-04T10:20"]) == 0
    assert "NOW" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "assessment.text", "--role", "x"], "found no =; accepted: FIELD=VALUE"),
        (["--set", "mood=bad", "--role", "x"], "field 'mood': unknown"),
        (["--set", "assessment.text=New."], "role: is empty"),
        (["--sign", "--name", "Ada", "--role", "x"], "the checklist lacks person"),
        (["--sign", "--role", "x", "--checked", *ALL_CHECKED], "name: is empty"),
        (["--export", "docx"], "--export"),
        (["--hand-off", "Dr. Duty", "soon", "--role", "x"], "not a date and time"),
        (["--set", "questionnaire.phq9_total=many", "--role", "x"], "found str; accepted: whole numbers"),
        (["--set", f"questionnaire.phq9_total={'9' * 5000}", "--role", "x"], "found str; accepted: whole numbers"),
    ],
)
def test_a_refused_step_writes_nothing(folder, more, message):
    with pytest.raises(CopilotError) as caught:
        main([str(folder), *more])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in folder.iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("suggestions", "naming, grounding", ["naming", "grounding"]),
        ("suggestions", "", []),
        ("questionnaire.phq9_total", "12", 12),
        ("questionnaire.phq9_total", "", None),
        ("estimate.emotion", "joy", "joy"),
        ("estimate.emotion", " ", None),
        ("assessment.text", "12", "12"),
    ],
)
def test_values_are_read_from_text(field, text, value):
    assert parse_value(field, text) == value


def test_a_signed_record_needs_a_reason(folder):
    main([str(folder), *SIGN])
    change = [str(folder), "--set", "assessment.text=Other.", "--name", "Ada Signer", "--role", "psychologist"]
    with pytest.raises(CopilotError, match="reason of the amendment"):
        main(change)
    assert main([*change, "--reason", "slip"]) == 0
    assert load_review(folder).status == "amended"
    assert sorted(path.name for path in (folder / "review").glob("signed-*")) == ["signed-1.json", "signed-2.json"]


def test_help_tells_every_check():
    text = " ".join(make_parser().format_help().split())
    assert all(f"{key}: " in text for key in ALL_CHECKED)

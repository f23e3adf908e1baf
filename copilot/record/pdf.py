"""The record as PDF, for those who file paper: the same parts as the printable page, shorter.

Prompt, windows and picture of the scores stand in the HTML record. The fonts are embedded; text that no font of this
machine can print (Chinese, where no Chinese font is installed) is said to be missing.
"""

import base64
from datetime import datetime
from io import BytesIO

from copilot.phrases import say
from copilot.record.crisis import load_card
from copilot.record.html import ORIGINS, describe_origin, format_time, name_system, translate_option
from copilot.record.marks import Change, Item
from copilot.record.pdf_page import ACCENT, RED, SOFT, Page
from copilot.record.signing import list_alerts, load_checklist
from copilot.record.types import Record
from dataset_builder.prompts import Language

_SEX = {"F": "female", "M": "male", None: "not stated"}
_FOOT = "For research use only. Not a medical device. Not for diagnosis, treatment, triage or monitoring."
_BANDS = {"draft": "DRAFT, not reviewed, not signed", "edited": "EDITED DRAFT, changed by a person, not signed"}


def render_pdf(record: Record, language: Language | None = None) -> bytes:
    """Return the record as PDF; the same record gives the same bytes on machines with the same fonts.

    Parameters
    ----------
    record : Record
    language : {"en", "zh"}, optional
        As in `copilot.record.html.render_html`; English where this machine has no font for it.
    """
    watermark = "" if record.signed else "DRAFT"
    page = Page(record.status, _write_band(record), _FOOT, watermark, language or record.language)
    page.set_title(page.say(f"EEG emotion record ({record.status})"))
    page.set_lang(page.language)
    page.set_creator("EEG Emotion Copilot")
    page.set_creation_date(datetime.fromisoformat(record.created))
    for write in (_write_head, _write_alert, _write_headline, _write_words, _write_sections, _write_facts):
        write(page, record)
    for write in (_write_review, _write_provenance, _write_limits, _write_pictures):
        write(page, record)
    return bytes(page.output())


def _write_band(record: Record) -> str:
    if record.sign_off is None:
        return _BANDS[record.status]
    by = f"{record.sign_off.name}, {record.sign_off.role}, {format_time(record.sign_off.time)} UTC"
    return f"SIGNED by {by}" if record.status == "signed" else f"AMENDED; signed by {by}"


def _write_head(page: Page, record: Record) -> None:
    page.write_ours("EEG emotion record", size=20, style="B")
    page.write_ours(f"Drafted {format_time(record.created)} UTC by EEG Emotion Copilot", size=8, colour=SOFT)
    page.write_ours(record.notice, colour=RED)
    if record.synthetic:
        page.write_ours("Synthetic data. This recording is made up by a program. No person was recorded.", style="B")
    if record.provenance.synthetic_training:
        page.write_ours("Synthetic training. The model was trained on made-up data.", style="B")


def _write_alert(page: Page, record: Record) -> None:
    """Write the crisis card, or to whom the person was handed over."""
    alerts, handoff, card = list_alerts(record), record.handoff, load_card(page.language)
    if not alerts:
        return
    page.write_heading("A hand-off was due" if handoff else card.title)
    for item in alerts:
        page.write_ours(f"{item.label}: {item.value} (entered by a person)", style="B", colour=RED)
    if handoff:
        handed = say("Handed over to {to}, {when}.", page.language, to=handoff.to, when=format_time(handoff.when))
        page.write_text(f"{handed} {handoff.note}")
        return
    for line in card.lines:
        page.write_text(f"\u2022 {line.text} {line.contact}")
    page.write_text(f"{page.say('No hand-off is recorded.')} {card.handoff}", style="B")


def _write_headline(page: Page, record: Record) -> None:
    estimate = record.estimate
    page.write_heading("Stated by a person" if estimate.override else estimate.wording)
    page.write_text(page.say(estimate.stated or "No estimate").capitalize(), size=17, style="B", colour=ACCENT)
    if estimate.override:
        page.write_ours(f"{estimate.wording}: {estimate.emotion or 'none'}.")
    if estimate.reason:
        page.write_ours(estimate.reason)
    for score in estimate.scores:
        _draw_bar(page, page.say(score.emotion), score.probability, top=score.emotion == estimate.emotion)
    if estimate.scores:
        page.write_ours(f"Mean over the windows; guessing would give {estimate.chance:.0%}.", size=8, colour=SOFT)
    for caution in estimate.cautions:
        page.write_ours(f"Caution. {caution}")


def _draw_bar(page: Page, name: str, share: float, *, top: bool) -> None:
    """Draw one score: its name, a bar on a scale to 100 %, and the number."""
    if page.will_page_break(5):
        page.add_page()
    page.set_font(page.choose_font(name), "B" if top else "", 8)
    page.set_text_color(29, 39, 51)
    page.cell(28, 4.6, name)
    x, y = page.get_x(), page.get_y()
    page.set_fill_color(*(ACCENT if top else (150, 170, 190)))
    page.rect(x, y + 0.8, max(0.3, 120 * share), 3, style="F")
    page.set_x(x + 122)
    page.cell(15, 4.6, f"{share:.1%}", new_x="LMARGIN", new_y="NEXT")


def _write_words(page: Page, record: Record) -> None:
    """Write assessment, options and notes, each with its origin."""
    assessment = record.assessment
    page.write_heading(f"Assessment ({ORIGINS[assessment.origin]})" if assessment else "Assessment")
    if assessment is None:
        page.write_ours("None: no estimate was given.", colour=SOFT)
    elif assessment.withheld:
        page.write_ours(f"Withheld: the model's sentences are not shown because {assessment.withheld}.")
    else:
        page.write_text(assessment.text or page.say("None: a person removed it."), size=10)
    page.write_heading("Options to discuss")
    for line in record.suggestions:
        page.write_text(f"\u2022 {translate_option(line, record, page.language)}")
        cited = f"{line.source.title}. {line.source.publisher}, {line.source.year}. {line.source.url}"
        page.write_text(f"{page.say(line.why)} {cited}", size=7.5, colour=SOFT, indent=3)
    if not record.suggestions:
        page.write_ours(record.no_suggestions or "None.", colour=SOFT)
    for note in record.notes:
        page.write_heading(f"Note ({ORIGINS[note.origin]}: {note.role}, {format_time(note.time)} UTC)")
        page.write_text(note.text)


def _write_sections(page: Page, record: Record) -> None:
    for section in record.sections:
        page.write_heading(section.title)
        page.write_ours(section.summary)
        rows = [(_name_item(page, item), _show_value(page, item), _show_origin(page, item)) for item in section.items]
        if rows:
            page.write_table(rows, (36, 30, 34), ("Item", "Value", "Origin"))


def _name_item(page: Page, item: Item) -> str:
    label = page.say(item.label)
    return f"{label} ({name_system(item.code.system)} {item.code.code})" if item.code else label


def _show_origin(page: Page, item: Item) -> str:
    if item.accepts and item.value is None:
        return page.say("to be entered")
    return describe_origin(item, page.language)


def _show_value(page: Page, item: Item) -> str:
    if item.value is None:
        return page.say("not stated")
    if isinstance(item.value, bool):
        return page.say("yes" if item.value else "no")
    if item.unit == "1" and isinstance(item.value, (int, float)):
        return f"{item.value:.1%}"
    return page.say(str(item.value))


def _write_facts(page: Page, record: Record) -> None:
    facts, say = record.recording, page.say
    page.write_heading("Person and recording")
    age = say("not stated" if record.subject.age is None else str(record.subject.age))
    rows = [
        (say("Age, sex"), f"{age}, {say(_SEX[record.subject.sex])}"),
        (say("Length"), say(f"{facts.n_windows} windows of {facts.window_s:g} s")),
        (say(f"Channels ({len(facts.channels)})"), " ".join(facts.channels)),
        (say("Missing channels"), " ".join(facts.missing_channels) or say("none")),
        (say("Notes of the reader"), "; ".join(map(say, facts.notes)) or say("none")),
        (say("File (SHA-256)"), facts.sha256 or say("not stated")),
    ]
    page.write_table(rows, (26, 74))


def _write_review(page: Page, record: Record) -> None:
    sign_off = record.sign_off
    if sign_off is None and not record.changes:
        return
    page.write_heading("Review")
    if sign_off:
        page.write_ours(f"Signed by {sign_off.name}, {sign_off.role}, {format_time(sign_off.time)} UTC, who confirmed:")
        for key in sign_off.checklist:
            page.write_text(f"\u2022 {load_checklist(page.language).get(key, key)}", indent=3)
    rows = [
        (format_time(change.time), page.say(change.action), change.field, _name_person(change), change.reason)
        for change in record.changes
    ]
    if rows:
        page.write_table(rows, (20, 12, 24, 22, 22), ("Time (UTC)", "What", "Field", "By", "Reason"))


def _name_person(change: Change) -> str:
    return f"{change.name} {change.role}".strip()


def _write_pictures(page: Page, record: Record) -> None:
    for number, picture in enumerate(record.pictures):
        if not number:
            page.add_page()
        page.image(BytesIO(base64.b64decode(picture.data)), w=page.epw, alt_text=page.say(picture.alt))
        page.write_ours(picture.caption, size=8, colour=SOFT)


def _write_provenance(page: Page, record: Record) -> None:
    facts, say = record.provenance, page.say
    page.write_heading("Provenance")
    unstated = say("not stated")
    log = f"{record.log.entries} entries, the last {record.log.sha256}" if record.log else "not stated"
    rows = [
        (say("Model"), f"{facts.model} {facts.quantisation}"),
        (say("GGUF (SHA-256)"), facts.gguf_sha256),
        (say("Base, codec"), f"{facts.base or unstated}; {facts.codec or unstated}"),
        (say("Training corpus"), facts.corpus or unstated),
        (say("Software"), ", ".join(f"{name} {version}" for name, version in facts.software.items())),
        (say("Machine's draft"), record.draft_sha256 or say("this record")),
        (say("Audit log"), say(log)),
    ]
    page.write_table(rows, (26, 74))
    known = [
        f"{m.name.replace('_', ' ')} {m.value:.3f} on {m.n} {m.unit} ({m.protocol or m.split})" for m in facts.metrics
    ]
    page.write_ours("Measured accuracy: " + ("; ".join(known) or "none came with this model file."))


def _write_limits(page: Page, record: Record) -> None:
    page.write_heading("Limits")
    for limit in record.limits:
        page.write_text(f"\u2022 {page.say(limit)}", size=8)

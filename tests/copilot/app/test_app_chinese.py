"""The Chinese page: whatever goes wrong is told in Chinese, and so is the record that is saved."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfReader

from copilot.app import signal_views, steps, views
from copilot.app.kit import guard
from copilot.app.session import Session
from copilot.phrases import knows
from copilot.record.pdf_page import find_chinese_font
from tests.copilot.app.app_fakes import StreamingEngine, make_desk, write_named_edf, write_poor_edf
from tests.copilot.app.browser import CHROMIUM, Server, browse, serve
from tests.copilot.english import find_english, find_english_in_page

PARTS = (
    signal_views.show_header,
    signal_views.show_facts,
    signal_views.show_montage,
    signal_views.show_gate,
    signal_views.show_channels,
    signal_views.show_code,
    views.show_message,
    views.show_answer,
    views.show_record,
    views.show_sign,
    views.show_log,
)

#: What the page says first of each.
REASONS = {"poor": "平直或有噪声", "old": "相差太远", "unsure": "几乎不偏向", "fine": "超出训练人群"}

#: All words that can be seen or are read aloud, quotations of prompt, names and what is marked as English left out.
VISIBLE = """() => {
  const quoted = 'pre, code, [lang^=en], .mono, #language, #model-facts, a, script, style';
  const texts = [];
  const walk = (element) => {
    if (element.matches(quoted) || getComputedStyle(element).display === 'none') return;
    for (const name of ['aria-label', 'title', 'placeholder', 'alt']) texts.push(element.getAttribute(name) || '');
    for (const child of element.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) texts.push(child.textContent);
      if (child.nodeType === Node.ELEMENT_NODE) walk(child);
    }
  };
  walk(document.body);
  return texts;
}"""


def find_in_session(session: Session) -> list[str]:
    return [run for part in PARTS for run in find_english_in_page(part(session))]


def ask(session: Session, desk) -> None:
    for _ in steps.ask(session, desk.shelf):
        pass


def open_session(desk) -> Session:
    session = desk.open_session("tab")
    session.language = "zh"
    steps.choose_model(session, desk.shelf, desk.first_model())
    return session


@pytest.mark.parametrize("why", ["poor", "old", "unsure", "fine"])
def test_everything_is_chinese_whatever_the_answer(tmp_path, why):
    desk = make_desk(tmp_path / "desk", StreamingEngine(share=0.15 if why == "unsure" else 0.6))
    session = open_session(desk)
    path = write_poor_edf(tmp_path) if why == "poor" else write_named_edf(tmp_path / "raw")
    steps.take_recording(session, [path])
    steps.describe_person(session, 75 if why == "old" else 45, "F")
    ask(session, desk)
    assert session.review.draft.estimate.abstained is (why != "fine")
    assert find_in_session(session) == []
    assert REASONS[why] in views.show_answer(session)
    assert find_english_in_page(session.review.export("html", language="zh")) == []


@pytest.mark.parametrize(
    ("name", "content"), [("a.edf", b"nonsense"), ("a.txt", b"x"), ("a.vhdr", b"Brain"), ("a.fif", b"\x00" * 99)]
)
def test_a_bad_file_is_told_in_chinese(tmp_path, name, content):
    session = open_session(make_desk(tmp_path / "desk"))
    path = tmp_path / name
    path.write_bytes(content)
    guard(session, lambda: steps.take_recording(session, [path]))
    assert session.failed
    assert find_english_in_page(views.show_message(session)) == []


def test_what_is_said_in_english_alone_stands_below_chinese_words(tmp_path):
    session = open_session(make_desk(tmp_path / "desk"))
    session.message, session.failed = "codec: something that no phrase book holds", True
    assert not knows(session.message, "zh")
    shown = views.show_message(session)
    assert "请按下列原因" in shown
    assert '<span lang="en">codec: something that no phrase book holds</span>' in shown


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    places = tmp_path_factory.mktemp("p")
    with serve(["-m", "tests.copilot.app.serve_fake", str(places / "models"), "--unsure"], places) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_chinese_page_in_a_browser(server, tmp_path):
    with browse(server.address, tmp_path / "profile") as browser:
        page = browser.page
        page.wait_for_selector("#model-facts table")
        page.locator("#language").get_by_text("中文").click()
        page.get_by_role("tab", name="签署与保存").wait_for()

        def look() -> None:
            found = [run for text in page.evaluate(VISIBLE) for run in find_english(text)]
            assert found == []
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

        def go_to(step: str) -> None:
            page.locator("#steps").get_by_role("tab", name=step).first.click()
            page.wait_for_function("() => document.querySelector('#message').innerText.trim() === ''")

        def upload(path: Path) -> None:
            page.set_input_files("#upload input[type=file]", [str(path)])
            page.locator("#message").get_by_text("记录已读取").wait_for()
            look()

        def ask_model() -> str:
            go_to("2 信号")
            page.wait_for_selector("#traces img")
            look()
            go_to("3 估计")
            page.click("#ask")
            page.wait_for_selector("#answer .headline")
            page.locator("#message").get_by_text("草稿已完成").wait_for()
            look()
            return str(page.inner_text("#answer"))

        look()
        page.set_input_files("#upload input[type=file]", [str(write_broken(tmp_path))])
        page.locator("#message .failed").wait_for()
        look()
        upload(write_poor_edf(tmp_path))
        assert "通道" in ask_model()
        go_to("1 记录")
        upload(write_named_edf(tmp_path / "raw"))
        assert "置信度低" in ask_model()
        go_to("1 记录")
        page.fill("#age input", "75")
        page.click("#person-save")
        page.locator("#message").get_by_text("年龄：75").wait_for()
        assert "年龄" in ask_model()
        go_to("4 病历")
        page.fill("#edit-role input", "研究人员")
        page.fill("#phq9-item9 input", "1")
        page.click("#save")
        page.wait_for_selector("#crisis section")
        look()
        go_to("5 签署")
        page.click("#sign")
        page.locator("#message .failed").wait_for()
        look()
        for name in ("html", "pdf"):
            with page.expect_download() as waiting:
                page.click(f"#export-{name}")
            waiting.value.save_as(tmp_path / name)
        assert find_english_in_page((tmp_path / "html").read_bytes()) == []
        if find_chinese_font() is not None:
            text = " ".join(sheet.extract_text() for sheet in PdfReader(BytesIO((tmp_path / "pdf").read_bytes())).pages)
            assert [run for run in find_english(text) if "feature de" not in run and "regions" not in run] == []


def write_broken(folder: Path) -> Path:
    path = folder / "broken.edf"
    path.write_bytes(b"0       Quackenbush")
    return path

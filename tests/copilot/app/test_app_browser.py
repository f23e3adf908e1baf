"""The whole way in a real browser: from a recording that says who it is to a signed record, and nothing left behind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copilot.record.audit import verify_log
from tests.copilot.app.app_fakes import PLANTED, write_named_edf
from tests.copilot.app.browser import CHROMIUM, Browser, Server, browse, find_texts, serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(420),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

EXPORTS = ("html", "pdf", "json", "fhir", "audit")


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("p")  # short: the engine's socket lies below it


@pytest.fixture(scope="module")
def server(places) -> Iterator[Server]:
    with serve(["-m", "tests.copilot.app.serve_fake", str(places / "models")], places) as running:
        yield running


@pytest.fixture
def browser(server, tmp_path) -> Iterator[Browser]:
    with browse(server.address, tmp_path / "profile") as opened:
        opened.page.wait_for_selector("#model-facts table")
        yield opened
        assert opened.beyond == []
        assert opened.complaints == []


def go_to(browser: Browser, step: str) -> None:
    browser.page.locator("#steps").get_by_role("tab", name=step).first.click()
    browser.page.wait_for_function("() => document.querySelector('#message').innerText.trim() === ''")


def upload(browser: Browser, *paths: Path) -> None:
    browser.page.set_input_files("#upload input[type=file]", [str(path) for path in paths])


def told(browser: Browser, text: str) -> None:
    browser.page.locator("#message").get_by_text(text).wait_for()


def ask(browser: Browser) -> None:
    go_to(browser, "3 Estimate")
    browser.page.click("#ask")
    browser.page.wait_for_selector("#answer .headline")


def save_all(browser: Browser, folder: Path) -> dict[str, bytes]:
    """Follow every download link; return the files' contents."""
    files = {}
    for name in EXPORTS:
        with browser.page.expect_download() as waiting:
            browser.page.click(f"#export-{name}")
        path = folder / f"{name}-{waiting.value.suggested_filename}"
        waiting.value.save_as(path)
        files[name] = path.read_bytes()
    return files


def test_from_a_recording_to_a_signed_record(browser, places, tmp_path):
    page = browser.page
    upload(browser, write_named_edf(tmp_path / "raw"))
    page.wait_for_selector("#header table")
    assert "hidden" in page.inner_text("#header")
    assert "O2" in page.inner_text("#montage")
    shown = page.content()
    assert [text for text in PLANTED if text in shown] == []
    assert find_texts(places / "tmp", PLANTED) == []  # the file is gone as soon as it was read

    page.fill("#age input", "24")
    page.check("#sex input[value=F]")
    page.click("#person-save")
    told(browser, "Age: 24, sex: female")

    page.click("#to-signal")
    page.wait_for_selector("#traces img")
    assert "good enough" in page.inner_text("#gate")
    assert page.locator("#channels tbody tr").count() == 29
    page.mouse.wheel(0, 1500)
    page.wait_for_timeout(300)
    assert page.locator("#notice").bounding_box()["y"] >= 0  # in sight wherever the page is scrolled to
    page.get_by_role("tab", name="What the model reads").click()
    assert page.locator("#code pre").inner_text().strip()
    assert "Error" in page.inner_text("#code")

    ask(browser)
    assert "sadness" in page.inner_text("#answer .headline")
    assert page.locator("#answer .scores tbody tr").count() == 9
    assert "not calibrated" in page.inner_text("#answer")
    page.click("#why-ask")
    page.wait_for_selector("#why table")
    assert page.locator("#why tbody tr").count() == 4

    go_to(browser, "4 Record")
    page.fill("#edit-role input", "researcher")
    page.fill("#assessment textarea", "Reviewed with the volunteer, who disagrees.")
    page.fill("#phq9-total input", "12")
    page.fill("#phq9-item9 input", "1")
    page.click("#save")
    page.wait_for_selector("#crisis section")
    page.locator("#record .origin.edited").wait_for()
    assert page.locator("#record .origin.human").count() == 2

    go_to(browser, "5 Sign")
    drafts = save_all(browser, tmp_path)
    assert b"DRAFT" in drafts["html"].upper()
    assert json.loads(drafts["json"])["status"] == "edited"
    for box in page.locator("#checklist input").all():
        box.check()
    page.fill("#sign-name input", "A. Reader")
    page.fill("#sign-role input", "researcher")
    page.click("#sign")
    page.locator("#message .failed").wait_for()  # item 9 asks for a hand-off first

    go_to(browser, "4 Record")
    page.fill("#handoff-to input", "the clinician on duty")
    page.fill("#handoff-when input", "2026-05-04T10:30")
    page.fill("#handoff-role input", "researcher")
    page.click("#handoff-save")
    told(browser, "hand-off is in the record")
    go_to(browser, "5 Sign")
    page.click("#sign")
    told(browser, "Signed")
    assert "A. Reader" in page.inner_text("#sign-state")

    signed = save_all(browser, tmp_path)
    check_signed(signed)
    for name, data in (*drafts.items(), *signed.items()):
        assert [text for text in PLANTED if text.encode() in data] == [], name
    page.locator("#language").get_by_text("中文").click()
    page.get_by_role("tab", name="签署与保存").wait_for()
    assert "仅供研究使用" in page.inner_text("#notice")
    assert page.evaluate("document.documentElement.lang") == "zh"
    assert "签署" in page.inner_text("#sign-state")


def check_signed(files: dict[str, bytes]) -> None:
    record: dict[str, Any] = json.loads(files["json"])
    assert record["status"] == "signed"
    assert record["sign_off"]["name"] == "A. Reader"
    assert record["handoff"]["to"] == "the clinician on duty"
    assert files["pdf"].startswith(b"%PDF")
    assert json.loads(files["fhir"])["resourceType"] == "Bundle"
    verify_log(files["audit"])


def test_nothing_is_left_when_the_tab_closes(server, places, tmp_path):
    with browse(server.address, tmp_path / "profile") as first:
        first.page.wait_for_selector("#model-facts table")
        upload(first, write_named_edf(tmp_path / "raw"))
        first.page.wait_for_selector("#header table")
        ask(first)
        go_to(first, "5 Sign")
        link = first.page.get_attribute("#export-json", "href")
        assert first.page.request.get(f"{server.address}{link}").status == 200
    with browse(server.address, tmp_path / "other") as second:
        second.page.wait_for_selector("#model-facts table")
        assert second.page.locator("#header table").count() == 0  # another tab sees nothing of it
        for _ in range(100):
            if second.page.request.get(f"{server.address}{link}").status == 404:
                break
            second.page.wait_for_timeout(100)
        assert second.page.request.get(f"{server.address}{link}").status == 404  # the session ended with its tab
    assert find_texts(places / "tmp", PLANTED) == []
    assert find_texts(tmp_path / "profile", ("MRN-778899", "Zwingli", "AMP-4711")) == []  # nor in the browser's cache


def test_a_bad_file_is_one_line_and_gone(browser, places, tmp_path):
    bad = tmp_path / "Yersinia_broken.edf"
    bad.write_bytes(b"0       Quackenbush")
    upload(browser, bad)
    browser.page.locator("#message .failed").wait_for()
    text = browser.page.inner_text("#message")
    assert "\n" not in text.strip()
    assert "Yersinia" not in browser.page.content()
    assert find_texts(places / "tmp", PLANTED) == []
    browser.page.click("#sample")  # the page goes on
    browser.page.locator("#header .synthetic").wait_for()


def test_a_file_that_is_too_large_is_refused_and_gone(server, browser, places):
    data = b"Quackenbush" * 500_000
    sent = {"files": {"name": "Yersinia.edf", "mimeType": "application/octet-stream", "buffer": data}}
    answer = browser.page.request.post(f"{server.address}gradio_api/upload", multipart=sent)
    assert answer.status == 413
    assert find_texts(places / "tmp", PLANTED) == []


def test_answers_forbid_the_browser_to_keep_them_or_to_look_elsewhere(server, browser):
    for path in ("", "config", "gradio_api/info"):
        headers = browser.page.request.get(f"{server.address}{path}").headers
        assert headers["cache-control"] == "no-store"
        assert "connect-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert browser.page.request.get(f"{server.address}gradio_api/info").json()["named_endpoints"] == {}
    strange = browser.page.request.get(server.address, headers={"Host": "example.org"})
    assert strange.status == 400
    for path in ("docs", "redoc", "openapi.json", "monitoring"):
        assert browser.page.request.get(f"{server.address}{path}").status in (403, 404), path


def test_every_control_has_a_name_and_the_keyboard_reaches_it(browser):
    page = browser.page
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, textarea, a[href], [role=tab]')]
            .filter(e => e.offsetParent !== null)
            .filter(e => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.innerText.trim()
                || e.title || (e.labels && e.labels.length && e.labels[0].innerText.trim())))
            .map(e => e.outerHTML.slice(0, 160))"""
    )
    assert unnamed == []
    reached = walk(browser, 60)
    for name in ("1 Recording", "Open the made-up sample", "Model file (GGUF)", "Age in years", "Next: the signal"):
        assert any(name in text for text in reached), name


def test_the_way_to_the_answer_with_the_keyboard_alone(browser):
    page = browser.page
    press(browser, "#sample")
    browser.page.locator("#header .synthetic").wait_for()
    press(browser, "#to-signal")
    page.wait_for_selector("#gate table")
    press(browser, "#to-estimate")
    page.wait_for_selector("#ask")
    press(browser, "#ask")
    page.wait_for_selector("#answer .headline")
    assert "sadness" in page.inner_text("#answer .headline")


def walk(browser: Browser, steps: int) -> list[str]:
    """Press Tab again and again; return the names of what got the focus."""
    names = []
    for _ in range(steps):
        browser.page.keyboard.press("Tab")
        names.append(
            browser.page.evaluate(
                """() => { const e = document.activeElement; return [e.getAttribute('aria-label'), e.innerText,
                    e.labels && e.labels.length ? e.labels[0].innerText : ''].join(' ') }"""
            )
        )
    return names


def press(browser: Browser, selector: str) -> None:
    """Reach a button by Tab and press Enter on it."""
    for _ in range(120):
        browser.page.keyboard.press("Tab")
        if browser.page.evaluate("s => document.activeElement.matches(s + ', ' + s + ' *')", selector):
            browser.page.keyboard.press("Enter")
            return
    raise AssertionError(f"{selector} was not reached")


def test_page_stays_light_where_the_system_is_dark(browser):
    browser.page.emulate_media(color_scheme="dark")
    browser.page.reload()
    browser.page.wait_for_selector("#model-facts table")
    assert browser.page.locator(".dark").count() == 0
    browser.page.wait_for_function("() => getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'")

"""A program that serves a page, and a browser that tells of every request beyond this machine."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright

from tests.loopback import is_loopback

#: Names under which systems have a Chromium.
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: How long a loaded machine may take to import everything, s.
_START_S = 150

CHROMIUM = next((path for path in map(shutil.which, _NAMES) if path), None)


@dataclass
class Server:
    """A page that is served by another process."""

    address: str
    process: "subprocess.Popen[str]"

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ask it to stop and wait for its end."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@dataclass
class Browser:
    """An open page and what went on in it."""

    page: Page
    beyond: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def serve(arguments: Sequence[str], folder: Path) -> Iterator[Server]:
    """Start a program that prints ``open ADDRESS``; its temporary files and its home lie under `folder`."""
    for name in ("tmp", "home", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    places = {"TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home"), "PYTHONPATH": os.getcwd()}
    log = (folder / "server.log").open("w")
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder / "work",
        env=os.environ | places,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Server(_wait_for_address(process, folder / "server.log"), process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        log.close()


@contextmanager
def browse(address: str, profile: Path) -> Iterator[Browser]:
    """Open a page in a headless browser that keeps its files in `profile`."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
            viewport={"width": 1280, "height": 960},
            accept_downloads=True,
            env={key: value for key, value in os.environ.items() if "proxy" not in key.lower()},
        )
        try:
            yield _watch(context.pages[0] if context.pages else context.new_page(), address)
        finally:
            context.close()


def find_texts(folder: Path, texts: Sequence[str]) -> list[str]:
    """Return which texts stand in a file or a name under a folder, in any common encoding."""
    found = []
    for path in sorted(folder.rglob("*")):
        data = path.name.encode() + (path.read_bytes() if path.is_file() else b"")
        for text in texts:
            if any(text.encode(code) in data for code in ("utf-8", "utf-16-le", "utf-16-be")):
                found.append(f"{text} in {path.relative_to(folder)}")
    return found


def _watch(page: Page, address: str) -> Browser:
    browser = Browser(page)
    page.on("request", lambda request: _note_request(browser, request.url))
    page.on("console", lambda message: message.type == "error" and browser.complaints.append(message.text))
    page.on("pageerror", lambda error: browser.complaints.append(str(error)))
    page.set_default_timeout(60_000)
    page.goto(address)
    return browser


def _note_request(browser: Browser, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("data", "blob") and not is_loopback((parts.hostname or "", parts.port or 80)):
        browser.beyond.append(url)


def _wait_for_address(process: "subprocess.Popen[str]", log: Path) -> str:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        lines = [line for line in log.read_text().splitlines() if line.startswith("open http")]
        if lines:
            return lines[0].split()[1]
        time.sleep(0.2)
    raise RuntimeError(f"the page did not start: {log.read_text()}")

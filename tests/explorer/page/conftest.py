"""The explorer as people meet it: the real command as a process, the real export behind `python -m http.server`, a
report that is opened from disk.

A page is opened by `visit`, which fails the test for any error in the console and any request that leaves the machine.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from once import once

ARTIFACTS = Path(__file__).parents[3] / "artifacts" / "explorer"


class Site(NamedTuple):
    """A running explorer, an export or a report."""

    url: str
    live: bool
    atlas: Path
    notes: Path | None

    @property
    def kind(self) -> str:
        """What it is, in a word."""
        return "live" if self.live else "report" if self.url.startswith("file:") else "static"


def run_here(*arguments: str | Path) -> str:
    """Run cellglass to its end in this process, which has loaded torch already; return what it printed."""
    from cellglass.cli.app import app

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = app([str(argument) for argument in arguments], standalone_mode=False)
    assert not code
    return said.getvalue()


def start_live(atlas: Path, notes: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """Start `cellglass explore` on any free port; return the process and the address that it prints."""
    command = [sys.executable, "-m", "cellglass", "explore", str(atlas), "--no-browser", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--notes", str(notes), *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"http://\S+", line)
        if found:
            return process, found[0]
    raise AssertionError(f"the server ended with {process.wait()}")


def stop(process: subprocess.Popen[str]) -> None:
    """End a server as Ctrl-C does."""
    process.terminate()
    process.wait(20)
    if process.stdout is not None:
        process.stdout.close()


@pytest.fixture(scope="session")
def live(full_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    notes = tmp_path_factory.mktemp("live") / "notes.sqlite"
    process, url = start_live(full_folder, notes)
    yield Site(url, True, full_folder, notes)
    stop(process)


@pytest.fixture(scope="session")
def static(full_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = once(
        tmp_path_factory, "export", lambda out: run_here("export", full_folder, "--out", out, "--no-notes", "--quiet")
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(site)]
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, text=True)
    url = f"http://127.0.0.1:{port}/"
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            break
        except OSError:
            time.sleep(0.05)
    yield Site(url, False, full_folder, None)
    stop(process)


@pytest.fixture(scope="session")
def report(full_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    def make(folder: Path) -> None:
        folder.mkdir()
        run_here("report", full_folder, "--out", folder / "report.html", "--no-notes")

    path = once(tmp_path_factory, "report", make) / "report.html"
    return Site(path.as_uri(), False, full_folder, None)


@pytest.fixture(params=["live", pytest.param("static", marks=pytest.mark.slow), "report"])
def site(request: pytest.FixtureRequest) -> Site:
    """All of them, one after the other; what is an export's own has fast tests in `test_static.py`."""
    found: Site = request.getfixturevalue(request.param)
    return found


Visit = Callable[..., Any]

FRAMES = "async () => { for (let i = 0; i < 5; i++) await new Promise(requestAnimationFrame) }"
CALM = """async () => {
    for (let calm = 0, end = performance.now() + 20_000; performance.now() < end; ) {
        await new Promise(requestAnimationFrame);
        calm = document.querySelector('main h1') && !document.querySelector('main .wait') ? calm + 1 : 0;
        if (calm > 5) return [];
    }
    return [...document.querySelectorAll('main .wait')].map((one) => one.innerText).concat('no more');
}"""


def frames(page: Any) -> None:
    """Wait until what was done is drawn."""
    page.evaluate(FRAMES)


def settle(page: Any) -> None:
    """Wait until nothing says that it is being read."""
    said = page.evaluate(CALM)
    assert not said, f"still waiting: {said}"


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """Return a function that opens a route of a site in a fresh context, and gives the Playwright page."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def open_page(site: Site, route: str = "#/", *, width: int = 1280, height: int = 860, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("console", lambda told: wrong.append(f"{told.type}: {told.text}") if _is_wrong(told) else None)
        page.on("request", lambda asked: wrong.append(f"left: {asked.url}") if _leaves(asked.url, site.url) else None)
        page.goto(site.url + route)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong, wrong


def _is_wrong(told: Any) -> bool:
    return told.type in ("error", "warning") and "GPU stall" not in told.text


def _leaves(asked: str, home: str) -> bool:
    return not asked.startswith((home.split("?")[0], "data:", "blob:"))


@pytest.fixture(scope="session")
def keep() -> Callable[[Any, str], Path]:
    """Return a function that keeps a screenshot of a page as an artefact of CI."""

    def shot(page: Any, name: str, *, full: bool = False) -> Path:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        page.screenshot(path=path, full_page=full)
        return path

    return shot

"""Makes the pictures of README and docs: python docs/make_pictures.py demo-atlas [--circuit demo-circuits/graph.json].

It opens a report of the atlas from disk; then it starts the explorer on the atlas, with notes in a temporary file, and
goes the way that docs/explorer.md describes.
Needs playwright and Debian's chromium, which the tests need too.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from cellglass import open_atlas, write_report

PICTURES = Path(__file__).parent / "pictures"
SWITCHES = [
    *("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--disable-gpu-compositing", "--disable-gpu-rasterization"),  # as without a graphics card
]


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("atlas", type=Path)
    parser.add_argument("--out", type=Path, default=PICTURES)
    parser.add_argument("--circuit", type=Path, help="a traced graph, with its picture beside it")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=SWITCHES)
        page = browser.new_page(viewport={"width": 1200, "height": 900}, device_scale_factor=1.5)
        with tempfile.TemporaryDirectory() as folder:
            report = write_report(open_atlas(arguments.atlas), folder)
            page.goto(f"{report.as_uri()}#/concepts")
            page.locator(".list .line").first.wait_for()
            page.screenshot(path=arguments.out / "report.png")
        with explorer(arguments.atlas) as link:
            first_time(page, link, arguments.out)
        if arguments.circuit is not None:
            circuit(browser, arguments.circuit.with_suffix(".svg"), arguments.out)
            with tempfile.TemporaryDirectory() as folder:
                atlas = Path(shutil.copytree(arguments.atlas, Path(folder, "atlas")))
                (atlas / "circuits").mkdir(exist_ok=True)
                shutil.copy(arguments.circuit, atlas / "circuits" / "circuit.json")
                with explorer(atlas) as link:
                    drawn(page, link, arguments.out)
        browser.close()


def circuit(browser: Any, picture: Path, out: Path) -> None:
    """Take a picture of a graph as it was drawn, on white."""
    page = browser.new_page(viewport={"width": 1800, "height": 1000})
    page.goto(picture.resolve().as_uri())
    page.locator("svg").first.screenshot(path=out / "circuit.png")
    page.close()


def drawn(page: Any, link: str, out: Path) -> None:
    """Take a picture of a graph as the explorer draws it, with its strongest gene selected."""
    page.goto(f"{link}#/circuits/circuit")
    page.locator(".circuit canvas[data-edges]").wait_for()
    page.get_by_text("nodes as a table").click()
    page.locator("tbody tr").filter(has_text="token").filter(has_not_text="prompt").first.get_by_role("button").click()
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1200)
    page.screenshot(path=out / "explorer-circuit.png")


@contextmanager
def explorer(atlas: Path) -> Iterator[str]:
    """Run `cellglass explore`, with notes of its own, and yield the link that it prints."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-browser", "--port", "0", "--notes", str(Path(folder, "notes.sqlite"))]
        command = [sys.executable, "-u", "-m", "cellglass", "explore", str(atlas), *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None  # noqa: S101  # it was asked for
            try:
                yield next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
            finally:
                server.terminate()


def first_time(page: Any, link: str, out: Path) -> None:
    """Go from the first page to a named concept, as docs/explorer.md tells it."""

    def picture(name: str) -> None:
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1200)
        page.screenshot(path=out / f"explorer-{name}.png")

    page.set_default_timeout(60_000)
    page.goto(link)
    page.locator("h1").wait_for()
    picture("home")
    page.keyboard.press("/")
    page.keyboard.type("plasma")
    page.keyboard.press("Enter")
    found = page.locator(".found .concept a").first
    found.wait_for()
    picture("search")
    found.click()
    page.get_by_role("heading", name="Genes that drive it").wait_for()
    picture("card")
    card = page.url
    page.get_by_role("link", name="See it on the cells").first.click()
    page.get_by_role("button", name="Side by side").click()
    page.locator("canvas").nth(1).wait_for()
    picture("cells")
    page.goto(card)
    page.get_by_label("Label: what is it?").fill("plasma cells")
    page.get_by_label("Text").fill("Antibody secretion: MZB1, IGJ, and the unfolded protein response.")
    page.get_by_label("Confidence").select_option("4")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Saved.").wait_for()
    picture("note")


if __name__ == "__main__":
    main()

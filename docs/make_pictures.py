"""Makes the pictures of the README from the report of an atlas: python docs/make_pictures.py demo-atlas.

Needs playwright and Debian's chromium, which the tests need too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).parent / "pictures"


def main() -> None:
    """Take one picture of the top of the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("atlas", type=Path)
    report = parser.parse_args().atlas / "report.html"
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900}, device_scale_factor=1.5)
        page.goto(report.absolute().as_uri())
        page.wait_for_timeout(1500)
        page.screenshot(path=PICTURES / "report.png")
        browser.close()


if __name__ == "__main__":
    main()

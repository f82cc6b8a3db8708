"""The first page: what this is, how good it is, and the list of concepts."""

from __future__ import annotations

from typing import Any


def test_it_says_what_model_and_cells_these_are(site: Any, visit: Any, keep: Any) -> None:
    page = visit(site)
    page.locator("h1").wait_for()
    assert "700" in page.locator("main").inner_text()
    keep(page, f"home-{'live' if site.live else 'static'}")

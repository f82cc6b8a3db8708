"""What a first-time user wants to do, done by hand: each task with its clicks, what was typed, and its seconds.

The numbers are kept as ``tasks-KIND.json`` beside the screenshots. A task may take a certain number of clicks and no
more; seconds are written down and asserted by nobody. Each begins where the one before ended, as a visit does.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.evidence import leading_order
from explorer.page.conftest import ARTIFACTS, Site, settle
from explorer.page.saved import read_csv

pytestmark = pytest.mark.slow
LABEL = "CD19+ B cells"


class User:
    """Somebody at the page, whose clicks and typing are counted."""

    def __init__(self, page: Any, site: Site, folder: Path, visit: Any) -> None:
        self.page, self.site, self.folder, self.visit = page, site, folder, visit
        self.clicks = self.typed = 0
        var = open_atlas(site.atlas).concepts.var
        mine = var[var["best_label"] == LABEL]
        self.concept = int(mine.iloc[leading_order(mine)]["latent"].iloc[0])

    def click(self, target: Any) -> None:
        """Press something."""
        self.clicks += 1
        target.click()

    def type(self, target: Any, text: str, then: str = "") -> None:
        """Type into a field, and press a key after it."""
        self.typed += len(text)
        target.press_sequentially(text)
        if then:
            self.clicks += 1
            target.press(then)


def find_it(user: User) -> None:
    """The concept of a kind of cell."""
    user.type(user.page.locator("main").get_by_role("combobox").first, "b cells")
    user.click(user.page.locator("main").get_by_role("option", name=re.compile("^concept")).first)
    user.page.get_by_role("heading", name="Notes").wait_for()
    assert user.page.url.endswith(f"#/c/{user.concept}")


def how_sure(user: User) -> None:
    """Which genes drive it, and how sure that is: read on the card, without a click."""
    row = user.page.locator(".genes-rows .track").first
    row.wait_for()
    assert ", q " in row.get_attribute("aria-label")
    assert "±" in row.get_attribute("aria-label")


def all_genes(user: User) -> None:
    """Every gene that was measured, as a file."""
    rows = read_csv(user.page, lambda: user.click(user.page.get_by_label("Save the genes as CSV")), user.folder)
    table = pd.read_parquet(user.site.atlas / "genes.parquet")
    assert len(rows) == (table["concept"] == user.concept).sum()


def neuron(user: User) -> None:
    """A neuron beside it, on the cells."""
    link = user.page.get_by_role("link", name="Both on the cells, side by side")
    link.scroll_into_view_if_needed()
    user.click(link)
    user.page.get_by_role("heading", name="neuron").wait_for()
    user.page.go_back()


def rivals(user: User) -> None:
    """Which concepts are most like it."""
    panel = user.page.locator(".panel", has=user.page.get_by_role("heading", name="Nearest concepts"))
    link = panel.get_by_role("link").first
    link.scroll_into_view_if_needed()
    user.click(link)
    user.page.wait_for_url(lambda url: "#/c/" in url and not url.endswith(f"#/c/{user.concept}"))
    user.page.go_back()
    user.page.wait_for_url(f"**#/c/{user.concept}")


def compare(user: User) -> None:
    """It and another concept, side by side."""
    other = 3 if user.concept != 3 else 4
    user.type(user.page.get_by_label("Compare with: number or name of a concept"), f"#{other}", "Enter")
    user.page.wait_for_url(f"**/compare?a={user.concept}&b={other}")
    user.page.locator("[data-of=correlation]").wait_for()
    user.page.go_back()
    user.page.wait_for_url(f"**#/c/{user.concept}")


def its_cells(user: User) -> None:
    """Which cells have it."""
    user.click(user.page.get_by_role("link", name="See it on the cells"))
    n = int(open_atlas(user.site.atlas).concepts.var.query("latent == @user.concept")["density"].iloc[0] * 700 + 0.5)
    user.page.get_by_text(f"activation; {n} cells are not zero").wait_for()


def two_genes(user: User) -> None:
    """Two genes as one colour."""
    user.clicks += 1
    user.page.get_by_label("Colour by").select_option("Mean of genes")
    box = user.page.get_by_label("Genes, with spaces between")
    user.type(box, "cd79")
    user.click(user.page.locator(".pane").get_by_role("option", name="CD79A"))
    user.type(box, "MS4A1", "Enter")
    user.page.get_by_role("heading", name="CD79A, MS4A1").wait_for()


def select(user: User, least: str, name: str) -> None:
    """Cells by the value of what colours them, kept under a name."""
    page = user.page
    page.get_by_label("Above or below").select_option("at least")
    page.get_by_label("Value to select by").fill(least)
    user.click(page.get_by_role("button", name="Select", exact=True))
    page.get_by_role("heading", name=re.compile("selected cells")).wait_for()
    page.get_by_label("Name of the selection").fill(name)
    page.get_by_label("Your name").fill("Ada")
    user.typed += len(least) + len(name) + 3
    user.click(page.get_by_role("button", name="Save selection"))
    page.get_by_text(f"Saved “{name}”").wait_for()


def keep_cells(user: User) -> None:
    """Cells with much of it, kept."""
    select(user, "2.5", f"much, {user.site.kind}")


def one_against_another(user: User) -> None:
    """All cells with some of it, against those with much."""
    select(user, "0.1", f"some, {user.site.kind}")
    user.clicks += 1
    held = user.page.get_by_label("Compare with")
    held.select_option(label=held.locator("option", has_text=f"much, {user.site.kind}").inner_text())
    marks = user.page.get_by_role(
        "heading", name=re.compile(f"Which concepts mark them, against .*much, {user.site.kind}")
    )
    marks.wait_for()


def share_it(user: User) -> None:
    """The link brings somebody else to the same view."""
    other = user.visit(user.site, user.page.url.removeprefix(user.site.url))
    other.get_by_role("heading", name="CD79A, MS4A1").wait_for()
    other.close()


def review(user: User) -> None:
    """A blind review, begun, rated and ended; without a server the page says what it needs."""
    page = user.page
    user.click(page.get_by_role("link", name="Review"))
    if not user.site.live:
        page.get_by_text("A review needs the live explorer").wait_for()
        return
    user.type(page.get_by_label("Your name"), "Ada")
    for name in ("concepts", "neurons", "random directions"):
        page.get_by_role("spinbutton", name=name).fill("1")
        user.typed += 1
    user.click(page.get_by_role("button", name="Start"))
    user.click(page.get_by_role("button", name="Rate").first)
    for number in range(1, 4):
        page.get_by_role("heading", name=f"Item {number} of 3").wait_for()
        page.get_by_role("group", name="Rating").wait_for()
        page.keyboard.press("4")
        page.keyboard.press("Enter")
        user.clicks += 2
    page.get_by_text("You are done").wait_for()
    user.click(page.get_by_role("link", name="All sessions"))
    user.click(page.get_by_role("button", name="End …").first)
    user.click(page.get_by_role("button", name="Yes, end it"))
    user.click(page.get_by_role("link", name="Results").first)
    page.get_by_role("heading", name="How far raters agree").wait_for()


class Task(NamedTuple):
    """Something to do, and the clicks (and keys that are no text) that it may take."""

    does: Callable[[User], None]
    clicks: int


TASKS = {
    "the concept of a kind of cell": Task(find_it, 1),
    "its genes, and how sure they are": Task(how_sure, 0),
    "all its genes as a file": Task(all_genes, 1),
    "a neuron beside it": Task(neuron, 1),
    "its rivals": Task(rivals, 1),
    "it and another concept": Task(compare, 1),
    "its cells": Task(its_cells, 1),
    "two genes on the cells": Task(two_genes, 3),
    "cells selected and kept": Task(keep_cells, 2),
    "one selection against another": Task(one_against_another, 3),
    "the view, shared by link": Task(share_it, 0),
    "a blind review": Task(review, 13),
}


@pytest.mark.parametrize("kind", ["live", "static"])
def test_a_first_visit(kind: str, request: pytest.FixtureRequest, visit: Any, tmp_path: Path) -> None:
    site: Site = request.getfixturevalue(kind)
    user = User(visit(site, "#/"), site, tmp_path, visit)
    rows = []
    for name, task in TASKS.items():
        settle(user.page)
        user.clicks = user.typed = 0
        begin = time.monotonic()
        task.does(user)
        rows.append(
            {"task": name, "clicks": user.clicks, "typed": user.typed, "seconds": round(time.monotonic() - begin, 1)}
        )
        assert user.clicks <= task.clicks, name
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    (ARTIFACTS / f"tasks-{kind}.json").write_text(json.dumps(rows, indent=1))

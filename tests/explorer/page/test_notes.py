"""Notes as people write them: kept, listed, taken back; two people at once; nothing typed is lost."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cellglass.explorer.notes.store import Notes

PANEL = "section:has(> header > h2:text-is('Notes'))"


def write(page: Any, label: str, *, who: str = "", text: str = "") -> None:
    """Type a note and press Save."""
    page.get_by_label("Label: what is it?").fill(label)
    page.get_by_label("Text", exact=True).fill(text)
    if who:
        page.get_by_label("Your name").fill(who)
    page.get_by_role("button", name="Save", exact=True).click()


def history(site: Any, latent: int) -> list[dict[str, Any]]:
    """Return what the server holds about a concept, the oldest first."""
    with urllib.request.urlopen(f"{site.url}api/notes/history?latent={latent}", timeout=20) as answer:
        return list(json.load(answer)["revisions"])


@pytest.fixture
def person(browser: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a page of somebody's own browser; unlike `visit` it lets an answer be a conflict."""
    opened, wrong = [], list[str]()

    def open_page(address: str, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        opened.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert not wrong, wrong


def test_a_note_is_kept_shown_listed_and_taken_back(site: Any, visit: Any, keep: Any) -> None:
    page = visit(site, "#/c/3", width=1400)
    machine = page.locator("h1").inner_text()
    page.get_by_text("automatic name").wait_for()
    write(page, "plasma cells", text="High IGKC.\nSecretory.")
    page.get_by_text("Write your name first").wait_for()
    assert page.get_by_label("Label: what is it?").input_value() == "plasma cells"
    page.get_by_label("Confidence").select_option("4")
    page.get_by_label("Status").select_option("agreed")
    page.get_by_label("Tags").fill(" B lineage , secretory,, secretory ")
    write(page, "plasma cells", text="High IGKC.\nSecretory.", who="Ada")
    page.get_by_text("Saved." if site.live else "Saved in this browser.").wait_for()
    assert page.locator("h1").inner_text() == "plasma cells"
    page.locator(".badge.person", has_text="named by Ada").wait_for()
    assert machine in page.locator(".meta").inner_text()
    assert page.get_by_label("Tags").input_value() == "B lineage, secretory"
    page.get_by_label("Text", exact=True).fill("Second thoughts.")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("History (2)").click()
    assert "Secretory." in page.locator(".history li").nth(1).inner_text()
    page.locator(PANEL).evaluate("e => e.scrollIntoView()")
    keep(page, f"notes-{site.kind}")
    page.goto(f"{site.url}#/concepts?noted=yes")
    row = page.get_by_role("row").filter(has_text="plasma cells")
    assert "agreed, 4/5" in row.inner_text()
    row.get_by_role("link").click()
    page.get_by_role("button", name="Undo the last change").click()
    page.get_by_text("Taken back").wait_for()
    assert page.get_by_label("Text", exact=True).input_value() == "High IGKC.\nSecretory."
    page.get_by_role("button", name="Undo the last change").click()
    page.get_by_text("History (4)").wait_for()
    page.get_by_role("button", name="Undo the last change").wait_for(state="detached")  # nothing is left to undo
    assert page.locator("h1").inner_text() == machine
    assert page.get_by_label("Confidence").input_value() == ""
    page.reload()
    page.get_by_text("History (4)").wait_for()
    assert page.locator("h1").inner_text() == machine


def test_two_people_at_once_see_it_and_lose_nothing(live: Any, person: Any, keep: Any) -> None:
    ada, ben = person(f"{live.url}#/c/4"), person(f"{live.url}#/c/4", color_scheme="dark")
    ben.get_by_label("Label: what is it?").fill("B cells of Ben")
    write(ada, "B cells of Ada", who="Ada", text="IGHM")
    ada.get_by_text("Saved.").wait_for()
    ben.get_by_label("Text", exact=True).fill("CD79A and MS4A1")
    ben.get_by_label("Your name").fill("Ben")
    ben.get_by_role("button", name="Save", exact=True).click()
    told = ben.get_by_role("alert")
    told.get_by_text("saved another version").wait_for()
    for words in ("Ada", "B cells of Ada", "IGHM", "B cells of Ben", "CD79A and MS4A1"):
        assert words in told.inner_text()
    assert ben.get_by_label("Label: what is it?").input_value() == "B cells of Ben"
    assert [r["label"] for r in history(live, 4)] == ["B cells of Ada"]
    ben.locator(PANEL).evaluate("e => e.scrollIntoView()")
    keep(ben, "notes-conflict-dark")
    ben.reload()  # not even this loses what was typed, nor lets it cover what stands
    assert ben.get_by_label("Text", exact=True).input_value() == "CD79A and MS4A1"
    ben.get_by_role("button", name="Save", exact=True).click()
    ben.get_by_role("button", name="Save mine, after theirs").click()
    ben.get_by_text("Saved.").wait_for()
    first, second = history(live, 4)
    assert (first["label"], second["label"], second["base"]) == ("B cells of Ada", "B cells of Ben", first["id"])
    ada.get_by_role("button", name="Undo the last change").click()
    ada.get_by_text("Ben changed this note meanwhile. Nothing was taken back.").wait_for()
    assert ada.get_by_label("Label: what is it?").input_value() == "B cells of Ben"
    ada.get_by_label("Label: what is it?").fill("dropped")
    write(ben, "last word")
    ben.get_by_text("History (3)").wait_for()
    ada.get_by_role("button", name="Save", exact=True).click()
    ada.get_by_role("button", name="Take theirs, drop mine").click()
    assert ada.get_by_label("Label: what is it?").input_value() == "last word"
    assert [r["label"] for r in history(live, 4)][-1] == "last word"


def test_what_is_typed_outlives_leaving_the_card(site: Any, visit: Any) -> None:
    page = visit(site, "#/c/5")
    page.get_by_label("Text", exact=True).fill("not kept yet")
    page.get_by_role("link", name="Next concept").click()
    page.locator(".meta", has_text="concept 6").wait_for()
    assert page.get_by_label("Text", exact=True).input_value() == ""
    page.go_back()
    page.get_by_text("What you typed before is still here").wait_for()
    page.reload()
    page.get_by_text("What you typed before is still here").wait_for()
    assert page.get_by_label("Text", exact=True).input_value() == "not kept yet"
    page.get_by_role("button", name="Drop what I typed").click()
    assert page.get_by_label("Text", exact=True).input_value() == ""
    page.reload()
    page.get_by_label("Text", exact=True).wait_for()
    assert page.get_by_label("Text", exact=True).input_value() == ""


def test_a_machines_note_never_looks_like_a_persons(live: Any, visit: Any, keep: Any) -> None:
    with Notes(live.notes) as notes:
        told = {"latent": 7, "base": None, "text": "from its genes", "confidence": 3}
        notes.write({**told, "who": "namer 1.0", "label": "anergic Th0"}, by="machine")
    page = visit(live, "#/c/7")
    machine = page.locator(".machine-note").filter(has_text="anergic Th0")
    machine.wait_for()
    assert "written by a machine: namer 1.0" in machine.inner_text()
    assert page.get_by_label("Label: what is it?").input_value() == ""  # it is no start of a person's note
    assert "anergic Th0" not in page.locator("h1").inner_text()
    assert page.get_by_text("automatic name").count() == 1
    write(page, "naive T", who="Ada")
    page.get_by_text("History (2)").click()
    styles = "e => { const s = getComputedStyle(e); return s.borderLeftStyle + s.borderLeftColor }"
    mine, theirs = (page.locator(f".history li.{by}") for by in ("person", "machine"))
    assert mine.evaluate(styles) != theirs.evaluate(styles)
    assert "machine" in theirs.inner_text()
    assert "machine" not in mine.inner_text()
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 800})
    page.locator(PANEL).evaluate("e => e.scrollIntoView()")
    keep(page, "notes-machine-narrow-dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_server_that_is_gone_takes_nothing_with_it(live: Any, person: Any) -> None:
    page = person(f"{live.url}#/c/8")
    page.get_by_label("Text", exact=True).wait_for()
    page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    write(page, "monocytes", who="Ada", text="LYZ")
    page.get_by_text("Nothing was lost: what you typed is still here").wait_for()
    page.context.set_offline(False)
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Saved.").wait_for()
    assert [r["text"] for r in history(live, 8)] == ["LYZ"]
    page.get_by_label("Tags").fill("x" * 51)
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("at most 50 are allowed").wait_for()
    assert len(history(live, 8)) == 1

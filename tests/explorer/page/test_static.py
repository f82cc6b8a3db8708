"""The export as its readers use it: notes kept in their browser, sent back as a file, merged, and shown to all."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cellglass.atlas import open_atlas
from cellglass.explorer.notes.place import open_notes
from cellglass.explorer.notes.rules import revision_id
from cellglass.explorer.notes.store import Notes
from explorer.page.conftest import run_here

AWKWARD = 'e\u0301 "q" \\ </script>\u2028 & 🧬 \t=1+1'
NO_STORAGE = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('off') } })"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder as `python -m http.server` does."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def write(page: Any, label: str, *, text: str = "", who: str = "Ada", expect: str = "Saved in this browser.") -> None:
    """Type a note and keep it."""
    page.get_by_label("Label: what is it?").fill(label)
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_label("Your name").fill(who)
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text(expect).wait_for()


def sent_back(page: Any, folder: Path) -> Path:
    """Save the notes as a file, as their writer does."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save my notes as a file").click()
    waiting.value.save_as(folder / waiting.value.suggested_filename)
    return folder / str(waiting.value.suggested_filename)


def test_notes_stay_in_the_browser_and_the_file_sent_back_is_merged_and_shown(
    static: Any, live: Any, visit: Any, keep: Any, tmp_path: Path
) -> None:
    page = visit(static, "#/c/10", width=1400)
    page.get_by_label("Tags").fill(f"{AWKWARD}, b, b")
    page.get_by_label("Confidence").select_option("5")
    write(page, f"label {AWKWARD}", text=f"two\nlines {AWKWARD}", who="Zoë B.")
    write(page, "second")
    page.get_by_role("button", name="Undo the last change").click()
    page.get_by_text("Taken back").wait_for()
    page.reload()
    page.get_by_text("History (3)").wait_for()
    assert page.get_by_label("Label: what is it?").input_value().startswith("label é")
    keep(page, "static-notes", full=True)
    file = sent_back(page, tmp_path)
    revisions = json.loads(file.read_text(encoding="utf-8"))["revisions"]
    assert [revision_id(r) for r in revisions] == [r["id"] for r in revisions]
    assert (revisions[2]["undoes"], revisions[2]["restores"]) == (revisions[1]["id"], revisions[0]["id"])
    told = json.loads(run_here("notes", "merge", live.atlas, file, "--notes", live.notes, "--json"))
    assert told["revisions"] == 3
    assert json.loads(run_here("notes", "merge", live.atlas, file, "--notes", live.notes, "--json"))["revisions"] == 0
    with open_notes(open_atlas(live.atlas), live.notes) as notes:
        assert [r["id"] for r in notes.history(10)] == [r["id"] for r in revisions]
        assert notes.state(10)["person"]["others"] == []
    shown = visit(live, "#/c/10")
    shown.get_by_text("History (3)").wait_for()
    for field in ("Label: what is it?", "Text", "Tags"):
        asked = [p.get_by_label(field, exact=field == "Text").input_value() for p in (page, shown)]
        assert asked[0] == asked[1] != ""


def test_an_export_with_notes_shows_them_and_two_replies_meet(
    full_folder: Path, visit: Any, tmp_path: Path, live: Any
) -> None:
    kept, site = tmp_path / "n.sqlite", tmp_path / "a site <b>"
    with open_notes(open_atlas(full_folder), kept) as notes:
        base = notes.write({"latent": 2, "who": "Ada", "base": None, "label": "first"})["person"]["id"]
        notes.write({"latent": 2, "who": "Ada", "base": base, "label": "of the export", "tags": ["T"]})
        notes.write({"latent": 2, "who": "namer", "base": None, "label": "machine's"}, by="machine")
    run_here("export", full_folder, "--out", site, "--notes", kept, "--quiet")
    with served(site) as address:
        page = visit(live._replace(url=address, live=False), "#/c/2")
        page.get_by_text("History (3)").wait_for()
        assert page.locator("h1").inner_text() == "of the export"
        page.locator(".machine-note").get_by_text("machine's").wait_for()
        write(page, "a reader's", who="Ben")
        file = sent_back(page, tmp_path)
    assert len(json.loads(file.read_text())["revisions"]) == 1  # what was in the export goes back to nobody
    with Notes(kept) as notes:
        present = notes.state(2)["person"]["id"]
        notes.write({"latent": 2, "who": "Ada", "base": present, "label": "meanwhile at home"})
    run_here("notes", "merge", full_folder, file, "--notes", kept)
    shutil.rmtree(site)
    run_here("export", full_folder, "--out", site, "--notes", kept, "--quiet")
    with served(site) as address:
        page = visit(live._replace(url=address, live=False), "#/c/2")
        page.get_by_text("written apart from each other").wait_for()
        both = page.locator(".panel", has=page.get_by_role("heading", name="Notes"))
        assert page.locator("h1").inner_text() == "meanwhile at home"
        assert "a reader's" in both.inner_text()
        write(page, "agreed on", who="Ada")
        page.get_by_text("written apart from each other").wait_for(state="detached")


def test_two_tabs_of_one_browser_lose_nothing(static: Any, visit: Any) -> None:
    one = visit(static, "#/c/11")
    other = one.context.new_page()
    other.goto(f"{static.url}#/c/11")
    other.get_by_label("Text", exact=True).fill("from the other tab")
    other.get_by_label("Your name").fill("Ada")
    write(one, "from the first tab")
    other.get_by_role("button", name="Save", exact=True).click()
    other.get_by_text("saved another version").wait_for()
    other.get_by_role("button", name="Save mine, after theirs").click()
    other.get_by_text("History (2)").wait_for()
    other.goto(f"{static.url}#/c/12")
    write(other, "of twelve")
    one.get_by_text("3 changes").wait_for()  # the first tab hears of it
    one.reload()
    one.get_by_text("History (2)").wait_for()
    assert one.get_by_label("Text", exact=True).input_value() == "from the other tab"
    assert one.get_by_role("button", name="Save my notes as a file (3 changes)").is_enabled()


def test_a_browser_that_keeps_nothing_says_so(static: Any, visit: Any, keep: Any, tmp_path: Path) -> None:
    page = visit(static, "#/", width=360, height=800, color_scheme="dark")
    page.add_init_script(NO_STORAGE)
    page.reload()
    page.goto(f"{static.url}#/c/13")
    page.get_by_text("This browser stores nothing for this page").wait_for()
    write(page, "kept nowhere", expect="Held until you close this page.")
    page.get_by_text("This browser stores nothing for this page").scroll_into_view_if_needed()
    keep(page, "static-no-storage-narrow-dark")
    assert [r["label"] for r in json.loads(sent_back(page, tmp_path).read_text())["revisions"]] == ["kept nowhere"]


def test_a_review_is_said_to_need_the_live_explorer(static: Any, visit: Any) -> None:
    page = visit(static, "#/review")
    page.get_by_text("A review needs the live explorer").wait_for()
    assert page.get_by_role("button", name="Start").count() == 0

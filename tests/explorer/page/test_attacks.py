"""Names that try to be markup, notes that try to be script, cells of a table that try to be formulas: all stay text."""

from __future__ import annotations

import csv
import io
import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cellglass.atlas import open_atlas, write
from cellglass.circuits.json import write_graph
from circuits.graphs import by_hand
from synthetic import make_atlas

from .conftest import Site, run_here, start_live, stop
from .test_static import served

EVIL = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>"
LABEL = "phase <img src=x onerror=window.pwned=1>"
FORMULA = "=HYPERLINK(1;2)"
CIRCUIT = "circuit <img src=x onerror=window.pwned=1>"
FOLDER = "a <img src=x onerror=window.pwned=1>'\"& atlas"
SAFE = """() => window.pwned === undefined && document.scripts.length === (document.getElementById('files') ? 2 : 1)
    && !document.querySelector('img, iframe, object, embed, [onerror]')"""


def make_hostile(folder: Path) -> Path:
    """Write an atlas in which the names of cells, of a label and its values, genes, gene sets, concepts are markup."""
    folder = make_atlas(folder, n_cells=90, n_concepts=10, hostile=True)
    table = open_atlas(folder).concepts
    obs = table.obs.rename(columns={"phase": LABEL}).set_axis([f"{EVIL}{i}" for i in range(table.n_obs)])
    types = obs["cell type"].cat.categories  # whichever cells a review shows
    obs["cell type"] = obs["cell type"].cat.rename_categories([f"{name} {EVIL}" for name in types])
    uns = {**table.uns, "cells": f"cells {EVIL}", "site": f"z {EVIL}"}
    layout = table.obsm["X_umap"]
    shutil.rmtree(folder / "concepts.zarr")
    write.write_concepts(folder, table.X, obs, layout, table.var, uns)
    graph = by_hand()
    about = dict.fromkeys(("title", "cell", "target", "against", "model"), EVIL)
    nodes = graph.nodes.assign(label=[f"{EVIL}{i}" for i in range(len(graph.nodes))])
    controls = [{"of": EVIL, "replacement": 0.5, "completeness": 0.5, "n": 3}]
    groups = [{"name": EVIL, "members": [[0, 7], [0, 8]]}]
    graph = replace(
        graph,
        nodes=nodes,
        tokens=[EVIL, " :"],
        genes=[EVIL, ""],
        about={**about, "controls": controls, "groups": groups},
    )
    write_graph(graph, folder / "circuits" / f"{CIRCUIT}.json")
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """The hostile atlas, live, exported and as a report, in folders whose names are markup too."""
    place = tmp_path_factory.mktemp("hostile")
    folder = make_hostile(place / FOLDER)
    process, url = start_live(folder, place / f"notes {FOLDER}.sqlite")
    site = place / "sites" / FOLDER
    run_here("export", folder, "--out", site, "--no-notes", "--quiet")
    report = place / f"{FOLDER}.html"
    run_here("report", folder, "--out", report, "--no-notes")
    with served(site.parent) as parent:
        inside = parent + urllib.parse.quote(FOLDER) + "/"
        yield {
            "live": Site(url, True, folder, place / f"notes {FOLDER}.sqlite"),
            "static": Site(inside, False, folder, None),
            "report": Site(report.as_uri(), False, folder, None),
        }
    stop(process)


@pytest.mark.parametrize("kind", ["live", "static", "report"])
def test_no_view_takes_a_name_for_markup(hostile: dict[str, Site], kind: str, visit: Any, keep: Any) -> None:
    site = hostile[kind]
    page = visit(site, "#/", width=1280, height=900)
    for route, proof in (
        ("#/", "window.pwned=1"),
        ("#/concepts", "<img src=x"),
        ("#/c/0", "<img src=x"),
        ("#/compare?a=0&b=1", "onerror=window.pwned=1>"),
        (f"#/search?q={urllib.parse.quote(EVIL[:40])}", "<script>"),
        ("#/cells?colour=label:cell%20type", "onerror=window.pwned=1>"),
        (f"#/cells?colour=label:{urllib.parse.quote(LABEL)}", "onerror=window.pwned=1>"),
        (f"#/c/{urllib.parse.quote(EVIL)}", "There is no concept"),
        ("#/circuits", "onerror=window.pwned=1>"),
        (f"#/circuits/{urllib.parse.quote(CIRCUIT)}", "<script>"),
        (f"#/circuits/{urllib.parse.quote(CIRCUIT)}?each=1&on=a0&path=0", "onerror=window.pwned=1>"),
        (f"#/circuits/{urllib.parse.quote(CIRCUIT)}?on=g0", "group, 2 together"),
        (f"#/circuits/{urllib.parse.quote(EVIL)}", "has no circuit"),
        (f"#/{urllib.parse.quote(EVIL)}", ""),
    ):
        page.goto(site.url + route)
        page.get_by_text(proof).first.wait_for(state="attached")
        assert page.evaluate(SAFE), route
    page.goto(f"{site.url}#/cells?colour=label:cell%20type")
    box = page.get_by_role("application").bounding_box()
    for step in range(1, 400):  # some cell is under the mouse sooner or later
        page.mouse.move(
            box["x"] + box["width"] * (step * 7 % 100) / 100, box["y"] + box["height"] * (step * 3 % 97) / 97
        )
        if page.locator(".tip").count():
            break
    assert "<script>window.pwned=1</script>" in page.locator(".tip").inner_text()
    assert page.evaluate(SAFE)
    keep(page, f"hostile-{kind}")


@pytest.mark.parametrize("kind", ["live", "static", "report"])
def test_notes_and_formulas_stay_text(hostile: dict[str, Site], kind: str, visit: Any, tmp_path: Path) -> None:
    site = hostile[kind]
    page = visit(site, "#/c/1")
    for name, value in (("Label: what is it?", FORMULA), ("Text", EVIL), ("Your name", EVIL)):
        page.get_by_label(name, exact=True).fill(value[:80] if name == "Your name" else value)
    page.get_by_label("Tags").fill("<b>bold</b>, <img src=x onerror=window.pwned=1>")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("History (1)").click()
    assert EVIL in page.locator(".history").inner_text()
    assert "<b>bold</b>" in page.locator(".history").inner_text()
    assert page.evaluate(SAFE)
    page.goto(f"{site.url}#/concepts?noted=yes")
    page.get_by_role("link", name=FORMULA).wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the list as CSV").click()
    waiting.value.save_as(tmp_path / "list.csv")
    (row,) = csv.DictReader(io.StringIO((tmp_path / "list.csv").read_text(encoding="utf-8")))
    assert row["person_label"] == f"'{FORMULA}"
    assert EVIL in row["name"]
    assert page.evaluate(SAFE)
    if site.live:
        run_here("notes", "export", site.atlas, "--notes", site.notes, "--out", tmp_path / "n.csv")
        (told,) = csv.DictReader(io.StringIO((tmp_path / "n.csv").read_text(encoding="utf-8")))
        assert (told["label"], told["text"]) == (f"'{FORMULA}", EVIL)


def test_raters_and_their_words_stay_text(hostile: dict[str, Site], visit: Any) -> None:
    page = visit(hostile["live"], "#/review")
    page.get_by_role("spinbutton", name="concepts").fill("1")
    page.get_by_label("show raters which groups").check()
    page.get_by_role("button", name="Start").click()
    page.get_by_label("Your name").fill("<img src=x onerror=window.pwned=1>")
    page.get_by_role("button", name="Rate").click()
    page.get_by_role("group", name="Rating").wait_for()
    assert EVIL in page.locator("main").inner_text()
    assert page.evaluate(SAFE)
    page.get_by_label("Label, if you have one").fill(EVIL)
    page.get_by_label("Comment").fill(FORMULA)
    page.keyboard.press("Escape")
    page.keyboard.press("5")
    page.keyboard.press("Enter")
    page.get_by_text("That was the last one").wait_for()
    page.get_by_role("link", name="Leave").click()
    page.get_by_role("button", name="End …").click()
    page.get_by_role("button", name="Yes, end it").click()
    page.get_by_role("link", name="Results").click()
    page.get_by_role("heading", name="The items").wait_for()
    assert "<img src=x onerror=window.pwned=1> with themselves" in page.locator("main").inner_text()
    assert EVIL in page.locator("main").inner_text()
    assert page.evaluate(SAFE)


@pytest.mark.parametrize("kind", ["live", "static", "report"])
def test_an_injected_script_does_not_run(hostile: dict[str, Site], kind: str, browser: Any) -> None:
    site, told = hostile[kind], list[str]()
    context = browser.new_context()
    page = context.new_page()
    page.on("console", lambda message: told.append(message.text))
    page.goto(site.url)
    page.locator("h1").wait_for()
    page.evaluate(
        """async () => {
            const script = document.createElement('script');
            script.textContent = 'window.pwned = 1';
            document.body.append(script);
            const place = document.createElement('div');
            document.body.append(place);
            place.innerHTML = '<img src=x onerror="window.pwned = 2"><a href="javascript:window.pwned=3">x</a>';
            place.querySelector('a').click();
            await new Promise((done) => setTimeout(done, 300));
        }"""
    )
    assert page.evaluate("window.pwned") is None
    assert sum("Content Security Policy" in text for text in told) >= 3
    context.close()
    if site.live:
        with urllib.request.urlopen(site.url, timeout=20) as answer:
            policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
    if site.kind == "report":
        return
    with urllib.request.urlopen(f"{site.url}data/manifest.json", timeout=20) as answer:
        assert answer.headers["content-type"].startswith("application/json")
        assert LABEL in [label["name"] for label in json.load(answer)["labels"]]

"""The report in a browser: it opens from disk, asks for nothing, and says of every concept what the live page says."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellglass.atlas import open_atlas
from cellglass.explorer import write_report
from explorer.conftest import FINDINGS
from explorer.page.conftest import Site, frames, settle

VIEWS = (
    "#/", "#/concepts", "#/c/3", "#/c/23", "#/c/99", "#/cells", "#/cells?colour=gene:LYZ&colour2=label:phase",
    "#/cells?colour=n:3", "#/search?q=monocytes", "#/search?gene=CD79A", "#/search?term=0", "#/help", "#/review",
    "#/no",
)  # fmt: skip
EFFECTS = """async () => {
    const frame = () => new Promise(requestAnimationFrame), found = {};
    const rows = (section) => [...section.querySelectorAll('.genes-rows .track')].map((track) =>
        [track.previousElementSibling.innerText, track.getAttribute('aria-label'), track.nextElementSibling.innerText]);
    for (const section of document.querySelectorAll('section.panel:has(.genes-rows)')) {
        const tabs = section.querySelectorAll('[role=tab]');
        for (const tab of tabs.length ? tabs : [section.querySelector('h2')]) {
            tab.click();
            await frame();
            [...section.querySelectorAll('button')].find((one) => one.innerText.startsWith('All'))?.click();
            await frame();
            found[tab.innerText] = rows(section);
        }
    }
    return found;
}"""
PANELS = """() => [...document.querySelectorAll('main section.panel')].map((one) => one.innerText)
    .filter((text) => !text.startsWith('Notes'))"""
VARIABLE = "(name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()"


def test_it_opens_offline_and_asks_for_nothing(report: Site, browser: Any) -> None:
    context = browser.new_context()
    context.set_offline(True)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda told: said.append(told.text) if "GPU stall" not in told.text else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url.split("#")[0]))
    for view in VIEWS:
        page.goto(report.url + view)
        settle(page)
    page.reload()
    settle(page)
    assert said == []
    assert set(asked) == {report.url}
    assert len(asked) == 2, "once, and once for the reload"
    page.goto(report.url)
    assert "This page is one file. It loads nothing and sends nothing." in page.locator("footer").inner_text()
    assert "leaves out" not in page.locator("footer").inner_text()
    context.close()


@pytest.mark.slow
def test_every_card_says_what_the_live_page_says(live: Site, report: Site, visit: Any) -> None:
    pages = [visit(live), visit(report)]
    effects = 0
    for latent in open_atlas(live.atlas).concepts.var["latent"]:
        told = []
        for page, site in zip(pages, (live, report), strict=True):
            page.goto(f"{site.url}#/c/{latent}")
            page.locator(".meta b", has_text=re.compile(f"^{latent}$")).first.wait_for()
            page.get_by_text("Prototypes and partners").or_(page.get_by_text("Nothing to show")).first.wait_for()
            settle(page)
            heads = page.locator("h1, .badge, .meta").all_inner_texts()
            told.append((heads, page.evaluate(PANELS), page.evaluate(EFFECTS)))
        assert told[0] == told[1], latent
        effects += sum(map(len, told[1][2].values()))
    assert effects == FINDINGS * 4 * (50 + 3), "and three whose absence drives it"


def test_quality_and_list_say_what_the_live_page_says(live: Site, report: Site, visit: Any) -> None:
    told = []
    for site in (live, report):
        page = visit(site)
        page.locator(".list .line").first.wait_for()
        settle(page)
        tracks = page.locator(".tiles ~ .plots .track").evaluate_all("(all) => all.map((one) => one.ariaLabel)")
        parts = [page.locator(one).all_inner_texts() for one in ("h1", ".facts", ".glimpses", ".tiles", ".plots")]
        told.append((*parts, tracks, page.locator(".list").inner_text()))
    assert told[0] == told[1]
    assert len(told[0][5]) > 10


def test_types_have_the_colours_of_the_live_page(live: Site, report: Site, visit: Any) -> None:
    told = []
    for site in (live, report):
        page = visit(site, "#/cells?colour=label:cell%20type")
        page.locator(".keys li").first.wait_for()
        dots = page.locator(".keys .dot").evaluate_all(
            "(all) => all.map((one) => getComputedStyle(one).backgroundColor)"
        )
        told.append(list(zip(page.locator(".keys .name").all_inner_texts(), dots, strict=True)))
    assert told[0] == told[1]
    assert len({colour for _, colour in told[0]}) == 8


def test_maps_are_drawn(report: Site, visit: Any) -> None:
    from PIL import Image

    page = visit(report, "#/c/9")
    canvas = page.locator("section.panel canvas").first
    for _ in range(40):
        pixels = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(int)
        vivid = (pixels.max(axis=2) - pixels.min(axis=2)) > 40
        if vivid.sum() > 200:
            break
        page.wait_for_timeout(100)
    assert vivid.sum() > 200
    assert (np.abs(pixels - [0xD9, 0xD8, 0xD6]).max(axis=2) < 6).sum() > 500, "cells without the concept are grey"


def test_a_link_from_outside_leads_to_its_card(report: Site, visit: Any) -> None:
    page = visit(report, "#/c/12?method=Swap")
    page.get_by_role("tab", name="Swap", selected=True).wait_for()
    assert page.title().startswith(page.locator("h1").inner_text())
    page.get_by_role("link", name="See it on the cells").click()
    page.locator(".scale").wait_for()


@pytest.fixture(scope="module")
def sampled(full_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A report of fewer cells than there are."""
    path = write_report(open_atlas(full_folder), tmp_path_factory.mktemp("sampled"), max_cells=150)
    return Site(path.as_uri(), False, full_folder, None)


def test_of_a_sample_it_says_so_and_cards_stay_as_they_are(sampled: Site, report: Site, visit: Any, keep: Any) -> None:
    page = visit(sampled)
    page.get_by_text("550 of 700 cells: maps draw a random sample of 150").wait_for()
    keep(page, "report-sampled", full=True)
    assert "700 from synthetic cells" in page.locator(".facts").inner_text()
    told = []
    for site in (report, sampled):
        page = visit(site, "#/c/3")
        page.get_by_text("Prototypes and partners").wait_for()
        settle(page)
        drawn = ("Cells that it marks", "Beside a neuron")
        shown = [text for text in page.evaluate(PANELS) if not text.startswith(drawn)]
        told.append((page.locator(".meta").inner_text(), shown))
    assert told[0] == told[1]
    assert re.search(r"Of the \d+ drawn cells that activate", page.locator(".neuron").inner_text())


def test_of_a_sample_a_cell_keeps_its_name(sampled: Site, visit: Any) -> None:
    page = visit(sampled, "#/cells?colour=label:cell%20type")
    page.get_by_text("This report draws 150 of 700 cells").wait_for()
    obs = open_atlas(sampled.atlas).concepts.obs
    place = page.get_by_role("application")
    place.focus()
    names = set()
    for key in ("Enter", "ArrowLeft", "Enter", "ArrowUp", "Enter"):
        place.press(key)
        if key != "Enter":
            continue
        page.locator(".tip").wait_for()
        kind, phase, *_ = page.locator(".tip").inner_text().split("\n")
        name = page.locator(".tip .cell-name").inner_text()
        assert (kind, phase) == (f"cell type: {obs.loc[name, 'cell type']}", f"phase: {obs.loc[name, 'phase']}")
        names.add(name)
    assert names
    page.goto(f"{sampled.url}#/cells?colour=gene:LYZ")
    page.get_by_text(re.compile(r"log\(1 \+ counts per 10,000\); \d+ cells are not zero")).wait_for()


def test_what_is_left_out_is_not_offered_and_said_where_it_is_asked_for(
    full_folder: Path, visit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cellglass.explorer.data import excerpt

    monkeypatch.setattr(excerpt, "MAX_COUNTS", 0)
    monkeypatch.setattr(excerpt, "MAX_ANSWERS", 1)
    path = write_report(open_atlas(full_folder), tmp_path)
    site = Site(path.as_uri(), False, full_folder, None)
    page = visit(site, "#/")
    page.get_by_text("the counts of 124 of 124 genes").wait_for()
    page.goto(f"{site.url}#/cells?colour=gene:LYZ")
    page.get_by_text("this report leaves this out (data/expression/1.bin)").wait_for()
    page.goto(f"{site.url}#/search?gene=LYZ")
    page.get_by_role("heading", name="Concepts that it drives").wait_for()
    assert page.get_by_role("link", name="See it on the cells").count() == 0
    page.goto(f"{site.url}#/c/3")
    page.get_by_text("Its map is left out of this report.").wait_for()
    assert page.get_by_role("link", name="on the cells", exact=True).count() == 0
    assert page.get_by_role("link", name=re.compile("See the first")).count() == 0


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out(sampled: Site, visit: Any, keep: Any, width: int) -> None:
    page = visit(sampled, width=width)
    for view in ("#/", "#/cells", "#/c/3"):
        page.goto(sampled.url + view)
        settle(page)
        frames(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        keep(page, f"report-{width}-{view.strip('#/').replace('/', '-') or 'home'}", full=True)


def luminance(page: Any, name: str) -> float:
    text = page.evaluate(VARIABLE, f"--{name}")
    text = "#" + "".join(2 * sign for sign in text[1:]) if len(text) == 4 else text
    parts = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page: Any, foreground: str, behind: str) -> float:
    high, low = sorted((luminance(page, foreground), luminance(page, behind)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def colours() -> Iterator[tuple[tuple[str, str], float]]:
    """Yield what stands on what, and the contrast that WCAG AA asks of it."""
    for text in ("ink", "soft", "accent"):
        yield from (((text, on), 4.5) for on in ("paper", "card", "track"))
    for pair in (("ink", "tint"), ("warn", "warn-tint"), ("warn", "card"), ("card", "accent")):
        yield pair, 4.5
    for basis in ("concepts", "neurons", "clusters", "pca", "ica", "random"):
        yield (f"b-{basis}", "paper"), 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_have_the_contrast_of_wcag_aa(report: Site, visit: Any, scheme: str) -> None:
    page = visit(report, color_scheme=scheme)
    page.locator("h1").wait_for()
    assert not {pair: contrast(page, *pair) for pair, least in colours() if contrast(page, *pair) < least}


def test_paper_is_light(report: Site, visit: Any) -> None:
    page = visit(report, "#/c/3", color_scheme="dark")
    settle(page)
    dark = page.evaluate(VARIABLE, "--ink")
    page.emulate_media(media="print")
    assert page.evaluate(VARIABLE, "--ink") == "#1b1f24" != dark

"""The feel of the hand: size of targets, the wheel, one way to search, order of names, what else colours the cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cellglass.activations import open_store
from cellglass.atlas import open_atlas
from explorer.page.conftest import frames, settle
from explorer.page.test_cells import Plot
from explorer.page.test_widths import VIEWS

SMALL = """() => [...document.querySelectorAll("button, select, input, summary, a.quiet, .bar a, .places a")]
    .filter((one) => one.checkVisibility()).map((one) => {
        const target = one.matches("[type=checkbox], [type=radio]") ? (one.closest("label") ?? one) : one;
        const box = target.getBoundingClientRect();
        return [Math.round(box.width), Math.round(box.height), one.outerHTML.slice(0, 90)];
    }).filter(([wide, high]) => wide && (wide < 24 || high < 24))"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_no_target_is_smaller_than_24_pixels(live: Any, visit: Any, width: int) -> None:
    page = visit(live, width=width)
    for name, view in {**VIEWS, "genes": "#/gene/CD79A,LYZ"}.items():
        page.goto(live.url + view)
        settle(page)
        assert page.evaluate(SMALL) == [], name


def test_the_wheel_scrolls_the_page_until_the_map_is_asked_for(live: Any, visit: Any) -> None:
    page = visit(live, "#/cells?pick=phase~1", height=700)
    plot = Plot(page, live)
    page.locator(".chosen").wait_for()
    frames(page)
    middle = plot.x.mean(), plot.y.mean()
    page.mouse.move(*middle)
    page.mouse.wheel(0, 200)
    page.get_by_text("Click the map, or hold Ctrl").wait_for()
    page.wait_for_function("() => scrollY > 100")
    assert "at=" not in page.url
    page.evaluate("() => scrollTo(0, 0)")
    page.mouse.click(plot.element.bounding_box()["x"] + 4, plot.element.bounding_box()["y"] + 4)
    page.mouse.move(*middle)
    page.mouse.wheel(0, -200)
    page.wait_for_url("**at=**")
    assert page.evaluate("scrollY") == 0


def test_clusters_components_and_neurons_colour_the_cells_and_numbers_stand_in_order(
    site: Any, visit: Any, keep: Any
) -> None:
    atlas = open_atlas(site.atlas)
    x = open_store(site.atlas / "work" / "activations").read("cell").float()
    page = visit(site, "#/cells")
    colour = page.get_by_label("Colour by")
    colour.select_option("Cluster or component")
    page.get_by_label("Cluster or component", exact=True).last.select_option("k-means clusters")
    page.locator(".keys li").nth(10).wait_for()
    assert page.locator(".keys .name").all_inner_texts() == [str(i) for i in range(1, 12)]
    sizes = np.bincount(atlas.dictionary("clusters").encode(x).indices[:, 0], minlength=11)
    assert page.locator(".keys .num").all_inner_texts() == list(map(str, sizes))
    keep(page, f"cells-clusters-{site.kind}")
    page.get_by_label("Cluster or component", exact=True).last.select_option("PC 2")
    page.get_by_role("heading", name="PC 2", exact=True).wait_for()
    colour.select_option("Neuron")
    shown = page.get_by_label("Neuron: number")
    shown.press_sequentially("neuron")
    option = page.locator(".pane [role=option]").first
    option.wait_for()
    name = option.inner_text().removeprefix("neuron ").strip()
    shown.press("Enter")
    page.get_by_role("heading", name=name, exact=True).wait_for()
    if not site.live:
        colour.select_option("Neuron")
        page.get_by_text("those most like a concept").wait_for()


def test_every_search_is_emptied_alike_and_says_alike_that_it_found_nothing(live: Any, visit: Any) -> None:
    page = visit(live, "#/concepts")
    for route, name in (
        ("#/concepts", "Filter the list by words"),
        ("#/search", "Search concepts, genes, gene sets and labels"),
        ("#/cells?colour=gene:LYZ", "Gene: symbol or id"),
        ("#/gene/LYZ", "Genes to score together with it"),
    ):
        page.goto(live.url + route)
        box = page.get_by_label(name, exact=True)
        box.press_sequentially("qwertz")
        page.locator("main").get_by_text("Nothing has “qwertz” in its name.").first.wait_for()
        box.press("Escape")
        if box.input_value():
            box.press("Escape")  # the first closed the list
        assert box.input_value() == ""
        box.press_sequentially("q")
        box.locator("xpath=..").get_by_label("Empty the field").click()
        assert box.input_value() == ""
        assert page.evaluate("document.activeElement.tagName") == "INPUT"


def test_names_stand_beside_their_cells(live: Any, visit: Any) -> None:
    """With names on, at most a tenth of the coloured cells' pixels are covered."""
    page = visit(live, "#/cells?names=0", width=1600, height=1000)
    plot = Plot(page, live)
    before = plot.pixels()
    page.get_by_label("Show labels", exact=True).check()
    after = plot.pixels()
    colourful = np.ptp(before, axis=2) > 40
    changed = (np.abs(after - before).max(axis=2) > 30) & colourful
    assert (np.abs(after - before).max(axis=2) > 30).sum() > 1000, "the names are there"
    assert changed.sum() < 0.1 * colourful.sum()

"""For everybody: no serious violation by axe-core's rules; the way from home to the cells by keys alone; help; back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from explorer.conftest import CIRCUIT
from explorer.page.conftest import frames, settle

AXE = Path(__file__).parents[3] / "web" / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = (
    "#/",
    "#/concepts?f1=0.1",
    "#/concepts?residual=1",
    "#/c/3",
    "#/c/18",
    "#/cells",
    "#/cells?colour=c:3&colour2=label:phase&pick=phase~1",
    "#/compare?a=1&b=9",
    "#/search?q=cell",
    "#/search?gene=CD79A",
    "#/search?term=0",
    "#/help",
    "#/review",
    "#/circuits",
    f"#/circuits/{CIRCUIT}?heads=1&open=h0.0&on=t2&pin=t5",
    f"#/circuits/{CIRCUIT}?each=1&path=2",
    "#/no-such-view",
)
CHECK = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`)"""


@pytest.mark.parametrize("kind", ["live", pytest.param("report", marks=pytest.mark.slow)])
def test_no_view_has_a_serious_violation(kind: str, request: pytest.FixtureRequest, visit: Any) -> None:
    if not AXE.exists():
        pytest.skip(f"axe-core is not installed ({AXE}): run npm ci in web/")
    site = request.getfixturevalue(kind)
    page = visit(site, bypass_csp=True)
    page.locator("h1").wait_for()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = {}
    for view in VIEWS:
        page.goto(site.url + view)  # the same document: only what follows # changes
        settle(page)
        assert page.evaluate("typeof axe") == "object"
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            frames(page)
            found[view, scheme] = page.evaluate(CHECK)
    assert not {view: said for view, said in found.items() if said}
    page.evaluate("document.body.append(Object.assign(document.createElement('img'), {src: 'data:,'}))")
    assert any("image-alt" in said for said in page.evaluate(CHECK)), "the rules see what is wrong"


def focused(page: Any) -> str:
    script = "() => { const e = document.activeElement; return e.getAttribute('aria-label') ?? e.innerText ?? '' }"
    return str(page.evaluate(script)).strip()


def tab_to(page: Any, says: str, most: int = 60) -> None:
    for _ in range(most):
        page.keyboard.press("Tab")
        if says in focused(page):
            return
    raise AssertionError(f"Tab does not reach {says}; it stands on {focused(page)}")


def test_a_reader_without_a_mouse_gets_from_home_to_a_card_to_the_cells(live: Any, visit: Any) -> None:
    page = visit(live)
    page.locator(".list .line").first.wait_for()
    page.keyboard.press("Tab")
    assert focused(page) == "To the content"
    tab_to(page, "Filter the list by words")
    page.keyboard.type("monocytes")
    page.locator(".row .note", has_text="of 18").wait_for()
    tab_to(page, "Concepts")
    page.keyboard.press("ArrowDown")
    first = focused(page)
    assert "monocytes" in first
    page.keyboard.press("ArrowDown")
    second = focused(page)
    assert second != first
    page.keyboard.press("End")
    page.locator(".list .line:last-child a:focus").wait_for()
    assert focused(page) == page.locator(".list .line a").last.inner_text()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    assert focused(page) == second
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", "who has no mouse sees where they are"
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Genes that drive it").wait_for()
    assert page.locator("h1").inner_text() == second
    tab_to(page, "Path")
    page.keyboard.press("ArrowRight")
    assert page.locator("[role=tab]:focus").get_attribute("aria-selected") == "true"
    page.locator("main").focus()
    tab_to(page, "See it on the cells")
    page.keyboard.press("Enter")
    page.get_by_role("application").wait_for()
    tab_to(page, "cells coloured by")
    for key in ("+", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    page.locator(".tip").wait_for()
    page.keyboard.press("s")
    page.locator(".chosen h2").wait_for()
    page.keyboard.press("Escape")
    page.locator(".chosen").wait_for(state="detached")


def test_back_brings_the_list_to_where_it_was_left(live: Any, visit: Any) -> None:
    page = visit(live, "#/concepts?sort=latent", height=420)
    page.locator(".list .line").first.wait_for()
    page.locator(".list").focus()
    page.keyboard.press("End")
    page.locator(".list .line a:focus").wait_for()
    name = focused(page)
    top = page.locator(".list").evaluate("(box) => box.scrollTop")
    assert top > 0
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Genes that drive it").wait_for()
    assert page.evaluate("scrollY") == 0
    page.go_back()
    page.locator(".list .line a", has_text=name).wait_for()
    assert page.locator(".list").evaluate("(box) => box.scrollTop") == top
    assert page.title().startswith("Concepts")


def test_help_is_a_key_away(site: Any, visit: Any) -> None:
    page = visit(site, "#/c/3")
    page.locator("h1").wait_for()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Prototype and partner").wait_for()
    assert "#/c/3" in page.url
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.keyboard.press("?")
    dialog.get_by_role("link", name="All of the help").click()
    page.get_by_role("heading", name="Help", exact=True).wait_for()
    assert not dialog.is_visible()


def test_dark_and_light_are_the_system_s_or_the_reader_s(site: Any, visit: Any) -> None:
    page = visit(site, "#/help", color_scheme="dark")
    colour = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.get_by_role("button", name="Use light colours").click()
    light = page.evaluate(colour)
    assert sum(map(int, light[4:-1].split(","))) > 600 > 150 > sum(map(int, dark[4:-1].split(",")))
    page.reload()
    page.locator("h1").wait_for()
    assert page.evaluate(colour) == light, "the choice is kept"

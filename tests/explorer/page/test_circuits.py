"""Circuits as a reader meets them: list, picture, keys, what adds up, pins and groups in the link, heads, files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cellglass.circuits.graph import Graph
from cellglass.circuits.json import read_graph
from explorer.conftest import CIRCUIT
from explorer.page.conftest import Site, frames, settle
from explorer.page.saved import saved

PLACE = f"#/circuits/{CIRCUIT}"
FOCUS = "() => document.querySelector('.circuit canvas.over').dataset.focus"


def opened(visit: Any, site: Site, route: str = PLACE, **options: Any) -> Any:
    page = visit(site, route, **options)
    page.locator(".circuit canvas[data-edges]").wait_for()
    return page


def panel(page: Any) -> Any:
    return page.get_by_role("region", name="The selected node")


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def strongest(graph: Graph) -> str:
    layer, head = (graph.heads.table[name].iloc[graph.heads.strongest(1)[0]] for name in ("layer", "head"))
    return f"{layer}.{head}"


def test_from_the_list_to_a_circuit_with_its_scores_and_what_is_left_out(site: Site, visit: Any) -> None:
    page = visit(site)
    page.get_by_role("link", name="Circuits").click()
    rows = page.locator("main table").first.locator("tbody tr")
    rows.first.wait_for()
    assert rows.count() == 4
    assert "cannot be shown" in rows.nth(2).inner_text()
    assert "cells of B cell" in rows.nth(3).inner_text()
    assert all(word in rows.nth(0).inner_text() for word in ("cell-0", "B cell", "T cell", "cell2sentence"))
    rows.nth(0).get_by_role("link").click()
    page.locator(".circuit canvas[data-edges]").wait_for()
    scores = page.get_by_role("region", name="How good this circuit is").inner_text()
    assert all(
        word in scores for word in ("this circuit", "without any feature", "random transcoders", "0.610 ± 0.020")
    )
    assert page.get_by_role("img", name=re.compile("Share of the answer")).is_visible()
    said = page.get_by_text("Shown: ").inner_text()
    assert re.search(r"Shown: \d+ of \d+ features and errors \(\d+ % of their influence\), \d+ of \d+ genes", said)
    assert "biases add" in said
    slider = page.get_by_label("Edges:")
    before = int(page.locator(".circuit canvas[data-edges]").get_attribute("data-edges"))
    slider.focus()
    page.keyboard.press("Home")
    frames(page)
    assert int(page.locator(".circuit canvas[data-edges]").get_attribute("data-edges")) == 1 < before
    assert "edges=1" in page.url


def test_what_is_listed_at_an_answer_adds_up_to_it(live: Site, visit: Any) -> None:
    page = opened(visit, live, "#/circuits/by-hand?on=a0&each=1")
    assert "+10.000" in panel(page).locator("dl").inner_text()
    parts = [number(text) for text in panel(page).locator(".links-list .num").all_inner_texts()]
    assert parts[-1] == pytest.approx(sum(parts[:-1])) == 10
    assert len(parts) == 8  # two features, an error, two tokens; biases, what was left out; all together
    assert page.locator(".meta a").get_attribute("href") == "#/c/3", "what was asked is a concept of the atlas"
    panel(page).get_by_role("button", name="L1/9").click()
    shown = panel(page).inner_text()
    assert "on=f1.9.1" in page.url
    assert "+6.000 on B cell, over all paths (60 %" in shown
    panel(page).get_by_role("button", name="L0/7").click()
    assert [number(text) for text in panel(page).locator(".links-list .num").all_inner_texts()] == [1.5, 0.5, 2, 4, 2]


def test_keys_alone_find_select_pin_and_group_and_the_link_brings_it_back(site: Site, visit: Any) -> None:
    page = opened(visit, site)
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate(FOCUS) == "a0"
    assert page.locator("[role=status]", has_text="B cell against T cell").count() == 1
    keys = set()
    for way in ("ArrowDown", "ArrowDown"):
        page.keyboard.press(way)
        frames(page)
        keys.add(page.evaluate(FOCUS))
        page.keyboard.press("p")
    assert len(keys) == 2
    page.keyboard.press("Enter")
    panel(page).wait_for()
    assert f"on={page.evaluate(FOCUS)}" in page.url
    page.get_by_label("Name of the group").fill('wires <i>"x"')
    page.keyboard.press("Enter")
    panel(page).get_by_role("heading", name='wires <i>"x"').wait_for()
    assert "2 together" in panel(page).inner_text()
    assert "pin=" not in page.url
    page.reload()
    panel(page).get_by_role("heading", name='wires <i>"x"').wait_for()
    panel(page).get_by_label("Name").fill("other")
    page.keyboard.press("Tab")
    panel(page).get_by_role("heading", name="other").wait_for()
    panel(page).get_by_role("button", name="Ungroup").click()
    panel(page).wait_for(state="detached")
    assert "groups=" not in page.url
    assert page.get_by_role("group", name="Pinned nodes and groups").get_by_role("button").count() >= 4
    page.get_by_label("Find a node").fill("lyz")
    page.keyboard.press("Enter")
    panel(page).get_by_role("link", name="Concepts that LYZ drives").wait_for()


def test_a_pointer_shows_what_feeds_a_node_without_drawing_all_again(live: Site, visit: Any) -> None:
    page = opened(visit, live)
    box = page.locator(".circuit").bounding_box()
    base = "() => document.querySelector('.circuit canvas').dataset.cost"
    frames(page)
    drawn = page.evaluate(base)
    hit = ""
    for y in range(20, int(box["height"]), 12):
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + y)
        frames(page)
        hit = page.evaluate(FOCUS)
        if hit:
            break
    assert hit
    page.locator(".circuit .tip").wait_for()
    assert page.locator(".circuit canvas.pale").count() == 1
    assert page.evaluate(base) == drawn
    page.mouse.down()
    page.mouse.up()
    panel(page).wait_for()
    page.keyboard.press("Escape")
    panel(page).wait_for(state="detached")


def test_heads_open_paths_light_up_and_a_feature_shows_what_it_fires_on(live: Site, visit: Any) -> None:
    page = opened(visit, live, f"{PLACE}?heads=1&on=h0.0")
    shown = panel(page).inner_text()
    held = read_graph(live.atlas / "circuits" / f"{CIRCUIT}.json")
    effect = held.heads.table["effect"].iloc[0]
    assert number(panel(page).locator("dl b").first.inner_text()) == pytest.approx(effect, abs=6e-4)
    assert all(words in shown for words in ("Where it looks", "By which features", "What it feeds"))
    page.goto(f"{live.url}{PLACE}?heads=1&on=h{strongest(held)}")
    panel(page).get_by_role("heading", name="Why it looks there").wait_for()
    assert "looks for" in panel(page).inner_text()
    panel(page).get_by_role("button", name="Open in the picture").click()
    panel(page).get_by_role("button", name="Close the head").wait_for()
    page.get_by_role("region", name="First genes").get_by_role("link", name=re.compile("head L")).first.click()
    panel(page).get_by_role("heading", name=re.compile("^L. head")).wait_for()
    page.locator(".paths button").nth(3).click()
    frames(page)
    assert "path=3" in page.url
    assert page.locator(".circuit canvas.pale").count() == 1
    graph = read_graph(live.atlas / "circuits" / f"{CIRCUIT}.json")
    layer, feature, position = graph.nodes.iloc[graph.of_kind("feature")[-1]][["layer", "feature", "position"]]
    page.goto(f"{live.url}{PLACE}?each=1&on=f{layer}.{feature}.{position}")
    panel(page).get_by_role("heading", name="What it fires on").wait_for()
    panel(page).locator("mark", has_text="<i>LYZ").wait_for()
    page.goto(f"{live.url}{PLACE}?on=t2")
    assert "total, through features" in panel(page).inner_text()
    page.goto(f'{live.url}{PLACE}?groups=[["x"],["y",3],"z"]&pin=../x,t99&on=<b>&open=q&path=999&features=-1&answer=77')
    settle(page)
    assert page.locator(".circuit canvas[data-edges]").count() == 1, "a damaged link is a plain view"
    page.goto(f'{live.url}#/circuits/by-hand?groups=[["both","f0.7","f0.8"]]&on=g0')
    assert "L0/7 at CD79A, L0/8 at :" in panel(page).locator("dl").inner_text()
    page.goto(f"{live.url}#/circuits/no-such")
    page.get_by_role("alert").get_by_text("no circuit").wait_for()


def test_edges_say_which_heads_they_pass_and_features_what_they_are_called(live: Site, visit: Any) -> None:
    page = opened(visit, live, f"{PLACE}?on=a0&each=1")
    graph = read_graph(live.atlas / "circuits" / f"{CIRCUIT}.json")
    assert panel(page).locator(".split").count() > 3
    split = panel(page).locator(".split").first.inner_text()
    assert re.search(r"(by L\d head \d|along the stream) [+−]", split)
    named = graph.nodes[graph.nodes["label"] == "fires on CD79A, MS4A1"]
    layer, feature = named[["layer", "feature"]].iloc[0]
    page.goto(f"{live.url}{PLACE}?on=f{layer}.{feature}")
    panel(page).get_by_text("fires on CD79A, MS4A1 (automatic name)").wait_for()
    page.get_by_label("Find a node").fill("fires on cd79a")
    page.get_by_role("option").first.wait_for()


def test_the_list_has_the_circuit_of_a_label_as_picture_and_table(site: Site, visit: Any) -> None:
    page = visit(site, "#/circuits", width=1400)
    card = page.get_by_role("article").first
    card.locator("canvas[data-nodes]").wait_for()
    frames(page)
    canvas = card.locator("canvas[data-nodes]")
    assert int(canvas.get_attribute("data-nodes")) > 3
    assert float(canvas.get_attribute("data-scale")) >= 0.85, "words can be read"
    assert card.get_by_role("table").count() == 3
    assert "looks at" in card.inner_text()
    card.get_by_role("link", name=re.compile("^head L")).first.click()
    panel(page).get_by_text("among the strongest heads").wait_for()


def test_pictures_and_graphs_can_be_saved(site: Site, visit: Any, tmp_path: Path) -> None:
    page = opened(visit, site, f'{PLACE}?pin=t5&groups=[["two","t2","t3","t4"]]')
    assert saved(page, "PNG", tmp_path).read_bytes().startswith(b"\x89PNG")
    picture = saved(page, "SVG", tmp_path).read_text(encoding="utf-8")
    assert picture.startswith("<svg ")
    assert "&lt;b&gt; &amp;" in picture
    assert "biases" in picture
    own = saved(page, "JSON of cellglass", tmp_path)
    assert own.read_bytes() == (site.atlas / "circuits" / f"{CIRCUIT}.json").read_bytes()
    held = json.loads(saved(page, "JSON for Neuronpedia", tmp_path).read_text())
    there = {node["node_id"]: node for node in held["nodes"]}
    (pinned,) = held["qParams"]["pinnedIds"]
    assert there[pinned]["ctx_idx"] == 5
    ((name, *members),) = held["qParams"]["supernodes"]
    assert name == "two"
    assert {there[one]["ctx_idx"] for one in members} == {2, 3, 4}

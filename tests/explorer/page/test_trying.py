"""A change that is tried as a reader does it: by keys alone, with the number that Python gives; and where none can."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cellglass.atlas import open_atlas
from cellglass.circuits import ScaleFeatures, SetCount, read_graph, try_changes, try_in_cells
from cellglass.circuits.classes.cells import ordered_cells
from cellglass.explorer.trying.bench import Bench, Given, Opened
from explorer.conftest import CIRCUIT, MONO, B, Tried
from explorer.page.conftest import Site, frames, settle, start_live, stop
from explorer.page.test_access import AXE, CHECK, tab_to
from explorer.page.test_widths import OUT, SMALL


@pytest.fixture(scope="module")
def site_of_model(tried: Tried, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    notes = tmp_path_factory.mktemp("tried") / "notes.sqlite"
    process, url = start_live(tried.folder, notes, "--transcoders", str(tried.transcoders))
    yield Site(url, True, tried.folder, notes)
    stop(process)


@pytest.fixture(scope="module")
def opened(tried: Tried) -> Opened:
    return Bench(open_atlas(tried.folder), Given(transcoders=tried.transcoders)).opened


def panel(page: Any) -> Any:
    return page.get_by_role("region", name="Try a change")


def shown(page: Any, row: str) -> float:
    """Return the number beside a bar, as its label says it."""
    text = panel(page).get_by_role("img", name=re.compile(f"^{row}: ")).get_attribute("aria-label")
    return float(text.partition(": ")[2].replace("−", "-"))


def until_done(page: Any) -> None:
    """Wait for the end of a try; the first of a server also imports and opens the model."""
    panel(page).get_by_text("Done.").wait_for(timeout=180_000)


def test_a_feature_is_taken_out_by_keys_and_the_page_shows_what_python_gives(
    site_of_model: Site, tried: Tried, opened: Opened, visit: Any, keep: Any
) -> None:
    graph = read_graph(tried.folder / "circuits" / f"{tried.circuit}.json")
    features = graph.of_kind("feature")
    layer, number = graph.nodes.iloc[features[np.argmax(graph.influence()[features])]][["layer", "feature"]]
    page = visit(site_of_model, f"#/circuits/{tried.circuit}?on=f{layer}.{number}", bypass_csp=True, width=1400)
    panel(page).get_by_role("slider", name="Activation").wait_for()
    assert "taken out" in panel(page).inner_text()
    page.get_by_role("group", name="What is changed").get_by_role("button").first.focus()
    tab_to(page, "Try")
    page.keyboard.press("Enter")
    until_done(page)
    assert opened.transcoders is not None
    given = (opened.model, opened.cells[:1], opened.transcoders.stand_ins, B, MONO)
    wanted = try_changes(*given, changes=[ScaleFeatures([(int(layer), int(number))])])
    assert shown(page, "before") == pytest.approx(wanted.before, abs=6e-4)
    assert shown(page, "after") == pytest.approx(wanted.after, abs=6e-4)
    assert shown(page, "at random") == pytest.approx(wanted.control.mean(), abs=6e-4)
    said = panel(page).inner_text()
    way = "rises" if wanted.change > 0 else "falls"
    assert f"L{layer}/{number} taken out at all tokens: in cell-0, the answer “{B} against {MONO}” {way} from" in said
    larger = int((np.abs(wanted.control - wanted.before) >= abs(wanted.change)).sum())
    assert f"{larger} of 20 change it at least as much" in said
    if AXE.exists():
        page.evaluate(AXE.read_text(encoding="utf-8"))
        assert page.evaluate(CHECK) == []
    for width in (1400, 360):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            frames(page)
            assert page.evaluate(OUT) == []
            assert page.evaluate(SMALL) == []
            keep(page, f"try-{width}-{scheme}", full=True)


def test_a_group_is_scaled_as_one(site_of_model: Site, tried: Tried, opened: Opened, visit: Any) -> None:
    graph = read_graph(tried.folder / "circuits" / f"{tried.circuit}.json")
    rows = graph.nodes.iloc[graph.of_kind("feature")][["layer", "feature"]].drop_duplicates().to_numpy()[:3].tolist()
    keys = ",".join(f'"f{layer}.{number}"' for layer, number in rows)
    page = visit(site_of_model, f'#/circuits/{tried.circuit}?groups=[["mine","t80",{keys}]]&on=g0')
    slider = panel(page).get_by_role("slider", name="Activation")
    slider.focus()
    page.keyboard.press("End")
    assert slider.get_attribute("aria-valuetext") == "× 4"
    assert "its tokens and errors stay" in panel(page).inner_text()
    panel(page).get_by_role("button", name="Try", exact=True).click()
    until_done(page)
    assert opened.transcoders is not None
    given = (opened.model, opened.cells[:1], opened.transcoders.stand_ins, B, MONO)
    wanted = try_changes(*given, changes=[ScaleFeatures([(layer, number) for layer, number in rows], 4)])
    assert shown(page, "after") == pytest.approx(wanted.after, abs=6e-4)
    assert "mine (3 features) × 4 at all tokens" in panel(page).inner_text()


def test_a_count_is_set_in_cells_of_a_label_and_a_bar_tells_how_far_it_is(
    site_of_model: Site, tried: Tried, opened: Opened, visit: Any, keep: Any
) -> None:
    page = visit(site_of_model, f"#/circuits/{tried.of_class.replace('/', '%2F')}", width=1400)
    panel(page).get_by_role("button", name="A gene’s count").click()
    panel(page).get_by_label("Gene").fill("LYZ")
    panel(page).get_by_label("Count").last.fill("9")
    panel(page).get_by_label("at most").fill("3")
    panel(page).get_by_role("radio", name="Cells of").check()
    panel(page).get_by_role("button", name="Try", exact=True).click()
    until_done(page)
    some = np.sort(ordered_cells(opened.cells, "cell type", B)[:3])
    wanted = try_in_cells(opened.model, opened.cells[some], None, B, changes=[SetCount("LYZ", 9)])
    assert shown(page, "after") == pytest.approx(wanted.after, abs=6e-4)
    assert f"LYZ at a count of 9: over 3 cells of {B}, on average, the answer" in panel(page).inner_text()
    assert "sd over cells" in panel(page).inner_text()
    keep(page, "try-class-1400-light", full=True)
    panel(page).get_by_label("Gene").fill("NOPE")
    panel(page).get_by_role("button", name="Try", exact=True).click()
    panel(page).get_by_role("alert").get_by_text("no gene 'NOPE'").wait_for()


def test_where_nothing_can_be_tried_the_page_says_how_to(site: Site, visit: Any) -> None:
    page = visit(site, f"#/circuits/{CIRCUIT}")
    settle(page)
    assert "cellglass explore ATLAS --transcoders DIR" in panel(page).inner_text()
    assert panel(page).get_by_role("button").count() == 0

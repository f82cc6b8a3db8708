"""The circuit of a class of simulated cells, as the page shows it: a planted rule's two hops, and its deleted genes."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from cellglass.circuits import class_deletions, path_lines, strongest_paths, write_class
from cellglass.threads import threads
from explorer.page.conftest import Site, frames, start_live, stop
from explorer.page.saved import saved
from synthetic import make_atlas

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
SEED = 0


@pytest.mark.slow
def test_a_planted_rule_is_listed_and_drawn_as_two_hops(
    visit: Any, keep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    hops = importlib.import_module("planted_hops")
    with threads(1), mock.patch.dict(hops.PROMPTS, hops.SHORT):
        made = hops.learnt(replace(hops.QUICK, even=True), SEED)
        circuit = hops.circuit_of(made, SEED, "trained", n_cells=5)
        circuit = class_deletions(circuit, made.model, hops.simulate(2000, SEED, "held").cells, made.transcoders)
    graph = circuit.graph()
    paths, layer = strongest_paths(graph, hops.LISTED), graph.nodes["layer"].to_numpy()
    place, path = next(
        (i, one)
        for i, one in enumerate(paths)
        if one.source in hops.marked(SEED) and len(set(layer[list(one.features)])) > 1
    )
    steps = [f"L{layer[i]}/{graph.nodes['feature'].iloc[i]}" for i in path.features]
    assert len(steps) >= 2

    atlas = make_atlas(tmp_path / "atlas", n_cells=40, n_concepts=8)
    write_class(circuit, atlas / "circuits" / "classes" / "gamma.json")
    process, url = start_live(atlas, tmp_path / "notes.sqlite")
    try:
        page = visit(Site(url, True, atlas, None), "#/circuits/classes%2Fgamma")
        page.locator(".circuit canvas[data-edges]").wait_for()
        tables = page.get_by_role("region", name="First genes").get_by_role("table")
        deleted = tables.filter(has_text="Gene, deleted").locator("tbody th").all_inner_texts()
        assert [one.strip() for one in deleted] == circuit.without["gene"].tolist()[:8]
        assert tables.first.locator("thead").inner_text().split("\t")[-1].strip() == "Deleted"
        page.get_by_role("button", name=f"All {len(paths)}").click()
        listed = page.locator(".paths button").nth(place)
        assert listed.inner_text() == path_lines(graph, [path])[0]
        assert f"{path.source} -> {' -> '.join(steps)} -> " in listed.inner_text()
        listed.click()
        frames(page)
        assert f"path={place}" in page.url
        assert listed.get_attribute("aria-pressed") == "true"
        assert page.locator(".circuit canvas.pale").count() == 1
        keep(page, "planted-two-hops", full=True)
        picture = saved(page, "SVG", tmp_path).read_text(encoding="utf-8")
        assert all(f">{one}<" in picture for one in (path.source, *steps))
    finally:
        stop(process)

"""A label, a name or an F1 is shown with its null, threshold and count: on every card, in lists and in the search."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.evidence import named_gene
from explorer.page.conftest import Site, settle, start_live, stop

LINKS = """() => [...document.querySelectorAll('main a[href^="#/c/"]')]
    .filter((a) => !a.closest('.nav, .glimpses, .list'))
    .map((a) => [a.getAttribute('href'), a.innerText,
                 a.closest('.concept')?.querySelector('small')?.innerText ?? ''])"""
HEAD = """() => Object.fromEntries(
    [...document.querySelectorAll('.meta [data-of], .sure [data-of]')].map((one) => [one.dataset.of, one.innerText]))"""
F1 = r"F1 \d\.\d\d / \d\.\d\d, n [\d,]+"
FULL = (
    r"F1 (\S+) on held-out cells; null (\S+) \((calling every cell|shuffled labels)\); "
    r"threshold.*; n = [\d,]+ .*have this label"
)


def check_cards(site: Site, page: Any, latents: list[int]) -> None:
    """Open each card: what it names has its evidence, and so has every other concept that it names."""
    var = open_atlas(site.atlas).concepts.var
    var = var.join(named_gene(var)).set_index("latent")
    for latent in latents:
        page.goto(f"{site.url}#/c/{latent}")
        page.locator(".meta li", has_text=re.compile(f"^(concept|latent) {latent}$")).wait_for()
        settle(page)
        told, row = page.evaluate(HEAD), var.loc[latent]
        if row["best_label"]:
            said = re.search(FULL, told["label"])
            assert said, told
            assert float(said[1]) == pytest.approx(row["best_label_f1"], abs=0.006)
            assert float(said[1]) > float(said[2]) or "not significant" in told["label"] or "q " in told["label"]
        if row["best_term"]:
            assert re.search(r"(enriched|depleted.*absence); q .*(null q|not known)", told["term"])
            assert ("depleted" in told["term"]) == (row["best_term_statistic"] < 0)
        if row["gene"]:
            assert re.search(r"its (presence|absence) drives the concept; q against the null", told["gene"])
            assert ("absence" in told["gene"]) == (row["score"] < 0)
        page.get_by_role("heading", name="Nearest concepts").wait_for()
        named = page.evaluate(LINKS)
        for href, name, evidence in named:
            of = var.loc[int(href.removeprefix("#/c/"))]
            assert re.search(F1, evidence) or not of["best_label"], (latent, name, evidence)
            assert re.search(r"set .*q ", evidence) or not of["best_term"], (latent, name, evidence)
            assert re.search(r"gene .*q ", evidence) or not of["gene"], (latent, name, evidence)
            assert "reproducibility" not in var or f"comes back {100 * of['reproducibility']:.0f} %" in evidence
            assert ("residual" in evidence) == bool(of.get("residual", False))
        assert named


def test_every_card_states_the_evidence_of_each_label_and_name(live: Site, visit: Any) -> None:
    var = open_atlas(live.atlas).concepts.var
    check_cards(live, visit(live), var[var["density"] > 0]["latent"].tolist())


def test_lists_and_search_state_it_too(site: Site, visit: Any) -> None:
    page = visit(site)
    page.locator(".glimpses li").first.wait_for()
    for text in page.locator(".glimpses li").all_inner_texts():
        assert re.search(F1, text)
        assert " q " in text
        assert "comes back " in text
    page.locator(".list .line").first.wait_for()
    for line in page.locator(".list .line").all():
        assert re.search(F1, line.locator(".k-label").inner_text())
        assert "q " in line.locator(".k-genes").inner_text()
    for asked in ("CD79A", "b cells", "receptor"):
        page.goto(f"{site.url}#/search?q={asked.replace(' ', '+')}")
        page.locator(".found .concept").first.wait_for()
        settle(page)
        for _, name, evidence in page.evaluate(LINKS):
            assert re.search(F1, evidence), name
    page.goto(f"{site.url}#/cells?colour=c:3")
    page.locator(".pane h2 .concept").wait_for()
    assert re.search(F1, page.locator(".pane h2").inner_text())


@pytest.mark.slow
def test_the_demo_is_searched_and_every_card_of_it_states_its_evidence(
    demo_atlas: Path, tmp_path: Path, visit: Any
) -> None:
    process, url = start_live(demo_atlas, tmp_path / "notes.sqlite")
    try:
        site = Site(url, True, demo_atlas, None)
        page = visit(site, "#/search")
        for asked, symbol in (("CD79A", "CD79A"), ("JCHAIN", "IGJ"), ("ENSG00000105369.9", "CD79A"), ("MZB1", "MZB1")):
            ask = page.locator("main").get_by_role("combobox", name="Search concepts")
            ask.fill(asked)
            ask.press("Enter")
            page.locator(".found section a.gene").get_by_text(symbol, exact=True).first.wait_for()
        for asked in ("B cell", "B-cell", "plasma"):
            ask.fill(asked)
            ask.press("Enter")
            page.locator(".found .concept").first.wait_for()
        check_cards(site, page, open_atlas(demo_atlas).concepts.var["latent"].tolist())
        for name in named_gene(open_atlas(demo_atlas).concepts.var).query("not q < 0.05").itertuples():
            assert not name.gene or not name.Index.endswith(name.gene)
    finally:
        stop(process)

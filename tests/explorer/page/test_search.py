"""Search: from a word, a gene or a pathway to the concepts that it drives, and from a label to its cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellglass.atlas import open_atlas
from explorer.page.saved import read_csv


def found(page: Any, title: str) -> Any:
    return page.locator(".found section", has=page.get_by_role("heading", name=title))


def test_a_word_finds_concepts_genes_pathways_and_labels(site: Any, visit: Any) -> None:
    page = visit(site)
    page.locator("h1").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("b cells")
    page.keyboard.press("Enter")
    var = open_atlas(site.atlas).concepts.var
    best = var[var["best_label"] == "CD19+ B cells"].sort_values("best_label_f1", ascending=False)["latent"]
    first = found(page, "Concepts").get_by_role("link").nth(1)
    first.wait_for()
    assert first.get_attribute("href") == f"#/c/{best.iloc[0]}"
    assert found(page, "Labels").get_by_role("link", name="CD19+ B cells", exact=True).count() == 1
    ask = page.locator("main").get_by_role("searchbox")
    for asked in ("cd79a", "CD79A"):
        ask.fill(asked)
        assert found(page, "Genes").get_by_role("link").first.inner_text() == "CD79A"
    ask.fill("ENSG00000000003")
    symbol = open_atlas(site.atlas).expression.var.loc["ENSG00000000003", "symbol"]
    found(page, "Genes").get_by_role("link", name=symbol, exact=True).wait_for()
    ask.fill("receptor")
    assert "receptor" in found(page, "Gene sets").get_by_role("link").first.inner_text().lower()
    ask.fill("17")
    assert found(page, "Concepts").get_by_role("link").nth(1).get_attribute("href") == "#/c/17"
    ask.fill("qwertz")
    page.get_by_text("Nothing has “qwertz” in its name").wait_for()
    assert "q=qwertz" in page.url


def test_a_gene_leads_to_the_concepts_that_it_drives(live: Any, visit: Any, tmp_path: Path) -> None:
    page = visit(live, "#/search?q=CD79A")
    found(page, "Genes").get_by_role("link", name="CD79A").click()
    page.get_by_role("heading", name="CD79A").wait_for()
    page.get_by_role("tab").first.wait_for()
    rows = read_csv(page, page.get_by_label("Save the concepts of this gene as CSV").click, tmp_path)
    truth = pd.read_parquet(live.atlas / "genes.parquet").query("symbol == 'CD79A'")
    scores = {
        (f"{m}/{on}", c): s for m, on, c, s in truth[["method", "on", "concept", "score"]].itertuples(index=False)
    }
    assert rows
    for row in rows:
        assert np.isclose(float(row["score"]), scores[row["method"], int(row["latent"])], rtol=2e-3)
    strongest = truth[truth["method"] == "path"].sort_values("score", ascending=False)["concept"].iloc[0]
    link = page.locator("tbody a").first
    assert link.get_attribute("href") == f"#/c/{strongest}"
    link.click()
    page.get_by_role("heading", name="Genes that drive it").wait_for()
    page.go_back()
    page.get_by_role("heading", name="CD79A").wait_for()


def test_a_pathway_and_a_label_lead_on(site: Any, visit: Any) -> None:
    page = visit(site, "#/search?q=b-cell+receptor")
    found(page, "Gene sets").get_by_role("link").first.click()
    page.locator("tbody tr").first.wait_for()
    truth = pd.read_parquet(site.atlas / "pathways.parquet")
    truth = truth[truth["term"].str.contains("receptor") & (truth["statistic"] > 0)]
    hrefs = [a.get_attribute("href") for a in page.locator("tbody a").all()]
    assert {int(href.removeprefix("#/c/")) for href in hrefs} <= set(truth["concept"])
    assert "q against random genes" in page.locator("thead").inner_text()
    page.goto(f"{site.url}#/search?q=monocytes")
    found(page, "Labels").get_by_role("link", name="CD14+ monocytes", exact=True).click()
    wanted = int((open_atlas(site.atlas).concepts.obs["cell type"] == "CD14+ monocytes").sum())
    page.get_by_role("heading", name=f"{wanted} selected cells").wait_for()

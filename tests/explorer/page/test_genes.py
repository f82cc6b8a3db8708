"""Genes on the page: typed with suggestions, shown by label, scored together, saved whole, and looked up elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas import open_atlas
from explorer.page.saved import read_csv


def normalised(site: Any, symbols: list[str]) -> pd.DataFrame:
    """Return log1p of counts per 10,000 of some genes, worked out here."""
    table = open_atlas(site.atlas).expression.to_memory()
    counts = table.X.toarray().astype(float)
    values = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    return pd.DataFrame(values[:, [table.var["symbol"].tolist().index(one) for one in symbols]], columns=symbols)


def test_a_gene_is_shown_by_label_and_its_numbers_are_those_of_the_atlas(
    site: Any, visit: Any, keep: Any, tmp_path: Path
) -> None:
    page = visit(site, "#/gene/CD79A")
    panel = page.locator(".by-label")
    panel.locator("svg.violin").first.wait_for()
    keep(page, f"gene-{site.kind}", full=True)
    concepts = open_atlas(site.atlas).concepts
    values = normalised(site, ["CD79A"])["CD79A"].to_numpy()
    groups = concepts.obs["cell type"]
    rows = panel.locator("tbody tr").evaluate_all("rows => rows.map((row) => [...row.cells].map((c) => c.innerText))")
    assert [row[0] for row in rows] == list(groups.cat.categories)
    for name, n, _, share, mean, _ in rows:
        own = values[(groups == name).to_numpy()]
        assert int(n) == len(own)
        assert float(share.removesuffix(" %")) == pytest.approx(100 * (own > 0).mean(), abs=0.51)
        assert float(mean) == pytest.approx(own[own > 0].mean(), abs=0.006)
    saved = read_csv(page, page.get_by_label("Save the expression by label as CSV").click, tmp_path)
    labels = {row["label"] for row in saved}
    assert labels == {"cell type", "phase", "k-means clusters"}
    assert {row["atlas"].startswith("18 concepts of") for row in saved} == {True}
    assert saved[0]["cellglass_version"] == open_atlas(site.atlas).manifest["cellglass_version"]
    for name, rel in page.locator(".places a").evaluate_all("all => all.map((a) => [a.innerText, a.rel])"):
        assert "noopener" in rel, name
    hrefs = page.locator(".places a").evaluate_all("all => all.map((a) => a.href)")
    assert [href.split("/")[2] for href in hrefs] == ["www.ensembl.org", "www.genecards.org", "www.uniprot.org"]


def test_genes_are_scored_together_and_the_missing_are_named(site: Any, visit: Any, keep: Any) -> None:
    page = visit(site, "#/gene/CD79A")
    box = page.get_by_label("Genes to score together with it")
    box.press_sequentially("JCH")
    page.get_by_role("option", name="IGJ").wait_for()
    box.press("ArrowDown")
    box.press("Enter")
    assert box.input_value() == "IGJ ", "a suggestion is written into the field"
    box.press_sequentially("ms4")
    page.get_by_role("option", name="MS4A1").click()
    page.get_by_role("button", name="Score together").click()
    page.get_by_role("heading", name="Score of 3 genes").wait_for()
    page.goto(f"{site.url}#/gene/CD79A,IGJ,MS4A1,NOSUCH")
    page.get_by_text("Not in this atlas, and so not in the score: NOSUCH.").wait_for()
    page.locator(".by-label svg.violin").first.wait_for()
    keep(page, f"genes-{site.kind}", full=True)
    score = normalised(site, ["CD79A", "IGJ", "MS4A1"]).mean(axis=1).to_numpy()
    b = (open_atlas(site.atlas).concepts.obs["cell type"] == "CD19+ B cells").to_numpy()
    row = page.locator(".by-label tr", has=page.locator("svg.violin")).filter(has_text="CD19+ B cells")
    assert float(row.locator("td").nth(4).inner_text()) == pytest.approx(score[b & (score > 0)].mean(), abs=0.006)
    assert page.locator(".dots thead a").all_inner_texts() == ["CD79A", "IGJ", "MS4A1"]
    page.get_by_role("link", name="See it on the cells").click()
    page.get_by_text(f"over 3 genes; {(score > 0).sum()} cells are not zero").wait_for()


def test_all_genes_of_a_concept_are_saved(site: Any, visit: Any, tmp_path: Path) -> None:
    page = visit(site, "#/c/3")
    button = page.get_by_label("Save the genes as CSV")
    button.wait_for()
    saved = pd.DataFrame(read_csv(page, button.click, tmp_path))
    table = pd.read_parquet(site.atlas / "genes.parquet").query("concept == 3")
    assert len(saved) == len(table) > 4 * 70, "more than the card shows"
    both = saved.merge(table, on=["method", "on", "gene"], suffixes=("", "_there"))
    assert len(both) == len(table)
    np.testing.assert_allclose(both["score"].astype(float), both["score_there"], rtol=1e-3)

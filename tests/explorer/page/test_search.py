"""Search: from a word, a gene or a pathway to the concepts that it drives, and from a label to its cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellglass.atlas import open_atlas
from cellglass.atlas.evidence import leading_order
from explorer.page.conftest import settle
from explorer.page.saved import read_csv


def found(page: Any, title: str) -> Any:
    return page.locator(".found section", has=page.get_by_role("heading", name=title))


def asks(page: Any, text: str) -> None:
    """Type into the search of the view, and press Enter."""
    ask = page.locator("main").get_by_role("combobox", name="Search concepts")
    ask.fill("")
    ask.press_sequentially(text)
    ask.press("Enter")


def test_what_is_typed_is_found_and_nothing_happens_before_enter(site: Any, visit: Any) -> None:
    page = visit(site)
    page.locator("h1").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("b cells")
    page.get_by_role("option", name="CD19+ B cells").first.wait_for()
    assert "#/search" not in page.url, "it acts on Enter"
    page.keyboard.press("Enter")
    var = open_atlas(site.atlas).concepts.var
    mine = var[var["best_label"] == "CD19+ B cells"]
    best = mine.iloc[leading_order(mine)]
    first = found(page, "Concepts").locator("li a").first
    first.wait_for()
    assert first.get_attribute("href") == f"#/c/{best['latent'].iloc[0]}"
    for asked in ("B cell", "B-cell", "b_cells", "Bcell"):
        asks(page, asked)
        found(page, "Labels").get_by_role("link", name="CD19+ B cells", exact=True).wait_for()
        assert found(page, "Labels").locator("li").count() == 1, f"{asked} finds B cells alone"
    asks(page, "receptor")
    sets = found(page, "Gene sets").get_by_role("link")
    sets.first.wait_for()
    assert "receptor" in sets.first.inner_text().lower()
    asks(page, "17")
    page.locator(".found section li a[href='#/c/17']").first.wait_for()
    assert found(page, "Concepts").locator("li a").first.get_attribute("href") == "#/c/17"
    asks(page, "qwertz")
    page.get_by_text("Nothing has “qwertz” in its name").wait_for()
    assert "q=qwertz" in page.url


NAMES = {
    "CD79A": "CD79A", "hla dra": "HLA-DRA", "ENSG00000000003": "FCN1", "cd79a": "CD79A", "HLADRA": "HLA-DRA",
    "ENSG00000000003.14": "FCN1", "JCHAIN": "IGJ",
}  # fmt: skip
"""What is asked, and the gene that is found: in an order in which each answer differs from the one before."""


def test_a_gene_is_found_by_each_of_its_names(site: Any, visit: Any) -> None:
    page = visit(site, "#/search")
    genes = pd.read_parquet(site.atlas / "genes.parquet")
    for asked, symbol in NAMES.items():
        asks(page, asked)
        first = found(page, "Genes").locator("li").first
        first.get_by_role("link", name=symbol, exact=True).wait_for()
        if asked == "JCHAIN":
            assert "also called JCHAIN" in first.inner_text()
        inline = first.locator(".drives")
        inline.wait_for()
        settle(page)
        truth = genes.query("symbol == @symbol and method == 'path' and q < 0.05")
        n = inline.locator("a[href^='#/c/']").count()
        assert n == max(1, min(3, len(truth))), f"the concepts of {asked} stand in the results"


def test_the_cells_are_coloured_by_the_gene_that_was_typed(site: Any, visit: Any) -> None:
    """CD7 begins CD79A: what is typed must not be taken before Enter."""
    page = visit(site, "#/cells?colour=gene:CD2")
    box = page.get_by_label("Gene: symbol or id")
    box.wait_for()
    for asked, symbol in (("CD27", "CD27"), ("CD79A", "CD79A"), ("ENSG00000000003.2", "FCN1"), ("JCHAIN", "IGJ")):
        box.press_sequentially(asked)
        page.get_by_role("option", name=symbol).first.wait_for()
        box.press("Enter")
        page.get_by_role("heading", name=symbol, exact=True).wait_for()
    page.goto(f"{site.url}#/cells?colour=genes:MS4A1,JCHAIN,CD79B")
    page.get_by_role("heading", name="MS4A1, IGJ, CD79B").wait_for()


def test_a_suggestion_is_chosen_by_arrow_or_click(live: Any, visit: Any) -> None:
    page = visit(live, "#/search")
    ask = page.locator("main").get_by_role("combobox", name="Search concepts")
    ask.press_sequentially("CD79")
    page.get_by_role("option", name="gene CD79A").wait_for()
    options = page.get_by_role("option").all_inner_texts()
    assert [text.split()[1] for text in options[:2]] == ["CD79A", "CD79B"]
    ask.press("ArrowDown")
    ask.press("ArrowDown")
    assert page.get_by_role("option", selected=True).inner_text().split()[1] == "CD79B"
    ask.press("Enter")
    page.get_by_role("heading", name="CD79B").wait_for()
    ask.fill("monocytes")
    page.get_by_role("option", name="label CD14+ monocytes").click()
    page.get_by_role("heading", name="selected cells").wait_for()


def test_a_gene_leads_to_the_concepts_that_it_drives(live: Any, visit: Any, tmp_path: Path) -> None:
    page = visit(live, "#/search?q=CD79A")
    found(page, "Genes").get_by_role("link", name="CD79A", exact=True).click()
    page.get_by_role("heading", name="CD79A").wait_for()
    driven = page.locator("section.panel", has=page.get_by_role("heading", name="Concepts that it drives"))
    driven.get_by_role("tab").first.wait_for()
    rows = read_csv(page, page.get_by_label("Save the concepts of this gene as CSV").click, tmp_path)
    truth = pd.read_parquet(live.atlas / "genes.parquet").query("symbol == 'CD79A'")
    scores = {
        (f"{m}/{on}", c): s for m, on, c, s in truth[["method", "on", "concept", "score"]].itertuples(index=False)
    }
    assert rows
    for row in rows:
        assert np.isclose(float(row["score"]), scores[row["method"], int(row["latent"])], rtol=2e-3)
    by_path = truth[truth["method"] == "path"]
    lost = set(by_path[by_path["score"] < 0]["concept"])
    assert lost
    for row in driven.locator("tbody tr").all():
        latent = int(row.locator("a").first.get_attribute("href").removeprefix("#/c/"))
        assert ("its absence drives it" in row.inner_text()) == (latent in lost)
    by_path = by_path.assign(first=by_path["q"] < 0.05)  # every concept of this atlas comes back
    strongest = by_path.sort_values(["first", "score"], ascending=False)["concept"].iloc[0]
    link = driven.locator("tbody a").first
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
    truth = truth[truth["term"].str.contains("receptor") & (truth["test"] == "gsea")].set_index("concept")
    for row in page.locator("tbody tr").all():
        told = truth.loc[int(row.locator("a").first.get_attribute("href").removeprefix("#/c/"))]
        assert ("depleted" in row.inner_text().splitlines()[-4:].__str__()) == (told["statistic"] < 0)
        sure = told["q"] < 0.05 and told["null_q"] < 0.05
        assert ("soft" in (row.get_attribute("class") or "")) == (not sure), "grey unless both pass"
    assert page.locator("thead th").all_inner_texts()[2:4] == ["null q (random genes)", "q"], "the null first"
    page.goto(f"{site.url}#/search?q=monocytes")
    found(page, "Labels").get_by_role("link", name="CD14+ monocytes", exact=True).click()
    wanted = int((open_atlas(site.atlas).concepts.obs["cell type"] == "CD14+ monocytes").sum())
    page.get_by_role("heading", name=f"{wanted} selected cells").wait_for()

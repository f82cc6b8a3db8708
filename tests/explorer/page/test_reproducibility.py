"""What comes back leads everywhere, and says of how many halves or seeds; residual latents are hidden: no findings."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas import open_atlas, write
from cellglass.atlas.evidence import leading_order
from explorer.conftest import FINDINGS
from explorer.page.conftest import Site, run_here, settle
from explorer.page.saved import read_csv

RESIDUAL = 18
TOGGLE = "Show residual latents (5)"
LINKED = "(all) => all.map((a) => Number(a.getAttribute('href').slice(4)))"


def reported(atlas: Path, folder: Path) -> Site:
    """Write the report of an atlas."""
    run_here("report", atlas, "--out", folder / "report.html", "--no-notes")
    return Site((folder / "report.html").as_uri(), False, atlas, None)


@pytest.fixture(scope="module")
def seeds(seeds_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A plain dictionary and four other seeds."""
    return reported(seeds_folder, tmp_path_factory.mktemp("seeds"))


@pytest.fixture(scope="module")
def asked(full_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """An atlas as of a run with ``--residual``: a residual latent has genes and gene sets; PCA wins by both figures."""
    folder = Path(shutil.copytree(full_folder, tmp_path_factory.mktemp("asked") / "atlas"))
    atlas = open_atlas(folder)
    genes, pathways, records = atlas.genes(), atlas.pathways(), atlas.evaluation.reset_index().to_dict("records")
    write.write_genes(folder, [genes, genes[genes["concept"] == 1].assign(concept=RESIDUAL)])
    write.write_pathways(folder, pd.concat([pathways, pathways[pathways["concept"] == 1].assign(concept=RESIDUAL)]))
    kept = [one for one in records if not one["metric"].startswith(("reproducibility.concepts", "reproducibility.ica"))]
    for one in kept:
        if one["metric"] == "reproducibility.pca":
            one["value"] = 0.62  # as much as of clusters
    write.write_evaluation(folder, kept)
    return reported(folder, folder.parent)


def latents(page: Any) -> list[int]:
    """Return the numbers of the latents that the list shows, from the top."""
    page.locator(".list .line").first.wait_for()
    lines = page.locator(".list .line").evaluate_all(
        "(all) => all.map((one) => [Number(one.ariaRowIndex), Number(one.firstElementChild.innerText)])"
    )
    return [latent for _, latent in sorted(lines)]


def test_residual_latents_are_one_click_away_and_last_in_any_order(site: Site, visit: Any, tmp_path: Path) -> None:
    page = visit(site, "#/concepts", height=1800)
    var = open_atlas(site.atlas).concepts.var
    order = var["latent"].iloc[leading_order(var)]
    order = order[var["density"].loc[order.index] > 0].tolist()
    assert var.loc[var["best_label_f1"].idxmax(), "residual"], "the best F1 of all is no finding"
    assert latents(page) == order[:FINDINGS]
    assert page.locator(".list .badge").count() == 0
    page.locator(".row .note", has_text="18 concepts").wait_for()
    page.get_by_label(TOGGLE).check()
    page.locator(".row .note", has_text="23 of 24 latents").wait_for()
    assert "residual=1" in page.url
    shown = latents(page)
    assert shown == order[: len(shown)]
    assert len(shown) > FINDINGS
    marked = page.locator(".line:has(.badge.residual) > :first-child").all_inner_texts()
    assert {int(latent) for latent in marked} == set(shown) - set(range(FINDINGS))
    for sort in ("f1", "-f1", "name", "-density", "back"):
        page.goto(f"{site.url}#/concepts?residual=1&sort={sort}")
        page.locator(f".head [aria-sort={'de' if sort[0] == '-' else 'a'}scending]").wait_for()
        rows = latents(page)
        assert set(rows[:FINDINGS]) == set(range(FINDINGS)), sort
    rows = read_csv(page, page.get_by_label("Save the list as CSV").click, tmp_path)
    assert [row["residual"] for row in rows] == ["false"] * FINDINGS + ["true"] * 5
    told = var.set_index("latent")["reproducibility"]
    assert all(abs(float(row["reproducibility"]) - told[int(row["latent"])]) < 1e-4 for row in rows)
    page.get_by_label(TOGGLE).uncheck()
    page.locator(".row .note", has_text="18 concepts").wait_for()
    assert "residual" not in page.url


def test_a_list_says_how_often_each_comes_back_and_of_what(live: Site, seeds: Site, visit: Any) -> None:
    for site, of in (
        (live, "found in both halves of {} % of 16 pairs of disjoint halves of the cells"),
        (seeds, "found in {} % of 4 other seeds’ dictionaries"),
    ):
        page = visit(site, "#/concepts")
        share = open_atlas(site.atlas).concepts.var.set_index("latent")["reproducibility"]
        for latent in latents(page)[:8]:
            cell = page.locator(f".line:has(a[href='#/c/{latent}']) .k-back")
            said = f"{100 * share[latent]:.0f}"
            assert cell.inner_text().strip() == f"{said} %"
            assert cell.get_attribute("title") == of.format(said)
        heads = page.locator(".head button").all_inner_texts()
        assert heads.index("Comes back") == heads.index("Concept") + 1, "the first figure"
        assert of.split("{} % of ")[1] in page.get_by_role("button", name="Comes back").get_attribute("title")


def test_what_comes_back_by_the_rule_is_filtered_and_leads(seeds: Site, visit: Any, tmp_path: Path) -> None:
    """Of a plain dictionary every latent is a concept, and some come back in fewer seeds than the rule asks for."""
    page = visit(seeds, "#/concepts", height=1800)
    var = open_atlas(seeds.atlas).concepts.var
    alive = var[var["density"] > 0]
    assert alive.loc[alive["best_label_f1"].idxmax(), "reproducibility"] < 0.75, "the best F1 does not come back"
    shown = latents(page)
    assert shown == alive["latent"].iloc[leading_order(alive)].tolist()[: len(shown)]
    assert page.get_by_label("Show residual latents").count() == 0
    rows = read_csv(page, page.get_by_label("Save the list as CSV").click, tmp_path)
    page.get_by_role("button", name="Best label").click()
    page.locator(".head [aria-sort=descending]").wait_for()
    rows = read_csv(page, page.get_by_label("Save the list as CSV").click, tmp_path)
    back = [float(row["reproducibility"]) >= 0.75 for row in rows]
    assert back == sorted(back, reverse=True), "the file begins with what comes back, however the list is sorted"
    assert 0 < sum(back) < len(back) == 23
    page.get_by_label("comes back (in at least 75 %)").check()
    page.locator(".row .note", has_text=f"{sum(back)} of 24 concepts").wait_for()
    assert set(latents(page)) == set(alive[alive["reproducibility"] >= 0.75]["latent"])
    page.locator(".list .line a").first.click()
    page.locator(".badge.again", has_text="comes back").wait_for()


def test_home_says_what_comes_back_and_shows_it_first(site: Site, visit: Any) -> None:
    page = visit(site)
    var = open_atlas(site.atlas).concepts.var
    first = var["latent"].iloc[leading_order(var)[0]]
    for place in (".glimpses li a", ".list .line a"):
        page.locator(place).first.wait_for()
        assert page.locator(place).first.get_attribute("href") == f"#/c/{first}"
    glimpsed = page.locator(".glimpses li a").evaluate_all(LINKED)
    assert max(glimpsed) < FINDINGS
    assert page.get_by_text("what other cells do not show again may be an accident of one fit").count() == 1
    panel = page.locator(".plot.reproducibility")
    assert panel.get_by_role("img").evaluate_all("(all) => all.map((one) => one.ariaLabel)") == [
        "concepts: 74 %; null 3.0 %; 14 of 19",
        "k-means clusters: 62 %; 5 of 8",
        "PCA: 40 %; null 3.0 %; 16 of 40",
        "ICA: 35 %; 14 of 40",
        "random directions: 8.0 %; 4 of 50",
    ]
    assert panel.locator(".tick").count() == 2
    assert panel.locator(".value").first.inner_text() == "74 % / 3.0 %, 14 of 19"
    verdict = panel.locator(".verdict").inner_text()
    assert verdict.startswith(
        "Concepts come back most: 74 %, 12 points more than k-means clusters (62 %); in number PCA"
    )
    assert page.get_by_text("Would another seed find them again?").count() == 0, "of one fit no seeds are compared"


def test_home_of_other_atlases(seeds: Site, asked: Site, visit: Any) -> None:
    page = visit(seeds)
    told = page.locator(".hero .back").inner_text()
    var = open_atlas(seeds.atlas).concepts.var
    back = int(((var["reproducibility"] >= 0.75) & (var["density"] > 0)).sum())
    assert told.startswith(f"{back} of 23 concepts come back: each was found in at least 75 % of 4 other seeds")
    assert "residual" not in told
    assert page.get_by_text("Would another seed find them again?").count() == 1
    page = visit(asked)
    verdict = page.locator(".plot.reproducibility .verdict").inner_text()
    assert verdict.startswith("K-means clusters and PCA come back most: 62 %")
    assert verdict.endswith("Concepts have no figure: no dictionary could be fitted to half.")


def test_a_card_begins_with_how_often_it_comes_back(site: Site, visit: Any) -> None:
    var = open_atlas(site.atlas).concepts.var.set_index("latent")
    page = visit(site, "#/c/2")
    for latent, said in ((2, "of a type: a cluster gives it too"), (3, "across types: no cluster gives it")):
        assert (var.loc[latent, "cluster_correlation"] < 0.7) == ("across" in said)
        page.goto(f"{site.url}#/c/{latent}")
        page.locator(".meta li", has_text=f"concept {latent}").wait_for()
        settle(page)
        lines = page.locator(".meta li").all_inner_texts()
        share = f"{100 * var.loc[latent, 'reproducibility']:.0f}"
        assert lines[1] == (
            f"comes back {share} %: found in both halves of that share of 16 pairs of disjoint halves of the cells, "
            "with a correlation of at least 0.7"
        )
        assert lines[2] == said
        assert f"on above {var.loc[latent, 'threshold']:.2f}" in lines[3]
        assert page.locator(".badge.again").inner_text() == "comes back"
        assert page.locator(".residual-note").count() == 0


def test_the_card_of_a_residual_latent_says_that_it_is_no_finding(site: Site, asked: Site, visit: Any) -> None:
    page = visit(site, f"#/c/{RESIDUAL}")
    note = page.locator(".residual-note")
    share = open_atlas(site.atlas).concepts.var["reproducibility"].iloc[RESIDUAL]
    assert note.inner_text().startswith("This latent is residual, not a finding.")
    assert note.inner_text().endswith(
        "found in both halves of at least 80 % of 16 pairs of disjoint halves of the cells; "
        f"this one in {100 * share:.0f} %."
    )
    above = note.evaluate("(one) => one.compareDocumentPosition(document.querySelector('.meta'))")
    assert above & 4, "the note stands before everything that is told of it"
    settle(page)
    assert page.locator(".meta li").first.inner_text() == f"latent {RESIDUAL}"
    assert page.locator(".title .badge.residual").count() == 1
    assert page.locator("[data-of=clusters]").count() == 0
    drives = page.locator("section.panel", has=page.get_by_role("heading", name="Genes that drive it"))
    assert "Genes of residual latents are found only with --residual" in drives.inner_text()
    page = visit(asked, f"#/c/{RESIDUAL}")
    settle(page)
    assert page.locator(".residual-note").count() == 1
    drives = page.locator("section.panel", has=page.get_by_role("heading", name="Genes that drive it"))
    assert drives.get_by_role("img").count() >= 10
    assert "--residual" not in drives.inner_text()


def test_one_steps_from_concept_to_concept(live: Site, visit: Any) -> None:
    page = visit(live, f"#/c/{FINDINGS - 1}")
    page.get_by_role("link", name="Previous concept").wait_for()
    assert page.get_by_role("link", name="Next concept").count() == 0
    page.keyboard.press("]")
    page.keyboard.press("[")
    page.locator(".meta li", has_text=f"concept {FINDINGS - 2}").wait_for()
    page.goto(f"{live.url}#/c/{RESIDUAL}")
    page.get_by_role("link", name="Next residual latent").click()
    page.locator(".meta li", has_text=f"latent {RESIDUAL + 1}").wait_for()


def test_neighbours_and_marks_hide_residual_latents_too(live: Site, visit: Any, tmp_path: Path) -> None:
    page = visit(live, "#/c/2")
    for title in ("Nearest concepts", "Active in the same cells"):
        panel = page.locator("section.panel", has=page.get_by_role("heading", name=title))
        panel.wait_for()
        before = panel.locator("a").evaluate_all(LINKED)
        assert before
        assert max(before) < FINDINGS
        panel.get_by_label("Show residual latents").check()
        panel.locator(".badge.residual").first.wait_for()
        after = panel.locator("a").evaluate_all(LINKED)
        assert after[: len(before)] == before
        rows = read_csv(page, panel.get_by_role("button", name="CSV").click, tmp_path)
        assert [int(row["latent"]) for row in rows] == after
        assert [row["residual"] == "true" for row in rows] == [latent >= FINDINGS for latent in after]
        panel.get_by_label("Show residual latents").uncheck()
        panel.locator(".badge.residual").first.wait_for(state="detached")
    page.goto(f"{live.url}#/cells?pick=phase~1")
    save = page.get_by_label("Save the concepts that mark")
    save.wait_for()
    assert {int(row["latent"]) for row in read_csv(page, save.click, tmp_path)} == set(range(FINDINGS))
    page.locator(".chosen").get_by_label("Show residual latents").check()
    rows = read_csv(page, save.click, tmp_path)
    assert [row["residual"] for row in rows] == ["false"] * FINDINGS + ["true"] * (len(rows) - FINDINGS)
    assert len(rows) > FINDINGS


@pytest.mark.parametrize("view", ["gene=CD79A", "term=1"])
def test_a_gene_and_a_gene_set_lead_to_concepts_first(asked: Site, visit: Any, tmp_path: Path, view: str) -> None:
    page = visit(asked, f"#/search?{view}")
    rows = page.locator("tbody a[href^='#/c/']")
    rows.first.wait_for()
    assert max(rows.evaluate_all(LINKED)) < FINDINGS
    before = read_csv(page, page.get_by_label("Save the concepts of this").click, tmp_path)
    assert {row["residual"] for row in before} == {"false"}
    page.get_by_label("Show residual latents (1)").check()
    page.locator("tbody .badge.residual").wait_for()
    assert rows.evaluate_all(LINKED)[-1] == RESIDUAL
    assert "residual=1" in page.url
    after = read_csv(page, page.get_by_label("Save the concepts of this").click, tmp_path)
    assert [row for row in after if row["residual"] == "false"] == before
    assert after[-1]["residual"] == "true"


def test_the_search_finds_concepts_and_a_residual_latent_when_asked(site: Site, visit: Any) -> None:
    page = visit(site, "#/search?q=nk+cells")
    found = page.locator(".found section", has=page.get_by_role("heading", name="Concepts")).locator("li a")
    found.first.wait_for()
    var = open_atlas(site.atlas).concepts.var
    mine = var[(var["best_label"] == "CD56+ NK cells") & (var["density"] > 0)]
    wanted = mine["latent"].iloc[leading_order(mine)].tolist()
    assert any(latent >= FINDINGS for latent in wanted)
    shown = found.evaluate_all(LINKED)
    assert max(shown) < FINDINGS
    assert [latent for latent in shown if latent in wanted] == [latent for latent in wanted if latent < FINDINGS]
    page.get_by_label("Show residual latents").check()
    page.locator(".found .badge.residual").first.wait_for()
    shown = found.evaluate_all(LINKED)
    assert [latent for latent in shown if latent in wanted] == wanted
    ask = page.locator("main").get_by_role("combobox", name="Search concepts")
    ask.fill("naive")
    page.get_by_role("option").first.wait_for()
    offered = page.get_by_role("option").all_inner_texts()
    assert not any("#22" in one for one in offered)
    ask.fill("22")
    page.get_by_role("option", name="residual").wait_for()


def test_of_one_dictionary_nothing_is_said(bare_folder: Path, visit: Any, tmp_path: Path) -> None:
    site = reported(bare_folder, tmp_path)
    page = visit(site)
    assert page.locator(".hero .back").inner_text().startswith("One dictionary was fitted, so nothing says which")
    rows = latents(page)
    f1 = open_atlas(bare_folder).concepts.var.set_index("latent")["best_label_f1"].loc[rows]
    assert (np.diff(f1) <= 0).all()
    assert page.get_by_role("button", name="Comes back").count() == 0
    assert page.get_by_label("comes back", exact=False).count() == 0


def test_where_nothing_comes_back_home_says_so(full_folder: Path, visit: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    atlas = open_atlas(folder)
    concepts = atlas.concepts.to_memory() if atlas.concepts.isbacked else atlas.concepts.copy()
    var = concepts.var.assign(residual=True)
    write.write_concepts(folder, concepts.X.tocsc(), concepts.obs, concepts.obsm["X_umap"], var, dict(concepts.uns))
    page = visit(reported(folder, tmp_path), "#/")
    said = page.locator(".back").inner_text()
    assert said.startswith("No concept comes back in these cells.")
    assert "23 residual latents help to reconstruct" in said

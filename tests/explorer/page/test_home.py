"""The first page: what this is, how good it is, and the list of concepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.evidence import leading_order
from cellglass.atlas.summary import summarize
from explorer.page.saved import read_csv


def latents(page: Any) -> list[int]:
    """Return the numbers of the concepts that the list shows, from the top."""
    page.locator(".list .line").first.wait_for()
    lines = page.locator(".list .line")
    found = [(int(lines.nth(i).get_attribute("aria-rowindex")), lines.nth(i)) for i in range(lines.count())]
    return [int(line.locator("[role=cell]").first.inner_text()) for _, line in sorted(found, key=lambda pair: pair[0])]


def settle(page: Any, says: str) -> None:
    page.locator(".row .note", has_text=says).first.wait_for()


def test_it_says_what_model_and_cells_these_are(site: Any, visit: Any, keep: Any) -> None:
    page = visit(site)
    page.locator("h1", has_text="18 concepts inside scVI").wait_for()
    told = page.locator(".hero .back").inner_text()
    assert "18 concepts come back: each was found in both halves of at least 80 % of 16 pairs of disjoint" in told
    assert "5 residual latents help to reconstruct and are not findings." in told
    facts = page.locator(".facts").inner_text()
    assert "700 from synthetic cells" in facts
    assert "consensus dictionary, 24 latents" in facts
    assert "_" not in facts, "names of fields are no words"
    assert page.locator(".glimpses li").count() == 6
    shown = page.locator("#list-title + p + .tools")
    assert shown.count() == 1
    keep(page, f"home-{site.kind}")


def test_quality_stands_beside_its_nulls(live: Any, visit: Any, tmp_path: Path) -> None:
    page = visit(live)
    records = {
        record["metric"]: record for record in open_atlas(live.atlas).evaluation.reset_index().to_dict("records")
    }
    explained = records["fidelity.variance_explained"]
    tile = page.locator(".tile", has_text="Variance explained")
    assert f"{explained['value']:.2f}" in tile.inner_text()
    assert f"its null: {explained['null']:.2f}" in tile.inner_text() or explained["null"] is None
    plot = page.locator(".plot", has_text="Does one concept stand for one kind of cell?")
    assert plot.get_by_role("listitem").all_inner_texts()[:2] == ["concepts", "neurons"]
    assert "k-means clusters" in plot.get_by_role("listitem").all_inner_texts()
    row = plot.get_by_role("img", name="CD19+ B cells: concepts")
    best = records["alignment.cell type.CD19+ B cells.concepts"]["value"]
    assert f"concepts {best:.2f}" in row.get_attribute("aria-label")
    plot.get_by_role("tab", name="phase").click()
    assert plot.get_by_role("img", name="G1: concepts").count() == 1
    assert "aligned=phase" in page.url
    genes = page.locator(".plot", has_text="Do the genes mean something?")
    assert "null" in genes.get_by_role("img").first.get_attribute("aria-label")
    said = page.locator("#quality-title ~ .verdict, .plot .verdict").all_inner_texts()
    verdicts = summarize(open_atlas(live.atlas))["verdicts"]
    assert set(said) == {text for name, text in verdicts.items() if name != "alignment.cell type"}, (
        "as the terminal says"
    )
    rows = read_csv(page, lambda: page.get_by_label("Save the measurements as CSV").dispatch_event("click"), tmp_path)
    assert {row["metric"] for row in rows} == set(records)


def test_the_audit_is_the_terminals_with_what_is_wrong_first(site: Any, visit: Any, tmp_path: Path) -> None:
    page = visit(site, "#/")
    section = page.locator("section", has=page.locator("#audit-title"))
    expected = {one.asks: one for one in open_atlas(site.atlas).audit()}
    rows = section.get_by_role("listitem")
    shown = [row.get_by_role("heading").inner_text() for row in rows.all()]
    assert sorted(shown) == sorted(expected)
    verdicts = [expected[asks].verdict for asks in shown]
    order = ["fails", "doubtful", "not known", "holds"]
    assert verdicts == sorted(verdicts, key=order.index)
    for row, asks in zip(rows.all(), shown, strict=True):
        text, one = row.inner_text(), expected[asks]
        assert one.verdict in text
        assert one.figures[1:] in text
        assert one.where in text
        assert one.remedy[1:] in text
    saved = read_csv(page, lambda: page.get_by_label("Save the audit as CSV").dispatch_event("click"), tmp_path)
    assert [row["question"] for row in saved] == shown


def test_the_list_is_sorted_by_what_is_asked(site: Any, visit: Any) -> None:
    page = visit(site, "#/concepts")
    var = open_atlas(site.atlas).concepts.var
    alive = var[var["density"] > 0]
    alive = alive[~alive["residual"]]
    assert latents(page) == alive["latent"].iloc[leading_order(alive)].tolist(), "what comes back leads"
    for name, column in (("Cells", "density"), ("Comes back", "reproducibility")):
        page.get_by_role("button", name=name, exact=True).click()
        page.locator(f".head [aria-sort=descending]:has-text('{name}')").wait_for()
        values = alive.set_index("latent")[column]
        shown = values.loc[latents(page)].to_numpy()
        assert (np.diff(shown) <= 0).all(), name
    page.get_by_role("button", name="Comes back").click()
    page.locator(".head [aria-sort=ascending]:has-text('Comes back')").wait_for()
    assert (np.diff(alive.set_index("latent")["reproducibility"].loc[latents(page)].to_numpy()) >= 0).all()
    page.go_back()
    page.locator(".head [aria-sort=descending]:has-text('Comes back')").wait_for()


def test_the_list_is_filtered_by_anything(live: Any, visit: Any, tmp_path: Path) -> None:
    page = visit(live, "#/concepts")
    var = open_atlas(live.atlas).concepts.var
    alive = var[(var["density"] > 0) & ~var["residual"]]
    page.get_by_label("Filter the list by words").fill("cd79a b cells")
    wanted = alive[(alive["top_gene"] == "CD79A") & (alive["best_label"] == "CD19+ B cells")]["latent"]
    settle(page, f"{len(wanted)} of 18")
    assert set(latents(page)) == set(wanted)
    page.get_by_role("button", name="Clear the filters").click()
    page.get_by_role("combobox", name="Label", exact=True).select_option("CD56+ NK cells")
    settle(page, f"{(alive['best_label'] == 'CD56+ NK cells').sum()} of 18")
    assert set(latents(page)) == set(alive[alive["best_label"] == "CD56+ NK cells"]["latent"])
    page.goto(f"{live.url}#/concepts?least=15&most=19.5&found=90")
    kept = alive[(alive["density"] >= 0.15) & (alive["density"] <= 0.195) & (alive["reproducibility"] >= 0.9)]["latent"]
    assert 0 < len(kept) < len(alive)
    settle(page, f"{len(kept)} of 18")
    assert set(latents(page)) == set(kept)
    rows = read_csv(page, page.get_by_label("Save the list as CSV").click, tmp_path)
    assert {int(row["latent"]) for row in rows} == set(kept)
    density = alive.set_index("latent")["density"]
    assert all(abs(float(row["density"]) - density[int(row["latent"])]) < 1e-4 for row in rows)
    page.goto(f"{live.url}#/concepts?q=no+such+thing")
    page.get_by_text("Nothing has “no such thing” in its name").wait_for()
    page.goto(f"{live.url}#/concepts?silent=1&residual=1")
    settle(page, "24 latents")


def test_what_was_noted_and_rated_is_found(live: Any, visit: Any) -> None:
    page = visit(live, "#/concepts")
    page.locator(".list .line").first.wait_for()
    write = """async ([path, body]) => (await fetch(path, {
        method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body)})).json()"""
    note = {
        "latent": 12,
        "who": "Ada",
        "label": "a name by hand",
        "text": "",
        "confidence": 4,
        "tags": [],
        "status": "agreed",
    }
    made = page.evaluate(write, ["api/notes", {**note, "base": None}])
    try:
        page.goto(f"{live.url}#/concepts?rated=yes&status=agreed")
        page.reload()
        page.get_by_role("link", name="a name by hand").wait_for()
        assert 12 in latents(page)
        page.goto(f"{live.url}#/concepts?noted=no")
        page.get_by_role("link", name="a name by hand").wait_for(state="detached")
        assert 12 not in latents(page)
    finally:
        page.evaluate(write, ["api/notes/undo", {"latent": 12, "who": "Ada", "base": made["person"]["id"]}])


def test_the_heat_map_is_of_the_atlas_and_leads_to_cells_and_cards(
    site: Any, visit: Any, tmp_path: Path, keep: Any
) -> None:
    page = visit(site)
    grid = page.get_by_role("grid", name="Mean activation of concepts in the values of cell type")
    grid.wait_for()
    concepts = open_atlas(site.atlas).concepts
    of, dense = concepts.obs["cell type"].astype(str), concepts.X.toarray()
    values = grid.locator("thead th").all_inner_texts()[1:]
    rows = read_csv(page, page.get_by_label("Save the heat map as CSV").click, tmp_path)
    assert len(rows) == 18 * 8
    assert [row["value"] for row in rows[:8]] == values
    labels = grid.locator("tbody tr").first.locator("td").evaluate_all("(all) => all.map((one) => one.ariaLabel)")
    means = np.array([dense[of == value, int(rows[0]["latent"])].mean() for value in values])
    assert [float(label.split()[0]) for label in labels] == pytest.approx(100 * means / means.max(), abs=0.6)
    assert page.get_by_text("All 18 concepts shown.").or_(page.get_by_text("18 concepts shown, ")).count()
    grid.locator("tbody a").first.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    row = rows[8 + 1]
    said = page.locator(".says").inner_text()
    assert said.startswith(f"{row['name']} × {row['value']}: on in ")
    assert f"of its {row['cells']} cells ({row['cells_on']})" in said
    assert f"F1 {float(row['f1']):.2f}, null {float(row['f1_null']):.2f} (shuffled labels)" in said or "10⁻" in said
    assert grid.locator("[tabindex='0']").count() == 1, "one place is in the tab order"
    page.get_by_role("button", name="F1", exact=True).click()
    page.get_by_role("grid", name="F1 of concepts").wait_for()
    assert "measure=f1" in page.url
    best = grid_labels(page)
    f1 = np.array([float(one["f1"]) if float(one["f1"]) > float(one["f1_null"]) else 0 for one in rows])
    assert best == pytest.approx(100 * f1, abs=0.6), "no better than its null is drawn as nothing"
    keep(page, f"heat-map-{site.kind}")
    page.locator(".heat").get_by_label("Show residual latents (5)").check()
    page.locator(".heat tbody tr").nth(22).wait_for()
    page.locator(".heat").get_by_role("combobox", name="Label").select_option("phase")
    page.get_by_role("grid", name="in the values of phase").wait_for()
    page.goto(f"{site.url}#/?measure=share")
    page.get_by_role("grid", name="Share of cells of concepts in the values of cell type").wait_for()
    page.get_by_role("gridcell").nth(9).click()
    page.locator(".pane h2 .concept").wait_for()
    assert f"colour=c:{row['latent']}&pick=" in page.url
    page.get_by_text(f"{row['cells']} cells selected").wait_for()
    page.go_back()
    page.get_by_role("grid").locator("tbody a").first.click()
    page.locator(".meta li", has_text=f"concept {rows[0]['latent']}").wait_for()


def grid_labels(page: Any) -> list[float]:
    """Return what the places of the heat map say, in percent, row by row."""
    said = page.get_by_role("gridcell").evaluate_all("(all) => all.map((one) => one.ariaLabel)")
    return [float(one.split()[0]) for one in said]

"""Selections, live and in a report: made in every way, kept, combined, compared, taken along and put back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, ttest_rel

from cellglass.atlas import open_atlas
from explorer.page.conftest import run_here
from explorer.page.saved import read_csv
from explorer.page.test_cells import activation

KIND = "CD19+ B cells"


def put_back(page: Any, file: Path, expect: str) -> None:
    page.get_by_label("Names of cells from a file").set_input_files(file)
    page.get_by_text(expect).wait_for()


def save(page: Any, name: str) -> None:
    page.get_by_label("Name of the selection").fill(name)
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Save selection").click()
    page.get_by_text(f"Saved “{name}”").wait_for()


def selected(page: Any, n: int) -> None:
    page.get_by_role("heading", name=f"{n} selected cells", exact=True).wait_for()


def test_cells_are_selected_kept_compared_and_put_back(site: Any, visit: Any, tmp_path: Path, keep: Any) -> None:
    concepts = open_atlas(site.atlas).concepts
    kind = (concepts.obs["cell type"] == KIND).to_numpy()
    values = activation(concepts, 9)
    cut = values >= 0.9
    code = 1 + list(concepts.obs["cell type"].cat.categories).index(KIND)
    page = visit(site, f"#/cells?colour=label:cell%20type&pick=cell%20type~{code}")
    selected(page, kind.sum())
    save(page, "B <b>")
    page.get_by_label("Colour by").first.select_option("Concept")
    page.get_by_label("Concept: number or name").first.fill("9")
    page.keyboard.press("Enter")
    page.get_by_label("Value to select by").fill("0.9")
    page.get_by_role("button", name="Select", exact=True).click()
    selected(page, cut.sum())
    save(page, "strong")
    page.reload()
    selected(page, cut.sum())
    page.get_by_label("First selection").select_option(label="B <b>")
    page.get_by_label("How", exact=True).select_option("but not")
    page.get_by_label("Second selection").select_option(label="strong")
    page.get_by_role("button", name="Select these").click()
    weak = kind & ~cut
    selected(page, weak.sum())
    save(page, "weak")
    rows = read_csv(page, page.get_by_role("button", name="CSV of weak").click, tmp_path)
    assert [row["cell"] for row in rows] == concepts.obs_names[weak].tolist()
    assert [row["cell type"] for row in rows] == [KIND] * weak.sum()
    np.testing.assert_allclose([float(row["concept_9"]) for row in rows], values[weak], rtol=1e-6)
    np.testing.assert_allclose([float(row["x"]) for row in rows], concepts.obsm["X_umap"][weak, 0], atol=1e-3)

    # one against another, by cells and by donors
    page.get_by_label("Compare with").select_option(label=f"strong ({cut.sum()})")
    page.get_by_label("By donor").select_option("phase")
    page.get_by_text("paired t test over 3 donors").wait_for()
    marks = read_csv(page, page.get_by_label("Save the concepts that mark").click, tmp_path)
    phase = concepts.obs["phase"].to_numpy()
    for row in marks[:6]:
        level = activation(concepts, int(row["latent"]))
        test = mannwhitneyu(level[weak], level[cut])
        assert float(row["auc"]) == pytest.approx(test.statistic / weak.sum() / cut.sum(), abs=1e-4)
        assert float(row["difference"]) == pytest.approx(level[weak].mean() - level[cut].mean(), abs=1e-4)
        means = [[level[side & (phase == one)].mean() for one in ("G1", "S", "G2M")] for side in (weak, cut)]
        assert float(row["donor_difference"]) == pytest.approx(np.mean(means[0]) - np.mean(means[1]), abs=1e-4)
        assert float(row["donor_q"]) >= ttest_rel(*means).pvalue * 0.999
    assert page.get_by_role("heading", name="Which genes mark them").count() == 1
    keep(page, f"selections-{site.kind}", full=True)

    # renamed, deleted, taken back
    page.get_by_role("button", name="Rename weak").click()
    page.get_by_label("New name").fill("faint")
    page.get_by_role("button", name="Save name").click()
    page.get_by_role("button", name="Delete faint").click()
    page.get_by_text("Deleted “faint”").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Show faint").wait_for()

    # taken along and put back, with names that are no cells
    with page.expect_download() as got:
        page.get_by_role("button", name="Barcodes of faint").click()
    got.value.save_as(tmp_path / "b.txt")
    names = (tmp_path / "b.txt").read_text().split()
    assert names == concepts.obs_names[weak].tolist()
    (tmp_path / "b.txt").write_text("\n".join(["barcode", *names, names[0], "nobody", "<i>none"]))
    put_back(page, tmp_path / "b.txt", f"{len(names)} cells of b.txt found; 1 names stood more than once")
    assert "2 names are no cell" in page.locator("[data-of=missing]").inner_text()
    assert "nobody, <i>none" in page.locator("[data-of=missing]").inner_text()
    selected(page, weak.sum())
    (tmp_path / "b.txt").write_text("nobody\n")
    put_back(page, tmp_path / "b.txt", "None of the 1 names")


@pytest.mark.parametrize("kind", ["report", pytest.param("static", marks=pytest.mark.slow)])
def test_a_file_from_a_browser_is_merged_and_shown_to_all(
    kind: str, request: pytest.FixtureRequest, live: Any, visit: Any, tmp_path: Path
) -> None:
    page = visit(request.getfixturevalue(kind), "#/cells?colour=label:phase&pick=phase~2")
    save(page, f"S phase, {kind}")
    with page.expect_download() as got:
        page.get_by_role("button", name="Save my selections as a file").click()
    got.value.save_as(tmp_path / "s.json")
    told = json.loads(
        run_here("selections", live.atlas, "--notes", live.notes, "--merge", tmp_path / "s.json", "--json")
    )
    assert told["merged"] == 1
    shown = visit(live, "#/cells")
    shown.get_by_role("button", name=f"Show S phase, {kind}").click()
    n = (open_atlas(live.atlas).concepts.obs["phase"] == "G2M").sum()
    selected(shown, n)
    wrong = json.loads((tmp_path / "s.json").read_text()) | {"cells": "other"}
    (tmp_path / "w.json").write_text(json.dumps(wrong))
    put_back(page, tmp_path / "w.json", "selections of other cells than this atlas has")

"""Two concepts compared, live and in a report: the numbers are those of the atlas, and lists and cards lead there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellglass.atlas import open_atlas
from explorer.page.saved import read_csv

A, B = 1, 9  # both of CD19+ B cells


def test_two_concepts_are_compared_as_the_atlas_has_them(site: Any, visit: Any, tmp_path: Path, keep: Any) -> None:
    page = visit(site, "#/concepts")
    for latent in (0, A, B):  # the third takes the place of the first
        page.locator(f"input[aria-label$='(concept {latent})']").check()
    page.get_by_role("region", name="Concepts to compare").get_by_role("link", name="Compare").click()
    page.wait_for_url(f"**/compare?a={A}&b={B}")
    concepts = open_atlas(site.atlas).concepts
    a, b = (np.asarray(concepts.X[:, [latent]].todense()).ravel() for latent in (A, B))
    both, any_on = (a > 0) & (b > 0), (a > 0) | (b > 0)
    wanted = {"both": both.sum(), "only-a": (a > 0).sum() - both.sum(), "only-b": (b > 0).sum() - both.sum()}
    page.locator("[data-of=both]").wait_for()
    for name, count in {**wanted, "neither": (~any_on).sum()}.items():
        assert page.locator(f"[data-of={name}]").inner_text() == str(count), name
    assert float(page.locator("[data-of=jaccard]").inner_text()) == pytest.approx(both.sum() / any_on.sum(), abs=0.0051)
    correlation = float(page.locator("[data-of=correlation]").inner_text().replace("−", "-"))
    assert correlation == pytest.approx(np.corrcoef(a, b)[0, 1], abs=0.0051)
    rows = read_csv(page, page.get_by_label("Save the cells of both by label").click, tmp_path)
    kinds = concepts.obs["cell type"]
    for row in rows:
        inside = (
            np.ones(len(a), bool)
            if row["value"] == "all cells"
            else (concepts.obs[row["label"]] == row["value"]).to_numpy()
        )
        assert [int(row[name]) for name in ("cells", "both", "neither")] == [
            inside.sum(),
            both[inside].sum(),
            (~any_on[inside]).sum(),
        ]
        if row["correlation"]:
            assert float(row["correlation"]) == pytest.approx(np.corrcoef(a[inside], b[inside])[0, 1], abs=1e-5)
    assert {row["value"] for row in rows if row["label"] == "cell type"} == set(kinds.cat.categories)
    table = open_atlas(site.atlas).genes()
    table = table[(table["method"] == "swap") & (table["score"] > 0)].sort_values("score", ascending=False)
    first = [set(table[table["concept"] == latent]["gene"].head(30)) for latent in (A, B)]
    page.get_by_role("tab", name="Swap").first.click()
    assert page.locator("[data-of=shared-genes]").inner_text() == f"{len(first[0] & first[1])} of 30"
    genes = read_csv(page, page.get_by_label("Save the genes of both").click, tmp_path)
    for row in [row for row in genes if row["method"] == "swap/activation" and row["listed_by"] == "both"][:5]:
        for latent, column in ((A, "effect_a"), (B, "effect_b")):
            found = table[(table["concept"] == latent) & (table["gene"] == row["gene"])]["effect"]
            assert not len(found) or abs(float(row[column])) == pytest.approx(float(found.iloc[0]), rel=1e-3)
    assert page.locator("[data-of=shared-sets]").inner_text().split(" of ")[1].isdigit()
    keep(page, f"compare-{site.kind}", full=True)
    page.goto(f"{site.url}#/c/{A}")
    page.get_by_label("Compare with: number or name of a concept").fill("#3")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/compare?a={A}&b=3")
    page.goto(f"{site.url}#/compare?a={A}&b=999")
    page.get_by_text("The atlas has no concept 999").wait_for()

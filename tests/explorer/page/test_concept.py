"""A concept's card: what it shows is what the atlas holds, and every table of it can be had as CSV."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas import open_atlas
from explorer.conftest import add_foreign
from explorer.page.conftest import Site, start_live, stop
from explorer.page.saved import read_csv

LATENT = 3


@pytest.fixture(scope="module")
def tokens(token_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    process, url = start_live(token_folder, tmp_path_factory.mktemp("tokens") / "notes.sqlite")
    yield Site(url, True, token_folder, None)
    stop(process)


@pytest.fixture(scope="module")
def foreign(full_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = Path(shutil.copytree(full_folder, tmp_path_factory.mktemp("foreign") / "atlas"))
    add_foreign(folder)
    process, url = start_live(folder, folder.parent / "notes.sqlite")
    yield Site(url, True, folder, None)
    stop(process)


def panel(page: Any, title: str) -> Any:
    return page.locator("section.panel", has=page.get_by_role("heading", name=title, exact=True))


def table(page: Any, title: str, folder: Path) -> list[dict[str, str]]:
    return read_csv(page, panel(page, title).get_by_role("button", name="CSV").first.click, folder)


def close(shown: str, value: float) -> bool:
    return bool(np.isclose(float(shown), value, rtol=2e-3, atol=1e-6))


def test_its_genes_and_pathways_are_those_of_the_atlas(site: Any, visit: Any, keep: Any, tmp_path: Path) -> None:
    page = visit(site, f"#/c/{LATENT}")
    panel(page, "Genes that drive it").wait_for()
    truth = pd.read_parquet(site.atlas / "genes.parquet").query("concept == @LATENT")
    rows = table(page, "Genes that drive it", tmp_path)
    assert {row["method"] for row in rows} == set(truth["method"])
    indexed = truth.set_index(["method", "on", "gene"])
    assert len(rows) >= 100
    for row in rows:
        there = indexed.loc[(row["method"], row["on"], row["gene"])]
        assert close(row["effect"], there["effect"])
        assert not row["se"] or close(row["se"], there["se"])
    drives = panel(page, "Genes that drive it")
    top = truth[truth["method"] == "path"].sort_values("score", ascending=False).iloc[0]
    first = drives.get_by_role("img").first
    told = re.match(r"(.+): (.+) % ± (.+) % of the rise, its presence drives", first.get_attribute("aria-label"))
    assert told
    assert told[1] == top["symbol"]
    assert [float(told[2]), float(told[3])] == pytest.approx([100 * top["effect"], 100 * top["se"]], abs=0.06)
    lead = drives.locator(".lead").inner_text()
    assert lead == f"{top['symbol']} accounts for {told[2]} % of the rise from partner to prototype."
    lost = truth[(truth["method"] == "path") & (truth["score"] < 0)].sort_values("score").iloc[0]
    named = drives.get_by_role("img", name=f"{lost['symbol']}: −")
    told = re.search(r"−([\d.]+) %", named.get_attribute("aria-label"))
    assert told
    assert float(told[1]) == pytest.approx(100 * lost["effect"], abs=0.06)
    assert "its absence drives the concept" in named.get_attribute("aria-label")
    assert drives.get_by_text("− Its absence drives the concept").count() == 1
    assert first.locator(".whisker").count() == 1, "an effect has its error bar"
    assert "share of the concept’s rise from partner to prototype" in drives.inner_text()
    heads = page.locator("section.panel h2").all_inner_texts()
    assert heads == [
        "Cells that it marks", "What its cells are", "Strongest cells", "Activation", "Genes that drive it",
        "Beside it: differential expression", "Gene-set enrichment", "How sure it is", "Beside a neuron",
        "Nearest concepts", "Active in the same cells", "Prototypes and partners", "Notes",
    ]  # fmt: skip
    beside = panel(page, "Beside it: differential expression")
    assert beside.locator(".ranks thead").inner_text().split()[-1] == "DE"
    flagged = [name.lstrip("≠ ") for name in beside.locator(".ranks tbody th").all_inner_texts() if "≠" in name]
    ranks = truth.assign(rank=truth.groupby("method")["score"].rank(ascending=False, method="first"))
    wide = ranks.pivot_table(index="symbol", columns="method", values="rank")
    for symbol in flagged:
        assert wide.loc[symbol].min() <= 5
        assert wide.loc[symbol].max() > 20, symbol
    sets = (
        pd.read_parquet(site.atlas / "pathways.parquet")
        .query("concept == @LATENT")
        .set_index(["source", "test", "ranking", "term"])
    )
    rows = table(page, "Gene-set enrichment", tmp_path)
    assert rows
    for row in rows:
        there = sets.loc[(row["source"], row["test"], row["ranking"], row["term"])]
        assert close(row["q"], there["q"])
        assert not row["null_q"] or close(row["null_q"], there["null_q"])
        assert set(row["leading_edge"].split(";")) == set(there["leading_edge"].split(";"))
    told = panel(page, "Gene-set enrichment").get_by_role("img").first.get_attribute("aria-label")
    assert "null q" in told
    lost = sets[(sets["statistic"] < 0) & (sets["q"] < 0.05) & (sets["null_q"] < 0.05)].loc["cellglass"]
    for term in lost.loc["gsea", "path"].index:
        entry = panel(page, "Gene-set enrichment").locator("li", has_text=term)
        assert entry.get_by_role("img").get_attribute("aria-label").startswith("depleted; null q")
    keep(page, f"card-{site.kind}", full=True)


def test_its_cells_are_those_of_the_atlas(live: Any, visit: Any, tmp_path: Path) -> None:
    page = visit(live, f"#/c/{LATENT}")
    panel(page, "What its cells are").wait_for()
    concepts = open_atlas(live.atlas).concepts
    place = concepts.var["latent"].tolist().index(LATENT)
    x = np.asarray(concepts.X[:, [place]].todense()).ravel()
    for row in table(page, "What its cells are", tmp_path):
        inside = (concepts.obs[row["label"]].astype(str) == row["value"]).to_numpy()
        assert int(row["cells"]) == inside.sum()
        assert int(row["active"]) == (x[inside] > 0).sum()
        assert close(row["share_active"], (x[inside] > 0).mean())
    rows = pd.DataFrame(table(page, "Activation", tmp_path))
    every = rows[rows["label"] == ""]["cells"].astype(int)
    assert (every.iloc[0], every.sum()) == ((x == 0).sum(), len(x)), "silent cells have a row of their own"
    drawn = panel(page, "Activation").locator(".hist")
    assert f"{(x == 0).sum()} of {len(x)} cells are silent" in drawn.get_attribute("aria-label")
    level = concepts.var["threshold"].iloc[place]
    cut = drawn.locator(".cut").evaluate("(one) => parseFloat(one.style.left)")
    assert cut == pytest.approx(100 * level / x.max(), abs=0.05), "the threshold is drawn where it lies"
    top = table(page, "Strongest cells", tmp_path)
    order = np.argsort(-x, kind="stable")[: len(top)]
    assert [row["cell"] for row in top] == concepts.obs_names[order].tolist()
    assert [row["cell type"] for row in top] == concepts.obs["cell type"].iloc[order].astype(str).tolist()
    assert all(close(row["activation"], x[cell]) for row, cell in zip(top, order, strict=True))
    for (label, value), bins in rows[rows["label"] != ""].groupby(["label", "value"]):
        inside = (concepts.obs[label].astype(str) == value).to_numpy()
        assert bins["cells"].astype(int).sum() == (x[inside] > 0).sum()
    every = np.asarray(concepts.X.todense())
    r = np.corrcoef(every[:, every.std(0) > 0].T)[[list(np.flatnonzero(every.std(0) > 0)).index(place)]].ravel()
    by_latent = dict(zip(concepts.var["latent"][every.std(0) > 0], r, strict=True))
    rows = table(page, "Active in the same cells", tmp_path)
    assert len(rows) >= 3
    assert all(abs(float(row["correlation"]) - by_latent[int(row["latent"])]) < 2e-3 for row in rows)
    assert float(table(page, "Nearest concepts", tmp_path)[0]["cosine"]) <= 1
    meta = page.locator(".meta").inner_text()
    assert f"{int((x > 0).sum())}" in meta


def test_prototypes_and_partners_differ_gene_by_gene(live: Any, visit: Any, tmp_path: Path) -> None:
    page = visit(live, f"#/c/{LATENT}")
    pairs = panel(page, "Prototypes and partners")
    pairs.wait_for()
    counts = open_atlas(live.atlas).expression
    real = pd.read_parquet(live.atlas / "pairs.parquet").query("concept == @LATENT and kind == 'real'")
    rows = table(page, "Prototypes and partners", tmp_path)
    cells = counts.obs_names
    names = {(cells[one], cells[other]) for one, other in zip(real["prototype"], real["partner"], strict=True)}
    assert {(row["prototype"], row["partner"]) for row in rows} <= names
    for row in rows[:: max(1, len(rows) // 40)]:
        gene = counts.var_names.get_loc(row["gene"])
        for cell, column in ((row["prototype"], "count_in_prototype"), (row["partner"], "count_in_partner")):
            assert float(row[column]) == counts.X[counts.obs_names.get_loc(cell), gene]
    prototype = pairs.get_by_role("combobox", name="Prototype")
    before = pairs.locator(".pair").all_inner_texts()
    prototype.select_option(index=1)
    assert "prototype=1" in page.url
    assert pairs.locator(".pair").all_inner_texts() != before
    chosen = prototype.locator("option:checked").inner_text()
    page.reload()
    prototype.wait_for()
    assert prototype.locator("option:checked").inner_text() == chosen


def test_the_link_brings_the_choices_back_and_the_concept_is_left_by_keys(live: Any, visit: Any) -> None:
    page = visit(live, f"#/c/{LATENT}")
    drives = panel(page, "Genes that drive it")
    drives.get_by_role("tab", name="Knock-out").click()
    panel(page, "What its cells are").get_by_role("tab", name="phase").click()
    assert "method=Knock-out" in page.url
    assert "label=phase" in page.url
    other = visit(live, page.url.removeprefix(live.url))
    assert panel(other, "Genes that drive it").get_by_role("tab", selected=True).inner_text() == "Knock-out"
    assert panel(other, "Activation").get_by_role("tab", selected=True).inner_text() == "phase"
    assert "when this one gene’s count is set to zero" in panel(other, "Genes that drive it").inner_text()
    title = other.locator("h1").inner_text()
    other.keyboard.press("]")
    other.locator(".meta b").first.get_by_text(str(LATENT + 1), exact=True).wait_for()
    assert other.locator("h1").inner_text() != title
    other.go_back()
    other.get_by_role("heading", name=title).wait_for()
    other.goto(f"{live.url}#/c/999")
    other.get_by_text("There is no concept 999").wait_for()


def test_tokens_stand_on_the_card_where_the_atlas_has_them(tokens: Any, visit: Any, tmp_path: Path) -> None:
    page = visit(tokens, f"#/c/{LATENT}")
    panel(page, "Tokens that it fires on").wait_for()
    truth = pd.read_parquet(tokens.atlas / "tokens.parquet").query("concept == @LATENT").set_index("gene")
    rows = table(page, "Tokens that it fires on", tmp_path)
    assert len(rows) >= 15
    assert all(close(row["part"], truth.loc[row["gene"], "part"]) for row in rows)
    assert "gene identity" in page.locator(".sure").inner_text()


def test_names_that_the_page_does_not_know_show_as_themselves(foreign: Site, visit: Any) -> None:
    page = visit(foreign, f"#/c/{LATENT}")
    drives = panel(page, "Genes that drive it")
    drives.get_by_role("tab", name="Swap = a-new-one", exact=True).click()  # the same rows are shown once
    assert drives.get_by_role("img").count() >= 10
    common = panel(page, "Gene-set enrichment")
    common.get_by_role("combobox", name="Test").select_option("fisher")
    assert common.get_by_role("combobox", name="Genes ranked by").locator("option").all_inner_texts() == ["a-new-one"]
    common.get_by_role("combobox", name="Gene sets").select_option("hallmark")
    assert common.get_by_role("img").count() >= 1
    assert "test=fisher" in page.url
    ranks = panel(page, "Beside it: differential expression").locator(".ranks thead").inner_text()
    assert "a-new-one" in ranks
    page.goto(foreign.url + "#/")
    means = page.locator(".plot", has_text="Do the genes mean something?")
    assert means.get_by_text("hallmark, fisher", exact=True).count() == 1
    aligned = page.locator(".plot", has_text="Does one concept stand for one kind of cell?")
    assert aligned.get_by_role("listitem").all_inner_texts()[-1] == "a-new-one"

"""The summary holds what the atlas holds, as plain JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from cellglass.atlas import open_atlas, write
from cellglass.atlas.evidence import leading_order
from cellglass.atlas.summary import extreme_genes, strongest, summarize
from cellglass.attribution.registry import gene_rankings


def test_a_summary_is_json_of_what_the_atlas_holds(atlas_folder: Path) -> None:
    atlas = open_atlas(atlas_folder)
    summary = json.loads(json.dumps(summarize(atlas), allow_nan=False))
    assert [record["metric"] for record in summary["evaluation"]] == atlas.evaluation.index.tolist()
    alive = atlas.concepts.var.query("density > 0")
    assert [concept["name"] for concept in summary["concepts"]] == alive.index[leading_order(alive)].tolist()
    cells = atlas.concepts.obs["cell type"].astype(str).value_counts()
    for concept in summary["concepts"]:
        share = cells[concept["best_label"]] / cells.sum()
        assert concept["best_label_n"] == cells[concept["best_label"]]
        assert abs(concept["best_label_null"] - 2 * share / (1 + share)) < 1e-9
        assert {"symbol", "score", "q"} == set(concept["genes"][0])
    assert str(atlas.concepts.n_obs) in summary["title"].replace(",", "")


def test_a_summary_says_what_other_seeds_found_and_of_one_seed_that_nothing_is_known(
    atlas_folder: Path, hostile_folder: Path
) -> None:
    atlas = open_atlas(atlas_folder)
    summary = summarize(atlas)
    assert summary["consensus"] == int(atlas.concepts.var["consensus"].sum())
    assert summary["other_seeds"] == 4
    for concept in summary["concepts"]:
        row = atlas.concepts.var.loc[concept["name"]]
        assert (concept["found_in"], concept["consensus"]) == (row["found_in"], row["found_in"] >= 3)
    alone = summarize(open_atlas(hostile_folder))
    assert (alone["consensus"], alone["other_seeds"]) == (None, 0)
    assert {(c["found_in"], c["consensus"]) for c in alone["concepts"]} == {(None, None)}


def test_the_strongest_genes_are_those_of_the_first_ranking_significant_ones_first(atlas_folder: Path) -> None:
    table = pd.read_parquet(atlas_folder / "genes.parquet")
    rng = np.random.default_rng(0)
    table["score"] *= rng.choice([1, -1], len(table)).astype("float32")
    table["q"] = np.where(rng.random(len(table)) < 0.02, 0.01, 0.4).astype("float32")
    path = atlas_folder.parent / "signed" / "genes.parquet"
    path.parent.mkdir(exist_ok=True)
    write.write_genes(path.parent, [table])
    method, on = next(
        pair for pair in gene_rankings() if ((table["method"] == pair[0]) & (table["on"] == pair[1])).any()
    )
    ends = extreme_genes(path, n=99)
    for concept, rows in table[(table["method"] == method) & (table["on"] == on)].groupby("concept"):
        keys = [(q >= 0.05, -abs(score), symbol) for symbol, score, q in rows[["symbol", "score", "q"]].to_numpy()]
        found = strongest(*ends[concept], n=3)
        assert [gene["symbol"] for gene in found] == [key[2] for key in sorted(keys)[:3]]
        assert [gene["symbol"] for gene in strongest(*ends[concept], n=999)][:3] == [key[2] for key in sorted(keys)[:3]]
        assert all(score < 0 for score in ends[concept][1].score)


def test_how_genes_meet_is_read_from_atlases_of_any_age() -> None:
    from cellglass.atlas.summary import coverage, gene_sets

    old = {"found": np.int64(5), "missing": 0, "unknown": 2}
    assert coverage({"model": {"kind": "scvi", "coverage": old}}) == {"found": 5, "missing": 0, "unknown": 2}
    new = coverage({"model": {"coverage": {**old, "counts": np.float32(0.5), "more": 1}}})
    assert new == {"found": 5, "missing": 0, "unknown": 2, "counts": 0.5}
    assert json.dumps(new)
    assert coverage({"model": {"kind": "embedding"}}) is None
    assert coverage({}) is coverage({"model": "scvi"}) is None
    mapped = {"sources": np.array(["bundled"]), "mapped": np.array(["bundled"])}
    assert gene_sets({"gene_sets": mapped}) == {"sources": ["bundled"], "mapped": ["bundled"]}
    assert gene_sets({"gene_sets": {"sources": np.array([]), "mapped": np.array([])}}) == {"sources": [], "mapped": []}
    assert gene_sets({}) is None

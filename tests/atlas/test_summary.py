"""The summary holds what the atlas holds, as plain JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from cellglass.atlas import open_atlas, write
from cellglass.atlas.evidence import leading_order
from cellglass.atlas.summary import beyond_clusters, extreme_genes, strongest, summarize
from cellglass.attribution.registry import gene_rankings
from synthetic import make_atlas


def test_a_summary_is_json_of_what_the_atlas_holds(atlas_folder: Path) -> None:
    atlas = open_atlas(atlas_folder)
    summary = json.loads(json.dumps(summarize(atlas), allow_nan=False))
    assert [record["metric"] for record in summary["evaluation"]] == atlas.evaluation.index.tolist()
    alive = atlas.concepts.var.query("density > 0 and not residual")
    assert [concept["name"] for concept in summary["concepts"]] == alive.index[leading_order(alive)].tolist()
    for concept in summary["concepts"]:
        for name in ("label_n", "label_null", "label_q"):
            assert concept[f"best_{name}"] == float(alive.loc[concept["name"], f"best_{name}"])
        assert {"symbol", "score", "q"} == set(concept["genes"][0])
    assert str(atlas.concepts.n_obs) in summary["title"].replace(",", "")


def test_a_summary_says_how_often_concepts_come_back_and_leaves_residual_latents_out(
    atlas_folder: Path, tmp_path: Path
) -> None:
    atlas = open_atlas(atlas_folder)
    summary, var = summarize(atlas), atlas.concepts.var
    assert summary["reproducibility"] == {"by": "halves", "n": 16, "least": 0.8, "correlation": 0.7}
    findings = var[(var["density"] > 0) & ~var["residual"]]
    assert summary["findings"] == len(summary["concepts"]) == len(findings) < summary["alive"]
    for concept in summary["concepts"]:
        row = var.loc[concept["name"]]
        assert concept["reproducibility"] == row["reproducibility"] >= 0.8
        assert concept["beyond_clusters"] is bool(row["cluster_correlation"] < 0.7)
        assert concept["best_label_threshold"] == row["threshold"]
    assert {concept["beyond_clusters"] for concept in summary["concepts"]} == {True, False}
    seeds = open_atlas(make_atlas(tmp_path / "seeds", by="seeds"))
    summary = summarize(seeds)
    assert summary["reproducibility"] == {"by": "seeds", "n": 4, "least": 0.75, "correlation": 0.7}
    assert len(summary["concepts"]) == summary["findings"] == summary["alive"]
    assert {concept["beyond_clusters"] for concept in summary["concepts"]} == {None}
    assert {concept["reproducibility"] for concept in summary["concepts"]} <= {0, 0.25, 0.5, 0.75, 1}


def test_of_one_plain_dictionary_nothing_is_known(hostile_folder: Path) -> None:
    alone = summarize(open_atlas(hostile_folder))
    assert alone["reproducibility"] is None
    assert len(alone["concepts"]) == alone["findings"] == alone["alive"]
    assert {(c["reproducibility"], c["beyond_clusters"]) for c in alone["concepts"]} == {(None, None)}


def test_beyond_clusters_is_below_07_and_unknown_where_it_is_not_known() -> None:
    assert [beyond_clusters(r) for r in (0.69, 0.7, 0.95, None, float("nan"))] == [True, False, False, None, None]


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

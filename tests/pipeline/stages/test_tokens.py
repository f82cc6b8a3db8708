"""Concepts of gene tokens, from a small scGPT on simulated cells: what the atlas holds equals a plain loop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cellglass.atlas import Atlas, open_atlas
from cellglass.cells import Simulated
from cellglass.pipeline.config import RunConfig, make_config
from cellglass.pipeline.explain import run_pipeline
from cellglass.pipeline.run import Run
from cellglass.pipeline.stages.tokens import upper_half
from cellglass.pipeline.workspace import (
    cell_site,
    held_out,
    held_out_rows,
    open_activations,
    open_concepts,
    open_explained,
    open_model,
)
from reported import held

SITE = "layers.1.mlp.out"


@pytest.fixture(scope="module")
def config(gmt: Path) -> RunConfig:
    return make_config({
        "cells": {"labels": ["cell_type"]},
        "model": {"path": "scgpt", "site": SITE, "layers": 2, "width": 32, "epochs": 2, "tokens_per_cell": 20},
        "dictionary": {"kind": "matryoshka", "seeds": 2, "splits": 0, "latents": 24, "k": 3},
        "attribution": {"prototypes": 4, "partners": 1, "genes": 4, "methods": ["swap", "de"]},
        "enrichment": {"gene_sets": [str(gmt)], "permutations": 100, "tests": ["ora"]},
    })  # fmt: skip


@pytest.fixture(scope="module")
def run(planted: Simulated, config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("tokens") / "atlas"
    run_pipeline(planted.cells[:150], config, folder, report=True)
    return Run(folder, config, {"cells": planted.cells[:150]})


@pytest.fixture(scope="module")
def atlas(run: Run) -> Atlas:
    return open_atlas(run.folder)


@pytest.fixture(scope="module")
def dense(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations of all concepts on all tokens, one cell at a time."""
    model, cells, dictionary = open_model(run), open_explained(run), open_concepts(run)
    codes, cell, gene = [], [], []
    for i in range(cells.n_cells):
        rows = model.token_activations(cells[[i]], [SITE])[SITE]
        with torch.no_grad():
            codes.append(dictionary.encode(rows.values).to_csr().toarray())
        cell += [i] * len(rows.gene)
        gene += rows.gene.tolist()
    return np.concatenate(codes), np.array(cell), np.array(gene)


@pytest.mark.slow
def test_cells_hold_maxima_and_means_over_all_their_tokens(atlas, dense):
    codes, cell, _ = dense
    concepts = atlas.concepts
    for i in range(concepts.n_obs):
        mine = codes[cell == i]
        np.testing.assert_allclose(concepts.X[i].toarray().ravel(), mine.max(axis=0), atol=1e-4)
        np.testing.assert_allclose(concepts.layers["mean"][i].toarray().ravel(), mine.mean(axis=0), atol=1e-4)
    assert concepts.uns["site"]["granularity"] == "token"


def test_genes_on_whose_tokens_a_concept_fires(run, atlas, dense):
    codes, _, gene = dense
    names = open_explained(run).genes.index
    whole = atlas.tokens()
    for latent in range(codes.shape[1]):
        table = atlas.tokens(latent).set_index("gene")
        assert table["part"].is_monotonic_decreasing
        fires = {str(names[g]) for g in np.unique(gene[codes[:, latent] > 1e-3])}
        assert fires <= set(table.index)
        if fires:
            assert table["part"].sum() == pytest.approx(1, abs=1e-4)
        for name, row in list(table.iterrows())[:3]:
            mine = codes[gene == names.get_loc(name), latent]
            assert row["n"] == len(mine)
            assert row["mean"] == pytest.approx(mine.mean(), abs=1e-4)
            assert row["active"] == pytest.approx((mine > 0).mean(), abs=0.02)
    assert set(whole["concept"]) <= set(range(codes.shape[1]))


def test_gene_identity_is_the_share_of_variance_that_gene_means_explain(atlas, dense):
    codes, _, gene = dense
    known = 0
    for latent in range(codes.shape[1]):
        a = codes[:, latent].astype(float)
        found = atlas.concepts.var["gene_identity"].iloc[latent]
        if a.max() == 0:
            assert np.isnan(found)
            continue
        groups = np.unique(gene)
        within = sum(((a[gene == g] - a[gene == g].mean()) ** 2).sum() for g in groups)
        total = ((a - a.mean()) ** 2).sum()
        n = len(a)
        expected = 1 - (within / (n - len(groups))) / (total / (n - 1))
        assert found == pytest.approx(np.clip(expected, 0, 1), abs=1e-3)
        known += 1
    assert known > 5
    metric = atlas.evaluation.loc["tokens.gene_identity"]
    assert 0 <= metric["value"] <= 1
    assert np.isfinite(metric["null"])


def test_the_report_says_on_which_genes_a_concept_fires(atlas):
    report = held(atlas.path / "report.html")
    files = {path: json.loads(content) for path, content in report.items() if path.endswith(".json")}
    ids, shard = files["data/genes.json"]["id"], files["data/manifest.json"]["card_shard"]
    for latent, identity in enumerate(files["data/concepts.json"]["identity"]):
        rows = files[f"data/cards/{latent // shard}.json"][str(latent)]["tokens"]
        assert [ids[row[0]] for row in rows] == atlas.tokens(latent)["gene"].head(50).tolist()
        expected = atlas.concepts.var["gene_identity"].iloc[latent]
        assert identity == (None if np.isnan(expected) else pytest.approx(expected, abs=1e-3))


def test_the_dictionary_learns_from_a_sample_and_whole_cells_are_held_out(run):
    store, site = open_activations(run)
    assert site == SITE
    assert cell_site(store) == "cell"
    cell = store.rows(site).cells()
    assert np.bincount(cell).max() == 20
    parts, cells = held_out_rows(run, store, site), held_out(run, store.n_cells)
    assert sum(map(len, parts)) == store.n_rows(site)
    for rows, chosen in zip(parts, cells, strict=True):
        assert set(cell[rows]) == set(chosen)
    assert store.n_rows("cell") == store.n_cells


def test_swaps_are_read_where_the_concept_is_strongest(run, atlas):
    model, cells, dictionary = open_model(run), open_explained(run), open_concepts(run)
    genes = atlas.genes(method="swap")
    assert set(genes["on"]) == {"activation"}
    concept = int(genes.loc[genes["effect"].abs().idxmax(), "concept"])
    pairs = atlas_pairs(run, concept)

    def largest(one):
        with torch.no_grad():
            rows = model.token_activations(one, [SITE])[SITE]
            return float(dictionary.encode(rows.values).to_csr().toarray()[:, concept].max())

    row = genes[(genes["concept"] == concept) & (genes["on"] == "activation")].iloc[0]
    g = cells.genes.index.get_loc(row["gene"])
    effects = []
    for prototype, partner in pairs:
        one = cells[[prototype]]
        counts = one.counts.tolil()
        counts[0, g] = cells.counts[partner, g]
        before = largest(one)
        effects.append((before - largest(one.with_counts(counts.tocsr()))) / before)
    assert np.mean(effects) == pytest.approx(row["effect"], abs=1e-3)


def atlas_pairs(run: Run, concept: int) -> list[tuple[int, int]]:
    import pandas as pd

    pairs = pd.read_parquet(run.path("pairs.parquet"))
    pairs = pairs[(pairs["concept"] == concept) & (pairs["kind"] == "real")]
    return list(zip(pairs["prototype"], pairs["partner"], strict=True))


def test_a_cell_has_a_concept_that_most_cells_have_if_it_has_more_of_it_than_half_of_them():
    values = np.array([[5, 0, 1], [4, 0, 2], [3, 7, 3], [2, 0, 4], [1, 0, 0]], dtype=np.float32)
    kept = upper_half(sp.csc_matrix(values))
    assert kept.toarray().tolist() == [[5, 0, 0], [4, 0, 0], [0, 7, 3], [0, 0, 4], [0, 0, 0]]
    assert kept.nnz == 5


@pytest.mark.slow
def test_a_run_at_a_site_of_cells_leaves_no_tokens_behind(run, config, planted):
    tables = config.as_dict()
    tables["model"]["site"] = "cell"
    tables["dictionary"]["seeds"] = 1
    tables["attribution"] |= {"methods": ["de"]}
    assert run.path("tokens.parquet").exists()
    atlas = run_pipeline(planted.cells[:150], make_config(tables), run.folder, report=False)
    assert not run.path("tokens.parquet").exists()
    assert "gene_identity" not in atlas.concepts.var
    assert len(atlas.tokens()) == 0

"""Stages are given what their claims rest on: seen in what a run leaves behind, whatever hands it over inside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass import dictionaries
from cellglass.activations import open_store
from cellglass.atlas import Atlas, open_atlas
from cellglass.atlas.manifest import artefact_digest
from cellglass.cells import Cells
from cellglass.enrichment import GeneSets, write_gmt
from cellglass.evaluation.consensus import consensus
from cellglass.models.base import CellModel, Site, TokenRows
from cellglass.pipeline.config import RunConfig, make_config
from cellglass.pipeline.explain import run_pipeline
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.stages.reproducibility import ReproducibilityStage
from cellglass.pipeline.workspace import (
    cell_of_rows,
    held_out_rows,
    open_activations,
    open_findings,
    open_halves,
)

N_GENES, N_HIGH = 400, 50
GENES = [f"g{i:03d}" for i in range(N_GENES)]
HIGH, RARE = "HIGHLY EXPRESSED", "RARE BUT RAISED"


@pytest.fixture(scope="module")
def cells() -> Cells:
    """Return 240 cells: in the second half the 50 most expressed genes are raised, and of the others 15 rare ones.

    Half of the latter lie among the genes that are expressed least, none of whose others are raised.
    """
    rng = np.random.default_rng(0)
    half = np.arange(240) >= 120
    rate = np.linspace(0.3, 1.5, N_GENES)
    rate[-N_HIGH:] = 8
    raised = np.ones(N_GENES)
    raised[-N_HIGH:] = raised[20:95:5] = 3
    counts = sp.csr_matrix(rng.poisson(np.where(half[:, None], rate * raised, rate)).astype(np.float32))
    obs = pd.DataFrame({"half": pd.Categorical(half.astype(str))}, index=[f"c{i}" for i in range(240)])
    embedded = (np.where(half, 1, -1)[:, None] * [1, 0, 0] + 0.2 * rng.normal(size=(240, 3))).astype(np.float32)
    return Cells(counts, pd.DataFrame({"symbol": GENES}, index=GENES), obs, obsm={"X_half": embedded})


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    rng = np.random.default_rng(1)
    sets = {HIGH: GENES[-N_HIGH:], RARE: GENES[20:95:5]}
    sets |= {f"OTHER {i}": [GENES[g] for g in rng.choice(N_GENES - N_HIGH, 15, replace=False)] for i in range(20)}
    path = tmp_path_factory.mktemp("sets") / "sets.gmt"
    write_gmt(GeneSets("sets", {name: tuple(genes) for name, genes in sets.items()}), path)
    return make_config({
        "cells": {"labels": ["half"]},
        "model": {"path": "obsm:X_half"},
        "dictionary": {"kind": "matryoshka", "seeds": 1, "splits": 0, "latents": 6, "k": 1},
        "enrichment": {"gene_sets": [str(path)], "tests": ["ulm"]},
    })  # fmt: skip


@pytest.fixture(scope="module")
def atlas(cells: Cells, config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """Return the atlas of an embedding: no network, a few seconds."""
    return run_pipeline(cells, config, tmp_path_factory.mktemp("wiring") / "atlas", report=False)


def _concept_of_the_second_half(atlas: Atlas) -> int:
    """Return the concept that is active in most cells of the second half, and in few of the first."""
    active = atlas.concepts.X.toarray() > 0
    return int((active[120:].sum(axis=0) - 2 * active[:120].sum(axis=0)).argmax())


def test_pathways_are_held_against_genes_of_like_expression(atlas: Atlas) -> None:
    """All highly expressed genes are raised: enriched they are, but no more than genes of like expression.

    Among all genes, or with the expression of other genes, they would pass for a finding; so do rare ones that are
    raised, and rightly.
    """
    table = atlas.pathways(_concept_of_the_second_half(atlas)).set_index("term")
    assert table.loc[HIGH, "statistic"] > 0
    assert table.loc[HIGH, "q"] < 1e-6
    assert table.loc[HIGH, "null_q"] > 0.3
    assert table.loc[RARE, "null_q"] < 0.1


def _with_pathways(folder: Path, to: Path, table: pd.DataFrame) -> None:
    """Copy an atlas as if its stage of pathways had made this table: later stages have to run again."""
    shutil.copytree(folder, to)
    table.to_parquet(to / "pathways.parquet", index=False)
    manifest = json.loads((to / "manifest.json").read_text())
    made_by = next(stage for stage in manifest["stages"].values() if "pathways.parquet" in stage["outputs"])
    made_by["outputs"]["pathways.parquet"] = artefact_digest(to / "pathways.parquet")
    (to / "manifest.json").write_text(json.dumps(manifest))


def test_a_term_names_a_concept_by_its_q_among_those_whose_two_q_are_low(
    atlas: Atlas, cells: Cells, config: RunConfig, tmp_path: Path
) -> None:
    """Of the terms that pass both the one of the lowest q names; a concept none of whose terms does has no term."""
    table = pd.read_parquet(atlas.path / "pathways.parquet")
    concepts = sorted(set(table["concept"]))
    first, second = concepts[:2]
    kept = pd.concat([table[table["concept"] == first].head(4), table[table["concept"] == second].head(2)])
    terms = ["GOOD Q", "GOOD NULL Q", "BOTH BUT LESS", "BOTH", "GOOD Q", "GOOD NULL Q"]
    q, null_q = [1e-9, 0.9, 1e-3, 1e-4, 1e-9, 0.9], [0.9, 1e-9, 1e-3, 1e-2, 0.8, 1e-9]
    made = kept.assign(term=terms, q=q, null_q=np.float32(null_q), statistic=np.float32([9, 8, 3, 4, 9, 8]))
    _with_pathways(atlas.path, tmp_path / "atlas", made)
    var = run_pipeline(cells, config, tmp_path / "atlas", report=False).concepts.var.set_index("latent", drop=False)
    names = dict(zip(var["latent"], open_atlas(tmp_path / "atlas").concepts.var.index, strict=True))
    assert var.loc[first, "best_term"] == "BOTH"
    assert "both" in names[first].lower()
    assert not any(term.lower() in names[second].lower() for term in terms)
    assert set(var.loc[concepts[2:], "best_term"]) <= {""}


class TokenModel(CellModel):
    """Each counted gene of a cell has a row: its log count and its number, as a point on three circles."""

    kind = "counted genes"

    def __init__(self, cells: Cells) -> None:
        self.genes = cells.genes.index
        self.sites = {"tokens": Site("tokens", 6, "token"), "cell": Site("cell", 6)}

    def token_activations(self, cells: Cells, sites: Sequence[str]) -> dict[str, TokenRows]:
        cell = np.repeat(np.arange(cells.n_cells), np.diff(cells.counts.indptr))
        gene = cells.counts.indices.astype(np.int64)
        angle = gene[:, None] * np.array([1.0, 2.0, 5.0])
        values = np.log1p(cells.counts.data)[:, None] * np.hstack([np.cos(angle), np.sin(angle)])
        return dict.fromkeys(sites, TokenRows(torch.from_numpy(values).float(), cell, gene))

    def activations(self, cells: Cells, sites: Sequence[str]) -> dict[str, torch.Tensor]:
        rows = self.token_activations(cells, ["tokens"])["tokens"]
        mean = torch.zeros(cells.n_cells, 6).index_add_(0, torch.from_numpy(rows.cell), rows.values)
        return dict.fromkeys(sites, mean / cells.n_genes)

    def save(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "cfg.json").write_text(json.dumps({"kind": self.kind}))


@pytest.mark.slow
def test_what_comes_back_is_looked_for_in_rows_of_all_cells(cells: Cells, config: RunConfig, tmp_path: Path) -> None:
    """At a site with one row for each gene of a cell the first rows, as many as cells, would be those of few cells."""
    some = cells[np.r_[0:60, 120:180]]
    tables = config.as_dict()
    tables["model"] = {"site": "tokens", "tokens_per_cell": 12}
    tables["dictionary"] = {"kind": "matryoshka", "seeds": 2, "splits": 0, "latents": 16, "k": 2}
    tables["attribution"]["methods"] = ["de"]
    found = run_pipeline(some, make_config(tables), tmp_path / "atlas", model=TokenModel(some), report=False)
    x = open_store(tmp_path / "atlas" / "work" / "activations").read("tokens")
    assert len(x) == 12 * some.n_cells
    held = [dictionaries.load(tmp_path / "atlas" / "dictionaries" / f"concepts{i}") for i in ("", "-1")]
    expected, few = (consensus([one.encode(rows).to_csr().tocsc() for one in held]) for rows in (x, x[: some.n_cells]))
    var = found.concepts.var
    assert not expected["found_in"].equals(few["found_in"])  # else it would not show
    np.testing.assert_array_equal(var["reproducibility"], expected["found_in"])


@pytest.mark.slow
def test_the_default_takes_whole_cells_apart_where_each_gene_has_a_row(
    cells: Cells, config: RunConfig, tmp_path: Path
) -> None:
    """Rows of one cell say much the same: a half that held some of them would know what the other half holds."""
    some = cells[np.r_[0:60, 120:180]]
    tables = config.as_dict()
    tables["model"] = {"site": "tokens", "tokens_per_cell": 12}
    tables["dictionary"] = {"seeds": 1, "pairs": 4, "latents": 48, "k": 4}
    tables["attribution"]["methods"] = ["de"]
    made = make_config(tables)
    found = run_pipeline(some, made, tmp_path / "atlas", model=TokenModel(some), report=True)
    run = Run(tmp_path / "atlas", made)
    store, site = open_activations(run)
    seen = held_out_rows(run, store, site)[0]
    cell = cell_of_rows(store, site, seen)
    sides = ReproducibilityStage(run)._sides(0, cell)
    assert len(np.unique(cell)) < len(seen)
    assert not set(cell[sides == 0]) & set(cell[sides == 1])
    for side, half in enumerate(open_halves(run, 0, "concepts")):
        mean = store.read(site, seen[sides == side]).double().mean(0)
        assert torch.allclose(half.centre.double(), mean, atol=1e-4)
    findings = open_findings(run)
    var = found.concepts.var
    assert 3 <= len(findings) == (~var["residual"]).sum() < 48
    assert set(found.genes()["concept"]) <= set(findings)
    assert set(found.tokens()["concept"]) - set(findings)  # genes of tokens cost nothing: those of all latents are kept
    assert found.evaluation.loc["reproducibility.concepts", "value"] > 0.5
    assert "gene_identity" in var
    np.testing.assert_allclose(var["density"], np.diff(found.concepts.X.tocsc().indptr) / some.n_cells, rtol=1e-6)


def test_a_stage_of_another_revision_is_run_again_and_with_it_what_reads_it(tmp_path: Path) -> None:
    ran: list[str] = []

    class One(Stage):
        name, does, outputs = "one", "writes", ("one.txt",)

        def do(self, name: str, folder: Path) -> None:
            ran.append("one")
            (folder / "one.txt").write_text(f"revision {len(ran)}")

    class Two(Stage):
        name, does, outputs, needs = "two", "reads", ("two.txt",), ("one",)

        def do(self, name: str, folder: Path) -> None:
            ran.append("two")
            (folder / "two.txt").write_text(self.run.path("one.txt").read_text())

    class Revised(One):
        revision = 2

    class RevisedToo(Two):
        revision = 5

    run = Run(tmp_path / "atlas", RunConfig())
    for first in (One, One, Revised, Revised):
        run_stages(run, [first, Two])
    assert ran == ["one", "two", "one", "two"]
    assert run.path("two.txt").read_text() == "revision 3"
    run_stages(run, [Revised, RevisedToo])
    assert ran[4:] == ["two"]

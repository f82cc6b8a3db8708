"""Cells of a run: what lies on disk is what was given, and what they lack is found at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cellglass.cells import Simulated, open_cells, write_cells
from cellglass.errors import InputError
from cellglass.pipeline import workspace
from cellglass.pipeline.config import make_config
from cellglass.pipeline.explain import STAGES, run_pipeline
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.stages.cells import cells_fingerprint


def test_the_cells_on_disk_are_the_cells_that_were_given(small_run: Run, planted: Simulated) -> None:
    kept = open_cells(small_run.path(workspace.CELLS))
    assert (kept.counts != planted.cells.counts).nnz == 0
    explained = workspace.open_explained(small_run)
    assert set(explained.genes.index) <= set(planted.cells.genes.index)
    by_hand = planted.cells.select_genes(planted.cells.genes.index.get_indexer(explained.genes.index))
    assert (explained.counts != by_hand.counts).nnz == 0


def test_the_fingerprint_of_cells_sees_every_part(planted: Simulated) -> None:
    cells = planted.cells[:50]
    counts = cells.counts.copy()
    counts.data[0] += 1
    obs = cells.obs.copy()
    obs.iloc[0, 0] = obs.iloc[-1, 0] if obs.iloc[0, 0] != obs.iloc[-1, 0] else obs.iloc[:, 0].unique()[1]
    variants = [
        cells,
        cells.with_counts(counts),
        dataclasses.replace(cells, obs=obs),
        dataclasses.replace(cells, genes=cells.genes.assign(symbol=cells.genes["symbol"].str.lower())),
        dataclasses.replace(cells, obsm={"X_pca": np.zeros((50, 2))}),
    ]
    assert len({cells_fingerprint(variant) for variant in variants}) == len(variants)
    assert cells_fingerprint(cells) == cells_fingerprint(planted.cells[:50])


def test_a_file_gives_the_same_cells_as_memory(small_run: Run, planted: Simulated, tmp_path: Path) -> None:
    """The first stage alone, from an h5ad file."""
    planted.cells.to_anndata().write_h5ad(tmp_path / "cells.h5ad")
    run = Run(tmp_path / "atlas", small_run.config, {"cells": tmp_path / "cells.h5ad"})
    run_stages(run, STAGES[:1])
    kept = open_cells(run.path(workspace.CELLS))
    assert (kept.counts != planted.cells.counts).nnz == 0
    assert kept.obs["cell_type"].tolist() == planted.cells.obs["cell_type"].tolist()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"model": {"path": "obsm:X_uce"}}, "X_uce"),
        ({"cells": {"labels": ["celltype"]}}, "no obs column 'celltype'"),
        ({"enrichment": {"gene_sets": ["bundled"]}}, "none of 150 sets"),
    ],
)
def test_what_the_cells_lack_is_found_before_anything_is_fitted(
    tables: dict, message: str, planted: Simulated, tmp_path: Path
) -> None:
    """Simulated genes are in no real gene set."""
    folder = tmp_path / "cells"
    write_cells(planted.cells, folder)
    for cells in (planted.cells, folder):
        with pytest.raises(InputError, match=message):
            run_pipeline(cells, make_config(tables), tmp_path / "atlas")
        assert not (tmp_path / "atlas").exists()

"""Where cells are drawn: near in the site, near in the drawing; for many cells too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.cells import Cells
from cellglass.enrichment import GeneSets, write_gmt
from cellglass.pipeline import workspace
from cellglass.pipeline.config import make_config
from cellglass.pipeline.explain import STAGES
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages


def test_the_layout_keeps_neighbours(small_run: Run) -> None:
    """Cells that are near in the site are near in the drawing, much more than by chance."""
    store, site = workspace.open_activations(small_run)
    drawn = np.load(small_run.path(workspace.LAYOUT), allow_pickle=False)
    z = store.read(site, np.arange(400)).numpy()

    def neighbours(x: np.ndarray) -> np.ndarray:
        distance = ((x[:, None] - x[None]) ** 2).sum(-1)
        np.fill_diagonal(distance, np.inf)
        return np.argsort(distance, axis=1)[:, :15]

    shared = [len(set(a) & set(b)) / 15 for a, b in zip(neighbours(z), neighbours(drawn), strict=True)]
    assert drawn.shape == (400, 2)
    assert np.mean(shared) > 0.3  # by chance: 15 / 399


@pytest.mark.slow
def test_more_cells_than_scanpy_searches_one_by_one_are_laid_out_too(tmp_path: Path) -> None:
    n = 10_001  # from 8,192 on neighbours are approximate; above 10,000 UMAP takes 200 steps in place of 500
    noise = np.random.default_rng(0)
    group = noise.integers(0, 3, n)
    counts = sp.csr_matrix(noise.poisson(1 + 3 * (np.arange(12) % 3 == group[:, None])).astype(np.float32))
    ids = [f"g{i}" for i in range(12)]
    embedded = (10 * np.eye(3)[group] + noise.standard_normal((n, 3))).astype(np.float32)
    cells = Cells(
        counts, pd.DataFrame({"symbol": ids}, index=ids), pd.DataFrame(index=[f"c{i}" for i in range(n)]),
        obsm={"X_three": embedded},
    )  # fmt: skip
    write_gmt(GeneSets("sets", {"first": tuple(ids[:6])}), tmp_path / "sets.gmt")
    tables = {"model": {"path": "obsm:X_three"}, "enrichment": {"gene_sets": [str(tmp_path / "sets.gmt")]}}
    run = Run(tmp_path / "atlas", make_config(tables), {"cells": cells})
    run_stages(run, [stage for stage in STAGES if stage.name in ("cells", "model", "activations", "layout")])
    layout = np.load(run.path(workspace.LAYOUT))
    middle = np.stack([layout[group == i].mean(0) for i in range(3)])
    nearest = np.linalg.norm(layout[:, None] - middle[None], axis=2).argmin(1)
    assert (nearest == group).mean() > 0.98

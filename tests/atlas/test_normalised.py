"""The scale of expression, against scanpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scanpy as sc

from cellglass.atlas import open_atlas
from cellglass.atlas.columns import Columns
from cellglass.atlas.normalised import cell_scales, normalised
from synthetic import make_atlas


def test_it_is_log1p_of_counts_per_ten_thousand(tmp_path: Path) -> None:
    atlas = open_atlas(make_atlas(tmp_path / "atlas", n_cells=60))
    counts = Columns(atlas.path / "expression.zarr", zeros=True)
    scales = cell_scales(counts)
    table = atlas.expression.to_memory()
    sc.pp.normalize_total(table, target_sum=1e4)
    sc.pp.log1p(table)
    for gene in range(0, table.n_vars, 7):
        rows, values = counts[gene]
        wanted = table.X[:, [gene]].toarray().ravel()
        np.testing.assert_array_equal(rows, np.flatnonzero(wanted))
        np.testing.assert_allclose(normalised(values, scales[rows]), wanted[rows], rtol=1e-5)

"""Means and changes of groups of cells: against dense loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.cells import Cells
from cellglass.evaluation.changes import activation_means, changes, expression_means, halved_groups


def _cells(n: int = 5000, genes: int = 7) -> Cells:
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(0.8, size=(n, genes)).astype(np.float32))
    ids = [f"g{i}" for i in range(genes)]
    return Cells(counts, pd.DataFrame({"symbol": ids}, index=ids), pd.DataFrame(index=[f"c{i}" for i in range(n)]))


def test_means_are_those_of_a_loop() -> None:
    cells, rng = _cells(), np.random.default_rng(1)
    group = rng.integers(-1, 3, cells.n_cells)
    dense = cells.counts.toarray().astype(float)
    y = np.log1p(1e4 * dense / np.maximum(dense.sum(axis=1, keepdims=True), 1))
    codes = sp.random(cells.n_cells, 5, density=0.3, format="csc", random_state=0)
    for g in range(3):
        np.testing.assert_allclose(expression_means(cells, group, 3)[g], y[group == g].mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(activation_means(codes, group, 3)[g], codes.toarray()[group == g].mean(axis=0))


def test_halves_share_no_cell_and_changes_are_differences_to_the_controls_of_the_half() -> None:
    group = np.repeat([0, 1, 2, -1], [11, 8, 5, 4])
    halves = halved_groups(group, seed=3)
    assert (halves[group < 0] == -1).all()
    assert (halves[group >= 0] // 2 == group[group >= 0]).all()
    assert np.bincount(halves[halves >= 0]).tolist() == [6, 5, 4, 4, 3, 2]
    assert (halves != halved_groups(group, seed=4)).any()
    means = np.arange(12.0).reshape(6, 2) ** 2
    first, second = changes(means)
    np.testing.assert_array_equal(first, means[[2, 4]] - means[0])
    np.testing.assert_array_equal(second, means[[3, 5]] - means[1])

"""Variable genes: planted ones are found, the choice repeats, and edge cases are decided as documented."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.cells import Cells, demo_cells, simulate, variable_genes
from cellglass.errors import InputError


def test_planted_genes_are_preferred_with_and_without_batches():
    out = simulate(n_cells=1500, n_genes=600, n_programs=6, n_batches=2, seed=4)
    member = out.membership.any(axis=1).to_numpy()
    for batch in (None, "batch"):
        chosen = variable_genes(out.cells, 150, seed=0, batch=batch)
        assert 150 <= len(chosen) <= 200  # and the strongest third by Pearson residuals, as far as they are others
        assert (np.diff(chosen) > 0).all()
        assert member[chosen].mean() > 1.8 * member.mean()


def test_the_same_seed_chooses_the_same_of_a_sample():
    cells = simulate(n_cells=1200, n_genes=300, n_programs=4, seed=4).cells
    a, b = (variable_genes(cells, 60, seed=1, max_cells=400) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert len(set(a) & set(variable_genes(cells, 60, seed=1))) > 30


def test_markers_of_blood_are_variable():
    demo = demo_cells()
    chosen = set(demo.symbols[variable_genes(demo, 200, seed=0)])
    assert {"CD79A", "NKG7", "LYZ"} <= chosen


def plain(dense):
    n, g = dense.shape
    genes = pd.DataFrame({"symbol": [f"g{i}" for i in range(g)]}, index=[f"g{i}" for i in range(g)])
    return Cells(sp.csr_matrix(dense.astype(np.float32)), genes, pd.DataFrame(index=[f"c{i}" for i in range(n)]))


def test_rare_genes_go_first_and_all_usable_come_back():
    dense = np.zeros((50, 5))
    dense[:2, 0] = 100  # in two cells only
    dense[:3, 2] = 1
    dense[:, 4] = np.arange(50)
    assert variable_genes(plain(dense), 5, seed=0).tolist() == [2, 4]
    assert variable_genes(plain(dense), 2, seed=0).tolist() == [2, 4]


@pytest.mark.slow  # compiles
def test_a_trend_that_cannot_be_fitted_still_gives_genes(caplog):
    dense = np.ones((40, 7))
    dense[:, 6] = np.arange(40) % 10 == 0  # the only gene that varies: one point makes no trend
    with caplog.at_level("INFO", logger="cellglass"):
        assert variable_genes(plain(dense), 1, seed=0).tolist() == [6]
    assert "Pearson residuals" in caplog.text


def test_wrong_wishes_are_refused():
    cells = plain(np.ones((2, 3)))
    with pytest.raises(InputError, match="at least 1"):
        variable_genes(cells, 0)
    with pytest.raises(InputError, match="no gene is seen in 3 cells"):
        variable_genes(cells, 1)
    with pytest.raises(InputError, match="no obs column 'donor'"):
        variable_genes(cells, 1, batch="donor")

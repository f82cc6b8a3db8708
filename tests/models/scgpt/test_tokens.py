import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.models.scgpt.tokens import tokens_of


@pytest.mark.parametrize("most", [3, 7, 1000])
def test_the_highest_counts_are_kept_and_ties_go_by_gene(most):
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(0.8, (30, 20)).astype(np.float32))
    ids = rng.permutation(50)[:20].astype(np.int64)
    found = tokens_of(counts, ids, 77, n_bins=51, cls_value=-2.0, max_length=most + 1)
    assert (found.lengths <= most + 1).all()
    for i, row in enumerate(counts.toarray()):
        part = slice(found.start[i], found.start[i + 1])
        order = [(-row[g], g) for g in range(20) if row[g]]
        kept = sorted(g for _, g in sorted(order)[:most])
        assert found.gene[part].tolist() == [-1, *kept]
        assert found.ids[part].tolist() == [77, *ids[kept]]


def test_no_cells_and_cells_without_counts():
    ids = np.arange(4, dtype=np.int64)
    none = tokens_of(sp.csr_matrix((0, 4), dtype=np.float32), ids, 9, n_bins=51, cls_value=-2.0, max_length=5)
    assert (len(none), none.ids.tolist()) == (0, [])
    empty = tokens_of(sp.csr_matrix((2, 4), dtype=np.float32), ids, 9, n_bins=51, cls_value=-2.0, max_length=5)
    assert (empty.start.tolist(), empty.ids.tolist(), empty.value.tolist()) == ([0, 1, 2], [9, 9], [-2.0, -2.0])

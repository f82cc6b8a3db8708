import numpy as np
import pytest

from cellglass.models.edits import counts_at, edited_cells, names_of


@pytest.mark.parametrize("n", [0, 3, 500])
def test_counts_at_equals_the_dense_matrix(make_cells, n):
    cells = make_cells(n_cells=600, n_genes=150)  # more than the dense block holds for few reads
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(0, 600, n), rng.integers(0, 150, n)
    for counts in (cells.counts, cells.counts[:4]):
        at = rows % counts.shape[0]
        np.testing.assert_array_equal(counts_at(counts, at, columns), counts.toarray()[at, columns])


def test_an_edit_changes_one_count_and_nothing_else(cells):
    rng = np.random.default_rng(2)
    cell, gene = rng.integers(0, 40, 60), rng.integers(0, 25, 60)
    count = rng.integers(0, 4, 60).astype(np.float32)
    dense = cells.counts.toarray()[cell]
    dense[np.arange(60), gene] = count
    edited = edited_cells(cells, cell, gene, count)
    np.testing.assert_array_equal(edited.counts.toarray(), dense)
    assert edited.counts.dtype == np.float32
    assert edited.counts.has_sorted_indices
    assert (edited.counts.data != 0).all()
    assert edited.obs["donor"].tolist() == cells.obs["donor"].iloc[cell].tolist()
    assert edited.obs.index.is_unique
    assert names_of(edited).tolist() == cells.obs.index[cell].tolist()
    again = edited_cells(edited, np.array([1]), np.array([0]), np.array([3], dtype=np.float32))
    assert names_of(again).tolist() == [cells.obs.index[cell[1]]]
    assert names_of(cells).tolist() == cells.obs.index.tolist()


def test_edits_leave_the_cells_as_they_were(cells):
    before = cells.counts.copy()
    edited_cells(cells, np.array([0, 0]), np.array([1, 2]), np.array([9, 9]))
    assert (before != cells.counts).nnz == 0

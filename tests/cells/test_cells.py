"""Cells hold together: rows and genes are taken everywhere at once."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.cells import Cells, cells_from_anndata
from cellglass.errors import InputError


@pytest.fixture
def cells(adata):
    return cells_from_anndata(adata)


@pytest.mark.parametrize("rows", [slice(3, 9), [4, 4, 1], np.arange(60) % 7 == 0, (np.arange(60) < 5).tolist()])
def test_rows_are_taken_everywhere(cells, rows):
    part = cells[rows]
    index = np.arange(60)[rows if isinstance(rows, slice) else np.asarray(rows)]
    np.testing.assert_array_equal(part.counts.toarray(), cells.counts.toarray()[index])
    assert list(part.obs.index) == [f"cell-{i}" for i in index]
    np.testing.assert_array_equal(part.obsm["X_emb"], cells.obsm["X_emb"][index])
    assert len(part) == part.n_cells == len(index)


def test_one_number_is_refused(cells):
    with pytest.raises(TypeError, match=r"cells\[i : i \+ 1\]"):
        cells[3]


def test_genes_are_taken_in_the_order_asked(cells):
    part = cells.select_genes([7, 2])
    np.testing.assert_array_equal(part.counts.toarray(), cells.counts.toarray()[:, [7, 2]])
    assert list(part.symbols) == ["SYM7", "SYM2"]
    assert part.counts.has_sorted_indices


def test_shapes_must_fit():
    genes = pd.DataFrame({"symbol": ["a"]}, index=["a"])
    with pytest.raises(InputError, match="shape"):
        Cells(sp.csr_matrix((2, 2), dtype=np.float32), genes, pd.DataFrame(index=["x", "y"]))
    with pytest.raises(InputError, match="no column 'symbol'"):
        Cells(sp.csr_matrix((1, 1), dtype=np.float32), genes[[]], pd.DataFrame(index=["x"]))


def test_columns(cells):
    assert list(cells.column("age")) == list(cells.obs["age"])
    with pytest.raises(InputError, match="'nope'; the columns are: kind, age, note"):
        cells.column("nope")


def test_to_anndata_and_back(cells):
    again = cells_from_anndata(cells.to_anndata())
    np.testing.assert_array_equal(again.counts.toarray(), cells.counts.toarray())
    pd.testing.assert_frame_equal(again.obs, cells.obs)
    pd.testing.assert_frame_equal(again.genes, cells.genes)


def test_a_column_is_found_by_the_name_that_a_folder_can_hold():
    obs = pd.DataFrame({"type_sub": ["a", "b"], "x/y": [1, 2]}, index=["c0", "c1"])
    cells = Cells(sp.csr_matrix((2, 1), dtype=np.float32), pd.DataFrame({"symbol": ["A"]}, index=["A"]), obs)
    assert cells.column("type/sub").tolist() == ["a", "b"]
    assert cells.column("x/y").tolist() == [1, 2]
    with pytest.raises(InputError, match="no obs column 'x_y'"):
        cells.column("x_y")

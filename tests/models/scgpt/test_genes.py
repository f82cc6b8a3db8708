import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.scgpt.genes import in_order, match_genes


def cells_of(ids, symbols, counts):
    return Cells(
        sp.csr_matrix(np.array(counts, dtype=np.float32)),
        pd.DataFrame({"symbol": symbols}, index=ids),
        pd.DataFrame(index=[f"c{i}" for i in range(len(counts))]),
    )


def test_an_id_wins_over_a_symbol():
    cells = cells_of(["A", "e1", "e2", "e3"], ["A", "A", "B", "?"], [[1, 2, 3, 4]])
    found = match_genes(cells, pd.Index(["C", "B", "A"], dtype=object))
    assert found.target.tolist() == [2, -1, 1, -1]
    assert found.coverage == (2, 1, 2)


def test_counts_follow_their_genes():
    cells = cells_of(["e0", "e1", "e2", "e3"], ["B", "A", "B", "?"], [[1, 2, 3, 4], [0, 5, 0, 1], [0, 0, 0, 9]])
    genes = pd.Index(["A", "C", "B"], dtype=object)
    table = pd.DataFrame({"symbol": genes}, index=genes)
    aligned = in_order(cells, match_genes(cells, genes), table)
    assert aligned.counts.toarray().tolist() == [[2, 0, 4], [5, 0, 0], [0, 0, 0]]
    assert aligned.genes is table
    assert aligned.obs is cells.obs


def test_nothing_known_is_refused():
    cells = cells_of(["e0", "e1"], ["x", "y"], [[1, 2]])
    genes = pd.Index(["A"], dtype=object)
    with pytest.raises(InputError, match=r"none of the 2 genes \(such as 'e0', 'e1'\)"):
        in_order(cells, match_genes(cells, genes), pd.DataFrame({"symbol": genes}, index=genes))

"""Co-expression against pandas, on counts normalised by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellglass.cells.cells import Cells
from cellglass.circuits.biology.coexpression import coexpression
from cellglass.errors import InputError
from circuits.models import NAMES, cells_of


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_it_is_the_correlation_of_log_normalised_counts(method) -> None:
    cells = cells_of(20)
    counts = cells.counts.toarray().astype(float)
    expected = pd.DataFrame(np.log1p(1e4 * counts / counts.sum(1, keepdims=True)), columns=NAMES)
    genes = ["LYZ", "CD79A", "FTL"]
    found = coexpression(cells, [*genes, "NONE"], method)
    pd.testing.assert_frame_equal(found.loc[genes, genes], expected[genes].corr(method), atol=1e-12)
    assert found["NONE"].isna().all()


def test_counts_of_one_symbol_are_added_up() -> None:
    cells = cells_of(8)
    genes = pd.DataFrame({"symbol": ["A", "A", "B"]}, index=["a", "a2", "b"])
    both = Cells(cells.counts[:, :3].tocsr(), genes, cells.obs)
    counts = both.counts.toarray().astype(float)
    x = np.log1p(1e4 * np.column_stack([counts[:, :2].sum(1), counts[:, 2]]) / counts.sum(1, keepdims=True))
    assert coexpression(both, ["A", "B"], "pearson").loc["A", "B"] == pytest.approx(np.corrcoef(x.T)[0, 1])


def test_wrong_use_is_one_line() -> None:
    with pytest.raises(InputError, match="not measured by 'luck'"):
        coexpression(cells_of(), NAMES, "luck")
    with pytest.raises(InputError, match="three cells at least; 2 were given"):
        coexpression(cells_of(2), NAMES)

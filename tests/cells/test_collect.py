"""Reading in blocks gathers the same matrix in memory, where arrays grow, and on disk."""

import numpy as np
import pandas as pd
import pytest

from cellglass.cells.blocks import Dense, Rows
from cellglass.cells.collect import collect
from cellglass.cells.contents import Contents, Slot
from cellglass.cells.counts import NotCountsError
from cellglass.cells.genes import gene_map


def slot_of(source, n_genes):
    var = pd.DataFrame(index=[f"G{i // 2}" for i in range(n_genes)])  # every id twice
    return Slot("X", "X", source, var)


@pytest.mark.parametrize("layout", ["rows", "dense"])
def test_memory_and_disk_agree_with_a_plain_sum(layout, counts, tmp_path, small_blocks):
    rows = Rows(counts.data, counts.indices, counts.indptr, counts.shape)
    slot = slot_of(rows if layout == "rows" else Dense(counts.toarray()), 40)
    obs = pd.DataFrame(index=[f"c{i}" for i in range(60)])
    contents = Contents("toy", {"X": slot}, obs)
    genes = gene_map(slot.var, None, "toy")
    expected = counts.toarray().reshape(60, 20, 2).sum(axis=2)
    for spool in (None, tmp_path / "s"):
        cells, sums = collect(slot, genes, obs, contents, "toy, X", spool)
        np.testing.assert_array_equal(sums.total, expected.sum(axis=1))
        np.testing.assert_array_equal(cells.counts.toarray(), expected)
        assert cells.counts.has_canonical_format
        assert cells.counts.nnz == np.count_nonzero(expected)


def test_arrays_grow_beyond_their_first_size(monkeypatch, counts):
    monkeypatch.setattr("cellglass.cells.collect.FIRST_ENTRIES", 10)
    slot = Slot("X", "X", Dense(counts.toarray()), pd.DataFrame(index=[f"G{i}" for i in range(40)]))
    obs = pd.DataFrame(index=[f"c{i}" for i in range(60)])
    cells, _ = collect(slot, gene_map(slot.var, None, "toy"), obs, Contents("toy", {}, obs), "toy", None)
    np.testing.assert_array_equal(cells.counts.toarray(), counts.toarray())
    assert len(cells.counts.data) == counts.nnz


def test_a_refusal_leaves_nothing_on_disk(counts, tmp_path, small_blocks):
    dense = counts.toarray()
    dense[50, 3] = 0.5
    slot = slot_of(Dense(dense), 40)
    obs = pd.DataFrame(index=[f"c{i}" for i in range(60)])
    with pytest.raises(NotCountsError, match=r"0\.5 in cell 'c50', gene 'G1'"):
        collect(slot, gene_map(slot.var, None, "toy"), obs, Contents("toy", {}, obs), "toy", tmp_path / "s")
    assert list(tmp_path.iterdir()) == []

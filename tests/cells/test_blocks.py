"""Streams of blocks hold the matrix that went in, whatever its layout and the size of the blocks."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from cellglass.cells import blocks
from cellglass.cells.blocks import Dense, Rows, Scattered, columns_source, spans


@st.composite
def matrices(draw):
    shape = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    density = draw(st.floats(0, 1))
    seed = draw(st.integers(0, 1000))
    return sp.random(*shape, density=density, format="csr", rng=seed, dtype=np.float64)


def sources(matrix):
    csc, coo = matrix.tocsc(), matrix.tocoo()
    order = np.random.default_rng(0).permutation(coo.nnz)

    def triplets():
        for part in np.array_split(order, 3):
            yield coo.row[part], coo.col[part], coo.data[part]

    return {
        "rows": Rows(matrix.data, matrix.indices, matrix.indptr, matrix.shape),
        "columns": columns_source(csc.data, csc.indices, csc.indptr, csc.shape),
        "dense": Dense(matrix.toarray()),
        "triplets": Scattered(triplets, matrix.shape, coo.nnz, coo.data.dtype),
    }


@settings(max_examples=40)
@given(matrix=matrices(), size=st.integers(1, 40))
def test_blocks_put_together_are_the_matrix(matrix, size):
    before = blocks.BLOCK_ENTRIES
    blocks.BLOCK_ENTRIES = size
    try:
        for name, source in sources(matrix).items():
            parts = list(source.blocks())
            assert source.shape == matrix.shape
            assert source.entries >= matrix.nnz
            np.testing.assert_array_equal(sp.vstack(parts).toarray(), matrix.toarray(), err_msg=name)
            for part in parts:
                assert part.has_canonical_format
                assert part.nnz <= size or part.shape[0] == 1
    finally:
        blocks.BLOCK_ENTRIES = before


def test_scratch_on_disk_gives_the_same(tmp_path, counts):
    source = sources(counts)["columns"]
    on_disk = sp.vstack(list(source.blocks(tmp_path / "scratch")))
    assert (on_disk != counts).nnz == 0
    assert sorted(p.name for p in (tmp_path / "scratch").iterdir()) == ["data.npy", "indices.npy"]


def test_entries_that_occur_twice_are_summed():
    source = Rows(np.array([1.0, 2, 4]), np.array([3, 0, 3]), np.array([0, 3]), (1, 5))
    (block,) = source.blocks()
    np.testing.assert_array_equal(block.toarray(), [[2, 0, 0, 5, 0]])


def test_blocks_are_copies(counts):
    kept = counts.copy()
    for block in sources(counts)["rows"].blocks():
        block.data[:] = 99
    np.testing.assert_array_equal(counts.data, kept.data)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", ">i4", "float16", ">f8", "uint64"])
def test_every_numeric_type_is_read(dtype):
    dense = np.array([[0, 1], [1, 0]]).astype(dtype)
    for source in (Dense(dense), Rows(dense[dense != 0], np.array([1, 0]), np.array([0, 1, 2]), (2, 2))):
        assert sp.vstack(list(source.blocks())).toarray().tolist() == [[0, 1], [1, 0]]


def test_spans_cover_all_rows_once_and_bound_empty_rows(small_blocks):
    indptr = np.concatenate([[0], np.cumsum(np.r_[np.zeros(500, int), 100, 3, 60, 61, np.zeros(10, int)])])
    got = list(spans(indptr))
    assert got[0][0] == 0
    assert got[-1][1] == len(indptr) - 1
    assert [stop for _, stop in got[:-1]] == [start for start, _ in got[1:]]
    assert max(stop - start for start, stop in got) <= 64

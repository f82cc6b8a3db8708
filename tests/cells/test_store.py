"""Cells on disk are the cells that were written, and opening them does not read them."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.cells import Cells, cells_from_anndata, open_cells, simulate, write_cells
from cellglass.cells.store import CountsWriter, link_cells, mapped_csr
from cellglass.errors import InputError


def base(array):
    """The array that owns the memory which `array` shows."""
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap) and array.base is not None:
        array = array.base
    return array


def is_mapped(array):
    import mmap

    return isinstance(base(array), np.memmap | mmap.mmap)


@pytest.fixture
def cells(adata):
    return cells_from_anndata(adata)


def test_round_trip(cells, tmp_path):
    write_cells(cells, tmp_path / "c")
    got = open_cells(tmp_path / "c")
    np.testing.assert_array_equal(got.counts.toarray(), cells.counts.toarray())
    pd.testing.assert_frame_equal(got.obs, cells.obs)
    pd.testing.assert_frame_equal(got.genes, cells.genes)
    np.testing.assert_array_equal(got.obsm["X_emb"], cells.obsm["X_emb"])
    assert got.source == cells.source
    names = [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*.npy"))]
    assert names == ["c/counts/data.npy", "c/counts/indices.npy", "c/counts/indptr.npy", "c/obsm/0.npy"]
    dtypes = [np.load(tmp_path / name).dtype for name in names[:3]]
    assert dtypes == [np.float32, np.int32, np.int64]


def test_tables_of_every_kind_round_trip(counts, tmp_path):
    n = counts.shape[0]
    obs = pd.DataFrame(
        {
            "text": ["ä", None] * (n // 2),
            "int": np.arange(n),
            "flag": np.arange(n) % 2 == 0,
            "float": np.linspace(0, 1, n),
            "ordered": pd.Categorical(["low", "high"] * (n // 2), ["low", "mid", "high"], ordered=True),
            "numbers": pd.Categorical([3, 1] * (n // 2), [3, 2, 1]),
            "missing": pd.Categorical(["a", None] * (n // 2), ["b", "a"]),
            "nullable": pd.array([1, None] * (n // 2), dtype="Int64"),
        },
        index=[f"c{i}" for i in range(n)],
    )
    genes = pd.DataFrame({"symbol": [f"g{i}" for i in range(counts.shape[1])]})
    genes.index = pd.Index(genes["symbol"].to_numpy())
    write_cells(Cells(counts, genes, obs), tmp_path / "c")
    pd.testing.assert_frame_equal(open_cells(tmp_path / "c").obs, obs)


def test_opening_maps_and_does_not_copy(cells, tmp_path):
    write_cells(cells, tmp_path / "c")
    got = open_cells(tmp_path / "c")
    assert is_mapped(got.counts.data)
    assert is_mapped(got.counts.indices)
    assert is_mapped(got.obsm["X_emb"])
    assert not got.counts.data.flags.writeable
    assert not is_mapped(cells.counts.data)
    part = got[[5, 3, 40]]
    assert not is_mapped(part.counts.data)
    assert part.counts.nnz == got.counts[[5, 3, 40]].nnz < got.counts.nnz
    np.testing.assert_array_equal(part.counts.toarray(), cells.counts.toarray()[[5, 3, 40]])
    assert list(part.obs.index) == ["cell-5", "cell-3", "cell-40"]
    assert got.counts.has_sorted_indices


def test_reading_rows_touches_only_their_part_of_the_file(tmp_path):
    # Only the bytes of the rows asked for may be read: the rest of the file is made unreadable as counts.
    cells = simulate(n_cells=400, n_genes=300, n_programs=4, seed=1).cells
    write_cells(cells, tmp_path / "c")
    opened = open_cells(tmp_path / "c")
    with (tmp_path / "c" / "counts" / "data.npy").open("r+b") as file:
        start = 128 + 4 * int(cells.counts.indptr[200])
        file.seek(start)
        file.write(b"\xff" * (4 * cells.counts.nnz + 128 - start))
    np.testing.assert_array_equal(opened[:200].counts.toarray(), cells.counts[:200].toarray())
    assert np.isnan(opened[200:].counts.data).all()


def test_mapped_csr_shares_memory_for_both_index_types(counts):
    for dtype in (np.int32, np.int64):
        indices = counts.indices.astype(dtype)
        matrix = mapped_csr(counts.data, indices, counts.indptr.astype(np.int64), counts.shape)
        assert np.shares_memory(matrix.data, counts.data)
        assert np.shares_memory(matrix.indices, indices)
        assert matrix.indptr.dtype == dtype
        assert (matrix[[3, 1]] != counts[[3, 1]]).nnz == 0
        assert (matrix.T @ np.ones(60) == counts.sum(axis=0)).all()


def test_very_many_entries_get_wide_indices(counts, tmp_path):
    with CountsWriter(tmp_path, 40, entries=1 << 40) as writer:
        writer.append(counts[:20])
        writer.append(counts[20:])
    parts = [np.load(tmp_path / "counts" / f"{name}.npy", mmap_mode="r") for name in ("data", "indices", "indptr")]
    assert parts[1].dtype == np.int64
    matrix = mapped_csr(*parts, counts.shape)
    assert (matrix != counts).nnz == 0
    assert is_mapped(matrix.indices)


def test_cells_without_any_entry(tmp_path):
    genes = pd.DataFrame({"symbol": ["a", "b"]}, index=["a", "b"])
    cells = Cells(sp.csr_matrix((3, 2), dtype=np.float32), genes, pd.DataFrame(index=list("xyz")))
    write_cells(cells, tmp_path / "c")
    assert open_cells(tmp_path / "c").counts.nnz == 0


def test_writing_again_replaces_and_may_read_from_itself(cells, tmp_path):
    write_cells(cells, tmp_path / "c")
    opened = open_cells(tmp_path / "c")
    write_cells(opened[:10], tmp_path / "c")
    write_cells(open_cells(tmp_path / "c"), tmp_path / "c")
    assert open_cells(tmp_path / "c").n_cells == 10
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_foreign_folder_is_not_overwritten(cells, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(InputError, match="holds something else"):
        write_cells(cells, tmp_path)
    with pytest.raises(InputError, match="holds something else"):
        write_cells(cells, tmp_path / "a.txt")
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(InputError, match=r"meta\.json does not describe"):
        write_cells(cells, tmp_path)


def test_what_cannot_be_opened_is_named(cells, tmp_path):
    with pytest.raises(InputError, match=r"no meta\.json"):
        open_cells(tmp_path)
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(InputError, match=r"meta\.json cannot be read as JSON .*; write the cells again"):
        open_cells(tmp_path)
    write_cells(cells, tmp_path / "c")
    meta = json.loads((tmp_path / "c" / "meta.json").read_text())
    (tmp_path / "c" / "meta.json").write_text(json.dumps({**meta, "schema": 99}))
    with pytest.raises(InputError, match="schema 99"):
        open_cells(tmp_path / "c")
    (tmp_path / "c" / "meta.json").write_text(json.dumps(meta))
    data = tmp_path / "c" / "counts" / "data.npy"
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        open_cells(tmp_path / "c")
    data.unlink()
    with pytest.raises(InputError, match="damaged"):
        open_cells(tmp_path / "c")


def test_blocks_become_one_and_equal_cells_written_whole(tmp_path):
    from cellglass.cells import simulate, write_blocks
    from cellglass.files import sha256

    cells = simulate(n_cells=300, n_genes=80, n_programs=4, genes_per_program=10, n_batches=2, seed=3).cells
    pieces = [slice(0, 7), slice(7, 250), slice(250, 300)]
    write_blocks((cells[piece] for piece in pieces), tmp_path / "blocks", entries=cells.counts.nnz)
    write_cells(cells, tmp_path / "whole")
    assert sha256(tmp_path / "blocks") == sha256(tmp_path / "whole")
    with pytest.raises(InputError, match="no cells to write"):
        write_blocks(iter(()), tmp_path / "none", entries=0)


def test_linked_cells_are_the_same_files_and_outlive_the_first(cells, tmp_path):
    write_cells(cells, tmp_path / "c")
    link_cells(tmp_path / "c", tmp_path / "d")
    for name in ("data", "indices", "indptr"):
        one, two = (tmp_path / folder / "counts" / f"{name}.npy" for folder in "cd")
        assert one.samefile(two)
    shutil.rmtree(tmp_path / "c")
    np.testing.assert_array_equal(open_cells(tmp_path / "d").counts.toarray(), cells.counts.toarray())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="something else"):
        link_cells(tmp_path / "d", tmp_path / "other")

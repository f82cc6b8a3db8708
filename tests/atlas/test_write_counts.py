from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import read_zarr

from cellglass.atlas.write_counts import column_blocks, column_sizes, write_expression
from cellglass.cells.cells import Cells
from cellglass.files import sha256


def cells(n: int = 60, genes: int = 25) -> Cells:
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(0.4, size=(n, genes)).astype(np.float32))
    table = pd.DataFrame({"symbol": [f"S{i}" for i in range(genes)]}, index=[f"ENSG{i}" for i in range(genes)])
    return Cells(counts, table, pd.DataFrame(index=[f"c{i}" for i in range(n)]))


@pytest.mark.parametrize("entries", [1, 7, 50, 10_000])
def test_blocks_put_together_are_the_matrix_by_column(entries: int, tmp_path: Path) -> None:
    dense = cells().counts.toarray()
    dense[:, 3] = 0
    counts = sp.csr_matrix(dense)
    sizes = column_sizes(counts, entries)
    np.testing.assert_array_equal(sizes, np.bincount(counts.indices, minlength=counts.shape[1]))
    blocks = list(column_blocks(counts, sizes, entries, tmp_path / "turning"))
    assert not (tmp_path / "turning").exists()
    assert (sp.hstack(blocks, format="csc") != counts.tocsc()).nnz == 0
    for block in blocks:
        assert block.has_sorted_indices
        assert block.nnz <= entries or block.shape[1] == 1


def test_the_size_of_blocks_does_not_change_the_file(tmp_path: Path) -> None:
    one = write_expression(tmp_path / "a", cells(), entries=13)
    two = write_expression(tmp_path / "b", cells())
    assert sha256(one) == sha256(two)
    table = read_zarr(one)
    assert (cells().counts.tocsc() != table.X).nnz == 0
    assert table.var["symbol"].tolist() == cells().genes["symbol"].tolist()
    assert table.obs_names.tolist() == cells().obs.index.tolist()


def test_memory_mapped_counts_are_read_in_place(tmp_path: Path) -> None:
    plain = cells()
    parts = {}
    for name in ("data", "indices", "indptr"):
        np.save(tmp_path / f"{name}.npy", getattr(plain.counts, name))
        parts[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    mapped = sp.csr_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=plain.counts.shape, copy=False)
    assert sha256(write_expression(tmp_path / "a", plain.with_counts(mapped), entries=40)) == sha256(
        write_expression(tmp_path / "b", plain)
    )


def test_cells_without_counts(tmp_path: Path) -> None:
    empty = cells().with_counts(sp.csr_matrix((60, 25), dtype=np.float32))
    assert read_zarr(write_expression(tmp_path, empty)).X.nnz == 0

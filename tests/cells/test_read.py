"""Every format gives the counts that were written, in memory and spooled; slots are chosen as told."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.cells import cells_from_anndata, open_cells, read_cells, write_cells
from cellglass.errors import InputError


def assert_equal(got, expected):
    """Hold two Cells against each other, everything but the source."""
    assert got.counts.shape == expected.counts.shape
    assert got.counts.dtype == np.float32
    assert got.counts.has_sorted_indices
    np.testing.assert_array_equal(got.counts.toarray(), expected.counts.toarray())
    assert (got.counts.data != 0).all()
    pd.testing.assert_frame_equal(got.obs, expected.obs)
    pd.testing.assert_frame_equal(got.genes, expected.genes)
    assert set(got.obsm) == set(expected.obsm)
    for key in got.obsm:
        np.testing.assert_array_equal(got.obsm[key], expected.obsm[key])


def write(kind, adata, folder, writers):
    path = folder / f"file-{kind}"
    counts = sp.csr_matrix(adata.X)
    if kind.startswith("tenx"):
        tenx_h5, tenx_mtx = writers
        version = 2 if "v2" in kind else 3
        if "h5" in kind:
            tenx_h5(path, counts, version)
        else:
            tenx_mtx(path, counts, version, zipped="plain" not in kind, shuffle="shuffled" in kind, real="real" in kind)
        return path
    adata.X = {"dense": lambda: counts.toarray(), "csc": counts.tocsc}.get(kind.split("-")[1], lambda: counts)()
    if kind.startswith("h5ad"):
        adata.write_h5ad(path, compression="gzip" if kind.endswith("gzip") else None)
    else:
        adata.write_zarr(path)
    return path


KINDS = [
    "h5ad-csr", "h5ad-csr-gzip", "h5ad-csc", "h5ad-dense", "zarr-csr", "zarr-csc", "zarr-dense", "tenx-h5-v3",
    "tenx-h5-v2", "tenx-mtx-v3", "tenx-mtx-v2", "tenx-mtx-v3-plain", "tenx-mtx-v2-plain", "tenx-mtx-v3-shuffled",
    "tenx-mtx-v3-real",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "zarr_format"), [(kind, n) for kind in KINDS for n in ((2, 3) if kind.startswith("zarr") else (3,))]
)
def test_all_formats_give_the_written_counts_in_memory_and_spooled(
    kind, zarr_format, adata, tmp_path, tenx_h5, tenx_mtx, small_blocks, recwarn
):
    with anndata.settings.override(zarr_write_format=zarr_format):
        path = write(kind, adata, tmp_path, (tenx_h5, tenx_mtx))
    expected = cells_from_anndata(adata)  # after writing, which makes text columns categorical
    cells = read_cells(path)
    spooled = read_cells(path, spool=tmp_path / "spool")
    assert_equal(spooled, cells)
    np.testing.assert_array_equal(cells.counts.toarray(), expected.counts.toarray())
    pd.testing.assert_frame_equal(cells.genes, expected.genes)
    assert list(cells.obs.index) == list(expected.obs.index)
    if not kind.startswith("tenx"):
        assert_equal(cells, expected)
    assert cells.source == spooled.source == f"{path.name}, {'matrix' if kind.startswith('tenx') else 'X'}"
    assert_equal(read_cells(tmp_path / "spool"), cells)
    assert not [p for p in (tmp_path / "spool").rglob("*") if "scratch" in p.name or "writing" in p.name]


def test_ids_lose_their_version_and_symbols_are_found(adata):
    cells = cells_from_anndata(adata)
    assert cells.genes.index[4] == "ENSG00000000004"
    assert cells.symbols[4] == "SYM4"


def test_metadata_survives(adata):
    cells = cells_from_anndata(adata)
    assert list(cells.obs["kind"].cat.categories) == ["B", "NK", "T"]
    assert (cells.obs["age"].to_numpy() == adata.obs["age"].to_numpy()).all()
    np.testing.assert_array_equal(cells.obsm["X_emb"], adata.obsm["X_emb"])


def test_reading_leaves_the_object_as_it_was(make_counts, make_adata):
    counts = make_counts().tolil()
    counts = counts.tocsr()
    counts.data[3] = 0  # a stored zero
    adata = make_adata(counts)
    before = adata.copy()
    cells = cells_from_anndata(adata)
    assert cells.counts.nnz == counts.nnz - 1
    np.testing.assert_array_equal(adata.X.data, before.X.data)
    pd.testing.assert_frame_equal(adata.obs, before.obs)


def slots(make_adata, make_counts, x, layer=None, raw=None):
    adata = make_adata(x)
    if layer is not None:
        adata.layers["counts"] = layer
    if raw is not None:
        other = make_adata(raw)
        adata.raw = other
    return adata


def log1p(counts):
    scaled = counts.multiply(1e4 / counts.sum(axis=1)).tocsr()
    scaled.data = np.log1p(scaled.data)
    return scaled.astype(np.float32)


@pytest.mark.parametrize("stored", [False, True])
def test_auto_takes_the_first_slot_with_counts(stored, make_adata, make_counts, tmp_path):
    a, b, c = (make_counts(seed=i) for i in range(3))
    cases = {
        "layers['counts']": (slots(make_adata, make_counts, a, b, c), b),
        "X": (slots(make_adata, make_counts, a, log1p(b), c), a),
        "raw": (slots(make_adata, make_counts, log1p(a), log1p(b), c), c),
    }
    for slot, (adata, expected) in cases.items():
        if stored:
            adata.write_h5ad(tmp_path / "a.h5ad")
            cells = read_cells(tmp_path / "a.h5ad")
        else:
            cells = cells_from_anndata(adata)
        assert cells.source.endswith(f", {slot}")
        np.testing.assert_array_equal(cells.counts.toarray(), expected.toarray())


def test_raw_may_have_more_genes(make_adata, make_counts):
    adata = make_adata(make_counts())
    adata.raw = adata.copy()
    adata = adata[:, :10].copy()
    adata.X = log1p(adata.X)
    cells = cells_from_anndata(adata)
    assert cells.n_genes == 40
    assert cells.source.endswith("raw")


@pytest.mark.parametrize(
    ("asked", "slot"), [("X", "X"), ("raw", "raw"), ("layers/umi", "layers['umi']"), ("umi", "layers['umi']")]
)
def test_a_named_slot_is_taken(asked, slot, make_adata, make_counts, tmp_path):
    parts = {"X": make_counts(seed=0), "raw": make_counts(seed=1), "layers['umi']": make_counts(seed=2)}
    adata = slots(make_adata, make_counts, parts["X"], raw=parts["raw"])
    adata.layers["umi"] = parts["layers['umi']"]
    adata.write_h5ad(tmp_path / "a.h5ad")
    cells = read_cells(tmp_path / "a.h5ad", counts=asked)
    assert cells.source == f"a.h5ad, {slot}"
    np.testing.assert_array_equal(cells.counts.toarray(), parts[slot].toarray())


def test_a_named_slot_that_is_no_counts_is_refused_even_if_another_would_do(make_adata, make_counts):
    adata = slots(make_adata, make_counts, log1p(make_counts()), make_counts())
    with pytest.raises(InputError, match=r"X is log-transformed.*layers/counts"):
        cells_from_anndata(adata, counts="X")


def test_gene_ids_names_the_column(adata, tmp_path):
    adata.write_h5ad(tmp_path / "a.h5ad")
    cells = read_cells(tmp_path / "a.h5ad", gene_ids="gene_symbol")
    assert list(cells.genes.index[:2]) == ["SYM0", "SYM1"]
    assert list(cells.genes["ensembl"][:2]) == ["ENSG00000000000", "ENSG00000000001"]


def test_duplicated_ids_are_summed(adata, caplog, tmp_path):
    names = [f"G{i}" for i in range(40)]
    names[7] = names[21] = "G2"
    adata.var["id"] = names
    adata.write_h5ad(tmp_path / "a.h5ad")
    for spool in (None, tmp_path / "spool"):
        cells = read_cells(tmp_path / "a.h5ad", gene_ids="id", spool=spool)
        dense = adata.X.toarray()
        assert cells.n_genes == 38
        np.testing.assert_array_equal(cells.counts[:, 2].toarray()[:, 0], dense[:, [2, 7, 21]].sum(axis=1))
        assert cells.counts.sum() == dense.sum()
        assert "1 gene ids that occur more than once (G2)" in caplog.text


def test_genes_without_an_id_are_left_out_and_named(adata, caplog):
    adata.var["id"] = [None if i in (3, 5) else f"G{i}" for i in range(40)]
    cells = cells_from_anndata(adata, gene_ids="id")
    assert cells.n_genes == 38
    assert "left out 2 genes without an id" in caplog.text
    np.testing.assert_array_equal(cells.counts[:, 3].toarray(), adata.X[:, 4].toarray())


def test_columns_that_are_there_pass(adata):
    assert cells_from_anndata(adata, columns=["kind", "age"]).n_cells == 60


def test_cells_without_counts_are_kept_and_logged(make_counts, make_adata, caplog):
    counts = make_counts().tolil()
    counts[4] = 0
    cells = cells_from_anndata(make_adata(counts.tocsr()))
    assert cells.n_cells == 60
    assert "1 cells have no counts" in caplog.text


def test_a_written_folder_is_read_like_a_file(adata, tmp_path):
    cells = cells_from_anndata(adata)
    write_cells(cells, tmp_path / "cells")
    assert_equal(read_cells(tmp_path / "cells", columns=["kind"]), open_cells(tmp_path / "cells"))
    with pytest.raises(InputError, match="no obs column 'nope'"):
        read_cells(tmp_path / "cells", columns=["nope"])


def test_real_cells(real_file, tmp_path):
    reference = anndata.read_h5ad(real_file)
    cells = read_cells(real_file)
    spooled = read_cells(real_file, spool=tmp_path / "spool")
    assert (cells.counts != sp.csr_matrix(reference.X)).nnz == 0
    assert list(cells.genes.index) == list(reference.var_names)
    assert list(cells.obs.index) == list(reference.obs_names)
    assert_equal(spooled, cells)
    if "symbol" in reference.var:
        assert list(cells.symbols) == list(reference.var["symbol"])

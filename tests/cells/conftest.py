"""Toy data and writers of every format that cellglass reads, shared by the tests of this folder."""

import gzip
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "cells"


def toy_counts(n_cells=60, n_genes=40, seed=0):
    """Counts of cells with very different depths; every cell has some."""
    rng = np.random.default_rng(seed)
    depth = rng.lognormal(0, 0.7, (n_cells, 1))
    counts = rng.poisson(depth * rng.lognormal(-0.3, 1.0, n_genes)).astype(np.float32)
    counts[:, 0] += 1
    return sp.csr_matrix(counts)


def toy_adata(counts=None, **slots):
    counts = toy_counts() if counts is None else counts
    n_cells, n_genes = counts.shape
    rng = np.random.default_rng(1)
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical(np.array(["T", "B"], dtype=object)[rng.integers(2, size=n_cells)], ["B", "NK", "T"]),
            "age": rng.integers(20, 80, n_cells),
            "note": np.array(["x", "y"], dtype=object)[rng.integers(2, size=n_cells)],
        },
        index=pd.Index([f"cell-{i}" for i in range(n_cells)], dtype=object),
    )
    var = pd.DataFrame(
        {"gene_symbol": [f"SYM{i}" for i in range(n_genes)]},
        index=pd.Index([f"ENSG{i:011d}.{1 + i % 3}" for i in range(n_genes)], dtype=object),
    )
    obsm = {"X_emb": rng.normal(size=(n_cells, 3)).astype(np.float32)}
    return anndata.AnnData(X=counts, obs=obs, var=var, obsm=obsm, **slots)


def write_tenx_h5(path, counts, version=3, types=None, genome="GRCh38"):
    n_cells, n_genes = counts.shape
    ids = [f"ENSG{i:011d}".encode() for i in range(n_genes)]
    names = [f"SYM{i}".encode() for i in range(n_genes)]
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if version == 3 else genome)
        group["barcodes"] = np.array([f"cell-{i}".encode() for i in range(n_cells)])
        group["data"] = counts.data.astype(np.int32)
        group["indices"] = counts.indices.astype(np.int64)
        group["indptr"] = counts.indptr.astype(np.int64)
        group["shape"] = np.array([n_genes, n_cells], dtype=np.int32)
        if version == 3:
            features = group.create_group("features")
            features["id"], features["name"] = np.array(ids), np.array(names)
            features["feature_type"] = np.array(types or [b"Gene Expression"] * n_genes)
        else:
            group["genes"], group["gene_names"] = np.array(ids), np.array(names)


def write_tenx_mtx(folder, counts, version=3, zipped=True, types=None, shuffle=False, prefix="", real=False):
    folder.mkdir()
    n_cells, n_genes = counts.shape
    entries = counts.tocoo()
    order = np.random.default_rng(0).permutation(entries.nnz) if shuffle else np.arange(entries.nnz)
    lines = [
        f"%%MatrixMarket matrix coordinate {'real' if real else 'integer'} general",
        '%metadata_json: {"software": "toy"}',
        f"{n_genes} {n_cells} {entries.nnz}",
        *(f"{entries.col[i] + 1} {entries.row[i] + 1} {int(entries.data[i])}" for i in order),
    ]
    types = types or ["Gene Expression"] * n_genes
    features = [f"ENSG{i:011d}\tSYM{i}" + (f"\t{types[i]}" if version == 3 else "") for i in range(n_genes)]
    cells = [f"cell-{i}" for i in range(n_cells)]
    names = ("matrix.mtx", "features.tsv" if version == 3 else "genes.tsv", "barcodes.tsv")
    for name, content in zip(names, (lines, features, cells), strict=True):
        text = ("\n".join(content) + "\n").encode()
        if zipped:
            (folder / f"{prefix}{name}.gz").write_bytes(gzip.compress(text))
        else:
            (folder / f"{prefix}{name}").write_bytes(text)


@pytest.fixture
def counts():
    return toy_counts()


@pytest.fixture
def adata():
    return toy_adata()


@pytest.fixture
def make_adata():
    return toy_adata


@pytest.fixture
def make_counts():
    return toy_counts


@pytest.fixture
def tenx_h5():
    return write_tenx_h5


@pytest.fixture
def tenx_mtx():
    return write_tenx_mtx


@pytest.fixture(
    params=[
        "kang_ctrl_stim_1556x1267",
        "kang_ctrl_12261x1287",
        pytest.param("pbmc_frozen_donorA", marks=pytest.mark.slow),
        pytest.param("zheng_facs_pbmc", marks=pytest.mark.slow),
    ]
)
def real_file(request):
    path = DATA / f"{request.param}.h5ad"
    if not path.is_file():
        pytest.skip(f"real cells are not here: {path}")
    return path


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of at most 64 entries, so that toy data take many."""
    monkeypatch.setattr("cellglass.cells.blocks.BLOCK_ENTRIES", 64)

"""The demo cells: real counts, recovered exactly, without network."""

import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.cells import demo_cells
from cellglass.cells.demo import _bundled, recover


@pytest.fixture(scope="module")
def demo():
    return demo_cells()


def test_shape_and_labels(demo):
    assert demo.counts.shape == (700, 765)
    assert demo.obs["bulk_labels"].nunique() == 10
    assert set(demo.obs["phase"]) == {"G1", "S", "G2M"}
    assert "louvain" in demo.obs
    assert demo.obsm["X_umap"].shape == (700, 2)
    assert demo.obs.index.is_unique
    assert demo.genes.index.is_unique
    assert {"CD79A", "NKG7", "CST3"} <= set(demo.symbols)
    assert np.median(np.asarray(demo.counts.sum(axis=1))) == 653


def test_counts_are_integers_and_give_the_stored_log_back(demo):
    import h5py

    assert (demo.counts.data == np.rint(demo.counts.data)).all()
    assert demo.counts.data.min() >= 1
    with h5py.File(_bundled()) as file:
        raw = file["raw.X"]
        stored = sp.csr_matrix((raw["data"][:], raw["indices"][:], raw["indptr"][:]), shape=(700, 765)).toarray()
    total = demo.obs["n_counts"].to_numpy(dtype=float)[:, None]
    np.testing.assert_allclose(np.log1p(demo.counts.toarray() / total * 1e4), stored, atol=5.1e-4)


def test_markers_lie_where_biology_puts_them(demo):
    types = demo.obs["bulk_labels"].to_numpy()
    for gene, kind in (("CD79A", "CD19+ B"), ("CST3", "CD14+ Monocyte"), ("NKG7", "CD56+ NK")):
        counts = demo.counts[:, list(demo.symbols).index(gene)].toarray()[:, 0]
        assert counts[types == kind].mean() > 3 * counts[types == "CD4+/CD45RA+/CD25- Naive T"].mean()


def test_what_is_not_the_log_of_counts_is_noticed():
    counts = sp.csr_matrix(np.array([[1.0, 2, 0], [3, 0, 5]]))
    totals = np.array([30.0, 80.0])
    raw = counts.multiply(1e4 / totals[:, None]).tocsr()
    raw.data = np.log1p(raw.data)
    assert (recover(raw, totals) != counts).nnz == 0
    with pytest.raises(RuntimeError, match="not what they were"):
        recover(raw, totals * 1.5)

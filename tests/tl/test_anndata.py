"""Concepts in an AnnData: values are the atlas's, cells and genes are matched by name, files give them back."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import cellglass
from cellglass.atlas import Atlas, open_atlas
from cellglass.errors import InputError
from cellglass.pipeline.config import make_config
from cellglass.tl.anndata import annotate, genes, pathways
from short import few_steps
from synthetic import make_atlas


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return open_atlas(make_atlas(tmp_path_factory.mktemp("tl") / "atlas", n_cells=150))


@pytest.fixture
def adata(atlas: Atlas) -> AnnData:
    """Return cells of the atlas in another order, with one that is not in it, and genes by symbol."""
    expression = atlas.expression
    assert expression is not None
    order = np.random.default_rng(0).permutation(150)[:100]
    names = [*expression.obs_names[order], "stranger"]
    found = AnnData(sp.csr_matrix((101, expression.n_vars), dtype=np.float32), obs=pd.DataFrame(index=names))
    found.var_names = expression.var["symbol"].to_numpy()
    return found


def test_activations_and_effects_are_the_atlass(adata: AnnData, atlas: Atlas) -> None:
    cellglass.tl.annotate(adata, atlas)
    kept = adata.uns["concepts"]
    var = atlas.concepts.var
    assert not var.loc[list(kept["names"]), "residual"].any()
    assert kept["cells"] == 100
    x = adata.obsm["X_concepts"]
    wanted = atlas.concepts[adata.obs_names[:100], list(kept["names"])].X.toarray()
    np.testing.assert_array_equal(x[:100].toarray(), wanted)
    assert x[100].nnz == 0, "a cell that the atlas lacks"
    assert (kept["method"], kept["on"]) == ("swap", "activation"), "the first ranking that the atlas has"
    name = str(kept["names"][0])
    rows = atlas.genes(name, method="swap").set_index("symbol")["score"]
    column = pd.Series(adata.varm["concept_effects"][:, 0], index=adata.var_names)
    pd.testing.assert_series_equal(column[rows.index], rows, check_names=False, check_dtype=False)
    assert column.drop(rows.index).isna().all()
    listed = genes(adata, name, n=5)
    assert listed["gene"].tolist() == rows.index[:5].tolist()
    assert listed.equals(genes(adata, 0, n=5))


def test_gene_sets_are_the_significant_ones_of_the_test_that_opens(adata: AnnData, atlas: Atlas) -> None:
    annotate(adata, atlas)
    name = next(n for n in adata.uns["concepts"]["names"] if len(pathways(adata, str(n))))
    rows = pathways(adata, str(name))
    assert (rows[["q", "null_q"]] < 0.05).all(axis=None)
    assert rows["q"].is_monotonic_increasing
    table = atlas.pathways(str(name))
    table = table[(table["test"] == rows["test"][0]) & (table["ranking"] == rows["ranking"][0])]
    assert set(rows["term"]) == set(table.loc[(table["q"] < 0.05) & (table["null_q"] < 0.05), "term"].astype(str))


@pytest.mark.filterwarnings("ignore:.*zarr v[23]")
@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_files_give_it_back(adata: AnnData, atlas: Atlas, tmp_path: Path, ending: str) -> None:
    annotate(adata, atlas, key_added="mine")
    path = tmp_path / f"a.{ending}"
    adata.write_h5ad(path) if ending == "h5ad" else adata.write_zarr(path)
    back = anndata.read_h5ad(path) if ending == "h5ad" else anndata.read_zarr(path)
    assert (back.obsm["X_mine"] != adata.obsm["X_mine"]).nnz == 0
    name = str(adata.uns["mine"]["names"][1])
    pd.testing.assert_frame_equal(genes(back, name, key="mine"), genes(adata, name, key="mine"))
    pd.testing.assert_frame_equal(
        pathways(back, name, key="mine"), pathways(adata, name, key="mine"), check_dtype=False, check_index_type=False
    )


def test_what_does_not_fit_is_said(adata: AnnData, atlas: Atlas) -> None:
    with pytest.raises(InputError, match=r"keeps no concepts in uns\['concepts'\]"):
        genes(adata, 0)
    annotate(adata, atlas.path)
    with pytest.raises(InputError, match="no concept 'x'"):
        genes(adata, "x")
    with pytest.raises(InputError, match="no concept 99"):
        pathways(adata, 99)
    strangers = AnnData(np.zeros((3, 2), dtype=np.float32))
    with pytest.raises(InputError, match="no cell of this AnnData is in the atlas"):
        annotate(strangers, atlas)
    strangers.obs_names = ["a", "a", "b"]
    with pytest.raises(InputError, match="obs_names_make_unique"):
        annotate(strangers, atlas)


@pytest.mark.slow
def test_concepts_are_found_and_kept(tmp_path: Path) -> None:
    adata = cellglass.demo_cells()[np.arange(0, 700, 4)].to_anndata()
    config = make_config(
        {
            "model": {"epochs": 5},
            "dictionary": {"kind": "matryoshka", "seeds": 2, "splits": 0, "latents": 24, "k": 4},
            "attribution": {"methods": ["de"]},
            "enrichment": {"gene_sets": ["none"]},
        }
    )
    with few_steps():
        atlas = cellglass.tl.concepts(adata, out=tmp_path / "atlas", report=False, config=config)
    names = list(adata.uns["concepts"]["names"])
    np.testing.assert_array_equal(
        adata.obsm["X_concepts"].toarray(), atlas.concepts[adata.obs_names, names].X.toarray()
    )
    assert adata.uns["concepts"]["method"] == "de"
    assert len(pathways(adata, 0)) == 0

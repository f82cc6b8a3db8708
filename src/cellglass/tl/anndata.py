"""What an atlas says, kept in an AnnData: activations in obsm, effects of genes in varm, the rest in uns.

    obsm["X_concepts"]       CSR float32 (n_obs, n_concepts): activations; 0 in cells that the atlas lacks
    varm["concept_effects"]  float32 (n_vars, n_concepts): scores of the first ranking that was run; NaN: not measured
    uns["concepts"]          "names" (n_concepts,); "table", one row for each concept; "pathways", its significant gene
                             sets; "method" and "on" of the scores; "atlas", "version", "cells" and "genes" found there

All of it goes through h5ad and zarr as it is. Columns of obs are never touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass._version import __version__
from cellglass.errors import InputError
from cellglass.vocabulary import SIGNIFICANT

if TYPE_CHECKING:
    from anndata import AnnData

    from cellglass.atlas import Atlas

KEY = "concepts"
_TABLE = (
    "latent", "density", "mean_activation", "max_activation", "best_label", "best_label_f1", "best_term", "top_gene",
    "reproducibility", "threshold", "depth_correlation",
)  # fmt: skip
_PATHWAYS = ("source", "term", "test", "ranking", "statistic", "q", "null_q")


def concepts(adata: AnnData, model: Any = None, *, out: Path | str, key_added: str = KEY, **settings: Any) -> Atlas:
    """Find the concepts of a model in the cells of `adata`, and keep them in it; see `cellglass.explain`.

    Parameters
    ----------
    adata : anndata.AnnData
        Cells with raw counts in X, ``raw`` or a layer. It is changed in place: see `annotate`.
    model : CellModel, optional
        By default scVI, fitted to the cells.
    out : path
        Folder of the atlas, which holds more than an AnnData can; the same call goes on with one that was stopped.
    key_added : str
        See `annotate`.
    **settings
        What `cellglass.explain` takes: ``labels``, ``gene_sets``, ``seed``, tables of settings.

    Returns
    -------
    Atlas

    Raises
    ------
    InputError
        If something cannot be done with what is given.
    """
    from cellglass.pipeline.explain import explain

    atlas = explain(adata, model, out=out, **settings)
    annotate(adata, atlas, key_added=key_added)
    return atlas


def annotate(adata: AnnData, atlas: Atlas | Path | str, *, key_added: str = KEY) -> None:
    """Keep what an atlas says of its concepts in `adata`; the module's docstring says where.

    Parameters
    ----------
    adata : anndata.AnnData
        Of the atlas's cells, or some of them, in any order: they are matched by name, genes by id or symbol.
    atlas : Atlas or path
    key_added : str
        Ends the names in ``obsm`` and ``varm``, and is the one in ``uns``.

    Raises
    ------
    InputError
        If cell names are not unique, or `adata` shares no cell with the atlas.
    """
    from cellglass.atlas import open_atlas
    from cellglass.atlas.evidence import leading_order, residual

    atlas = open_atlas(atlas) if isinstance(atlas, str | Path) else atlas
    if not adata.obs_names.is_unique:
        raise InputError("the cell names of this AnnData are not unique; call adata.obs_names_make_unique() first")
    cell = atlas.concepts.obs_names.get_indexer(adata.obs_names)
    if not (cell >= 0).any():
        raise InputError(
            f"{atlas.path}: no cell of this AnnData is in the atlas, whose cells have names such as "
            f"{atlas.concepts.obs_names[0]!r}; give the AnnData that was explained"
        )
    var = atlas.concepts.var
    order = [i for i in leading_order(var) if var["density"].iloc[i] > 0 and not residual(var)[i]]
    method, on, effects = _effects(atlas, var["latent"].iloc[order].to_numpy(), adata.var)
    x = sp.csr_matrix(atlas.concepts.X[:, order]).astype(np.float32)
    picked = sp.csr_matrix((np.ones(int((cell >= 0).sum()), np.float32), (np.flatnonzero(cell >= 0), cell[cell >= 0])),
                           shape=(adata.n_obs, x.shape[0]))  # fmt: skip
    adata.obsm[f"X_{key_added}"] = sp.csr_matrix(picked @ x)
    adata.varm[f"{key_added.removesuffix('s')}_effects"] = effects
    names = [str(name) for name in var.index[order]]
    adata.uns[key_added] = {
        "names": np.array(names, dtype=object),
        "table": var.iloc[order][[name for name in _TABLE if name in var]].copy(),
        "pathways": _pathways(atlas, dict(zip(var["latent"].iloc[order], names, strict=True))),
        "method": method,
        "on": on,
        "atlas": str(atlas.path),
        "version": __version__,
        "cells": int((cell >= 0).sum()),
        "genes": int(np.isfinite(effects).any(axis=1).sum()),
    }


def genes(adata: AnnData, concept: str | int, n: int | None = None, *, key: str = KEY) -> pd.DataFrame:
    """Return the genes of a concept that `annotate` kept, the largest score first: columns ``gene`` and ``score``.

    Parameters
    ----------
    concept : str or int
        Its name, or its place among the concepts.
    n : int, optional
        As many genes from the top; all that were measured by default.
    """
    kept = _kept(adata, key)
    scores = np.asarray(adata.varm[f"{key.removesuffix('s')}_effects"])[:, _place(kept, concept)]
    known = np.flatnonzero(np.isfinite(scores))
    order = known[np.argsort(-scores[known], kind="stable")][:n]
    return pd.DataFrame({"gene": adata.var_names[order].to_numpy(), "score": scores[order]})


def pathways(adata: AnnData, concept: str | int, *, key: str = KEY) -> pd.DataFrame:
    """Return the significant gene sets of a concept that `annotate` kept, the smallest q first."""
    kept = _kept(adata, key)
    table: pd.DataFrame = kept["pathways"]
    name = str(kept["names"][_place(kept, concept)])
    return table[table["concept"].astype(str) == name].reset_index(drop=True)


def _kept(adata: AnnData, key: str) -> Any:
    if key not in adata.uns or "names" not in adata.uns[key]:
        raise InputError(f"this AnnData keeps no concepts in uns[{key!r}]; call cellglass.tl.annotate(adata, atlas)")
    return adata.uns[key]


def _place(kept: Any, concept: str | int) -> int:
    names = [str(name) for name in kept["names"]]
    if isinstance(concept, int | np.integer):
        if not 0 <= concept < len(names):
            raise InputError(f"there is no concept {concept}; there are {len(names)}, from 0 on")
        return int(concept)
    if concept not in names:
        raise InputError(f"there is no concept {concept!r}; their names are in uns, under names, such as {names[0]!r}")
    return names.index(concept)


def _effects(atlas: Atlas, latents: Any, var: pd.DataFrame) -> tuple[str, str, Any]:
    """Return the first ranking that was run, and its scores by the genes of an AnnData, (n_vars, n_concepts)."""
    from cellglass.attribution.registry import ranking_run

    found = np.full((len(var), len(latents)), np.nan, dtype=np.float32)
    table = atlas.gene_rows({})
    method, on = ranking_run(table) or ("", "")
    table = table[(table["method"] == method) & (table["on"] == on)]
    names = [pd.Index(var.index.astype(str))] + [
        pd.Index(var[c].astype(str)) for c in ("symbol", "gene_symbols") if c in var
    ]
    asked, gene = pd.unique(table["gene"].astype(str)), np.full(table["gene"].nunique(), -1)
    symbols = table.drop_duplicates("gene")["symbol"].astype(str).to_numpy() if "symbol" in table else asked
    for by in names:
        for ids in (asked, symbols):
            if by.is_unique:
                gene = np.where(gene < 0, by.get_indexer(pd.Index(ids)), gene)
    place = dict(zip(asked, gene, strict=True))
    row = table["gene"].astype(str).map(place).to_numpy(dtype=np.int64)
    column = pd.Index(latents).get_indexer(pd.Index(table["concept"]))
    known = (row >= 0) & (column >= 0)
    found[row[known], column[known]] = table["score"].to_numpy()[known]
    return method, on, found


def _pathways(atlas: Atlas, names: dict[int, str]) -> pd.DataFrame:
    """Return the significant rows of the test and ranking that open a card, by concept."""
    from cellglass.atlas.evidence import opening

    table = atlas.pathways()
    if not len(table):
        return pd.DataFrame({"concept": [], **{name: [] for name in _PATHWAYS}})
    test, ranking = opening(table)
    sure = (table["test"] == test) & (table["ranking"] == ranking)
    sure &= (table["q"] < SIGNIFICANT) & (table["null_q"] < SIGNIFICANT) & table["concept"].isin(list(names))
    rows = table[sure].sort_values(["concept", "q"], kind="stable")
    kept = rows[list(_PATHWAYS)].astype(dict.fromkeys(("source", "term", "test", "ranking"), str))
    kept.insert(0, "concept", rows["concept"].map(names).astype(str))
    return kept.reset_index(drop=True).rename(index=str)

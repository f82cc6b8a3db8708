"""What a run does otherwise where the site has one row for each gene of a cell: codes, the genes that concepts fire on.

The dictionary learns from a sample of each cell's gene tokens. Its concepts are then read on all tokens of all cells,
batch by batch: of each cell the largest and the mean activation are kept, of each gene sums over its tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.files import atomic_path
from cellglass.pipeline.runner import Run
from cellglass.pipeline.stages.activations import open_activations
from cellglass.pipeline.stages.model import open_explained, open_model
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.activations.store import Store
    from cellglass.dictionaries.base import Dictionary

TOKENS = "work/tokens"
_SUMS, _MEANS, _IDENTITY = "genes.parquet", "means.npz", "identity.npy"
_CELLS = 256


def of_tokens(store: Store, site: str) -> bool:
    """Say whether the site that is explained has one row for each gene of a cell."""
    return store.sites[site].granularity == "token"


def encode_tokens(run: Run, dictionary: Dictionary) -> sp.csc_matrix:
    """Return the largest activation of each concept in each cell, CSC; write means and sums by gene to `TOKENS`."""
    import torch

    from cellglass.attribution.pooled import max_pooled
    from cellglass.evaluation.tokens import GeneSums

    model, cells = open_model(run), open_explained(run)
    _, site = open_activations(run)
    sums = GeneSums(dictionary.n_latents, len(model.genes))
    largest, means = [], []
    with threads(1), torch.no_grad():
        for start in range(0, cells.n_cells, _CELLS):
            run.progress("encode gene tokens", start, cells.n_cells)
            some = model.align(cells[start : start + _CELLS])
            rows = model.token_activations(some, [site])[site]
            codes = dictionary.encode(rows.values).to_csr()
            sums.add(codes, rows.gene)
            largest.append(max_pooled(codes, rows.cell, some.n_cells))
            means.append(_mean_of_cells(codes, rows.cell, some.n_cells))
    run.progress("encode gene tokens", cells.n_cells, cells.n_cells)
    with atomic_path(run.path(TOKENS)) as temporary:
        temporary.mkdir()
        sums.table().to_parquet(temporary / _SUMS, index=False)
        save_sparse(temporary / _MEANS, sp.vstack(means, format="csc", dtype=np.float32))
        with (temporary / _IDENTITY).open("wb") as file:
            np.save(file, sums.identity(), allow_pickle=False)
    return sp.vstack(largest, format="csc", dtype=np.float32)


def _mean_of_cells(codes: sp.csr_matrix, cell: np.ndarray[Any, Any], n_cells: int) -> sp.csr_matrix:
    """Return the mean activation of each latent over the tokens of each cell, CSR (n_cells, n_latents)."""
    tokens = np.bincount(cell, minlength=n_cells)
    weight = 1.0 / tokens[cell]
    gather = sp.csr_matrix((weight, (cell, np.arange(len(cell)))), shape=(n_cells, len(cell)))
    return sp.csr_matrix(gather @ codes, dtype=np.float32)


def upper_half(codes: sp.csc_matrix) -> sp.csc_matrix:
    """Return `codes` without what does not exceed the concept's median over all cells.

    Among a cell's hundreds of tokens most concepts find one that they answer to, so that no cell would be without: a
    cell counts as having the concept if it has more of it than half of the cells, or, of a rarer one, any.
    """
    kept = codes.copy()
    n_cells = codes.shape[0]
    for latent in range(codes.shape[1]):
        column = slice(kept.indptr[latent], kept.indptr[latent + 1])
        values = kept.data[column]
        if 2 * len(values) > n_cells:
            rest = np.zeros(n_cells - len(values), dtype=values.dtype)
            values[values <= np.median(np.concatenate([rest, values]))] = 0
    kept.eliminate_zeros()
    return kept


def open_means(run: Run) -> sp.csc_matrix:
    """Return the mean activation of each concept over the tokens of each cell, CSC."""
    return load_sparse(run.path(TOKENS, _MEANS))


def open_identity(run: Run) -> np.ndarray[Any, Any]:
    """Return how much of each concept's variance over all tokens gene identity explains."""
    found: np.ndarray[Any, Any] = np.load(run.path(TOKENS, _IDENTITY), allow_pickle=False)
    return found


def open_token_genes(run: Run) -> pd.DataFrame:
    """Return the genes on whose tokens each concept is active, with ids and symbols; see `GeneSums.table`."""
    table = pd.read_parquet(run.path(TOKENS, _SUMS))
    cells = open_explained(run)
    position = table["gene"].to_numpy()
    return table.assign(
        gene=cells.genes.index.to_numpy(dtype=object)[position], symbol=np.asarray(cells.symbols)[position]
    )


def save_sparse(path: Path, matrix: sp.csc_matrix) -> None:
    """Write a CSC matrix as plain arrays."""
    matrix.sort_indices()
    with path.open("wb") as file:
        np.savez(file, data=matrix.data, indices=matrix.indices, indptr=matrix.indptr, shape=np.array(matrix.shape))


def load_sparse(path: Path) -> sp.csc_matrix:
    """Read what `save_sparse` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        return sp.csc_matrix((kept["data"], kept["indices"], kept["indptr"]), shape=tuple(kept["shape"]))

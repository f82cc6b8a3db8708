"""A cell as scGPT reads it: ``<cls>``, then one token for each gene that it counts, beside the bin of its count.

Knows neither the network nor symbols: genes are positions, and each has a token id.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from cellglass.models.scgpt.binning import bin_values
from cellglass.models.transformer.tokens import Ints, TokenLists

Array = np.ndarray[Any, Any]


def tokens_of(
    counts: sp.csr_matrix,
    gene_ids: Ints,
    cls_id: int,
    *,
    n_bins: int,
    cls_value: float,
    max_length: int,
    lot: Array | None = None,
) -> TokenLists:
    """Return the tokens of cells.

    All counts of a cell are binned; of more than ``max_length - 1`` the highest are kept, ties by the order of genes,
    or where `lot` is given those with the smallest lots.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix, (n_cells, n_genes)
        Raw counts, indices sorted.
    gene_ids : numpy.ndarray of int64, (n_genes,)
        The token of each gene.
    cls_id : int
        The token that comes first.
    n_bins : int
        See `bin_values`.
    cls_value : float
        The value beside the first token.
    max_length : int
        Tokens of a cell at most.
    lot : array, (counts.nnz,), optional
        A number for each entry of `counts`.
    """
    start, gene = counts.indptr.astype(np.int64), counts.indices.astype(np.int64)
    value = bin_values(counts.data, start, n_bins)
    if np.diff(start).max(initial=0) > max_length - 1:
        kept = _first(-np.asarray(counts.data) if lot is None else lot, start, gene, max_length - 1)
        before = np.concatenate(([0], np.cumsum(kept)))
        start, gene, value = before[start], gene[kept], value[kept]
    starts = start + np.arange(len(start))  # one first token for each cell before
    is_gene = np.ones(starts[-1], dtype=bool)
    is_gene[starts[:-1]] = False
    ids = np.full(len(is_gene), cls_id, dtype=np.int64)
    genes = np.full(len(is_gene), -1, dtype=np.int64)
    values = np.full(len(is_gene), cls_value, dtype=np.float32)
    ids[is_gene], genes[is_gene], values[is_gene] = gene_ids[gene], gene, value
    return TokenLists(starts, ids, genes, values)


def _first(key: Array, start: Ints, gene: Ints, most: int) -> Array:
    """Return which entries of a CSR matrix have one of the `most` smallest keys of their row, ties by gene; bool."""
    row = np.repeat(np.arange(len(start) - 1), np.diff(start))
    order = np.lexsort((gene, key, row))
    kept = np.empty(len(order), dtype=bool)
    kept[order] = np.arange(len(order)) - start[row] < most
    return kept

"""Rank-value encoding (Theodoris et al., Nature 2023): a cell is the list of its genes, the most telling first.

The value of gene g in a cell is

    count_g / total * 10,000 / median_g,

where total is the sum of the cell's counts and median_g the median of count / total * 10,000 over the cells of a large
corpus that have g at all. Genes are listed by falling value; those with count 0 are left out.

Total and 10,000 are the same for all genes of a cell, so the order is that of count_g / median_g, and nothing hangs on
whether total runs over all genes that were measured (as in the published tokenizer) or only over those with a token.
Equal values stand in the order of the genes' columns; the published tokenizer leaves that order to an unstable sort.

Everything here is sparse, and knows no network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from cellglass.models.transformer.tokens import Ints, TokenLists

TARGET = 10_000.0
"""What each cell's counts are scaled to."""

Doubles = np.ndarray[Any, np.dtype[np.float64]]


def rank_tokens(
    counts: sp.csr_matrix, medians: Doubles, token: Ints, most: int, *, pad: int, frame: tuple[int, int] | None = None
) -> TokenLists:
    """Return the tokens of each cell: its ranked genes, between two special tokens where `frame` names them.

    Parameters
    ----------
    counts, medians
        See `ranked_genes`.
    token : numpy.ndarray of int64, (n_genes,)
        The token of each column of `counts`.
    most : int
        The most tokens of a cell, special ones included.
    pad : int
        What stands for a cell that has no gene and no frame, since a network needs a token to read.
    frame : tuple of int, optional
        The tokens before and behind a cell's genes (``<cls>`` and ``<eos>``).
    """
    start, gene = ranked_genes(counts, medians, most if frame is None else most - 2)
    lengths = np.diff(start)
    before = np.full(len(lengths), int(frame is not None))
    behind = before if frame is not None else (lengths == 0).astype(np.int64)
    whole = np.concatenate([[0], np.cumsum(before + lengths + behind)])
    place = np.arange(len(gene)) + np.repeat(whole[:-1] + before - start[:-1], lengths)
    ids, genes = np.full(whole[-1], pad, dtype=np.int64), np.full(whole[-1], -1, dtype=np.int64)
    ids[place], genes[place] = token[gene], gene
    if frame is not None:
        ids[whole[:-1]], ids[whole[1:] - 1] = frame
    return TokenLists(whole, ids, genes)


def ranked_genes(counts: sp.csr_matrix, medians: Doubles, most: int) -> tuple[Ints, Ints]:
    """Return the genes of each cell by falling count / median, at most `most` of a cell.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix, shape (n_cells, n_genes)
        Raw counts with sorted indices.
    medians : numpy.ndarray of float64, shape (n_genes,)
        Positive and finite.
    most : int
        Where the list of a cell is cut.

    Returns
    -------
    start : numpy.ndarray of int64, (n_cells + 1,)
        Where the list of each cell begins; the last is the length of all lists together.
    gene : numpy.ndarray of int64, (start[-1],)
        Columns of `counts`.
    """
    column = np.asarray(counts.indices).astype(np.int64, copy=False)
    value = np.asarray(counts.data, dtype=np.float64) / medians[column]
    cell = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    counted = value > 0
    if not counted.all():
        column, value, cell = column[counted], value[counted], cell[counted]
    order = np.lexsort((-value, cell))  # stable: equal values stay in the order of their columns
    lengths = np.bincount(cell, minlength=counts.shape[0])
    rank = np.arange(len(order)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    start = np.concatenate([[0], np.cumsum(np.minimum(lengths, most))])
    return start, column[order[rank < most]]


def nonzero_medians(counts: sp.csr_matrix) -> Doubles:
    """Return each gene's median of count / total * 10,000 over the cells that have it; NaN where no cell does.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix, shape (n_cells, n_genes)
        Raw counts of all genes that were measured: total is a row's sum.

    Returns
    -------
    numpy.ndarray of float64, shape (n_genes,)
        Exact medians. The published ones are estimates by t-digest, over millions of cells.
    """
    data = np.asarray(counts.data, dtype=np.float64)
    cell = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    total = np.bincount(cell, weights=data, minlength=counts.shape[0])
    counted = data > 0
    column, cell = np.asarray(counts.indices)[counted], cell[counted]
    value = data[counted] / total[cell] * TARGET
    value = value[np.lexsort((value, column))]
    having = np.bincount(column, minlength=counts.shape[1])
    first = np.cumsum(having) - having
    medians = np.full(counts.shape[1], np.nan)
    some = having > 0
    low, high = first + (having - 1) // 2, first + having // 2
    medians[some] = (value[low[some]] + value[high[some]]) / 2
    return medians

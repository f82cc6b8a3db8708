"""The two loops of GSEA, written for numba and run as plain Python by the tests. See ``gsea.py`` for the formulas.

Nothing is compiled at import: `cellglass.compiled` does it once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def score_all(
    weight: Array,
    order: Array,
    start: Array,
    end: Array,
    indptr: Array,
    terms: Array,
    sizes: Array,
    es: Array,
    edge: Array,
) -> None:
    """Fill `es` and `edge` (n, terms) with the enrichment score of every set and the rank at which it is reached.

    One walk down each ranking: each gene moves the running sums of the sets that it belongs to, so no set is sorted
    and no gene is visited for a set that lacks it.

    Parameters
    ----------
    weight, order, start, end : arrays, shape (n, genes)
        By rank: |score|, gene, and the first rank and the rank after the last of the block of equal scores.
    indptr, terms : int arrays
        Sets of each gene (CSR). sizes : int array, genes of each set.
    """
    n, genes = weight.shape
    n_terms = sizes.shape[0]
    total = np.zeros(n_terms)
    running = np.zeros(n_terms)
    hits = np.zeros(n_terms)
    top = np.zeros(n_terms)
    bottom = np.zeros(n_terms)
    top_edge = np.zeros(n_terms, dtype=np.int32)
    bottom_edge = np.zeros(n_terms, dtype=np.int32)
    for c in range(n):
        total[:] = 0.0
        running[:] = 0.0
        hits[:] = 0.0
        top[:] = 0.0
        bottom[:] = 0.0
        top_edge[:] = 0
        bottom_edge[:] = 0
        for r in range(genes):
            gene = order[c, r]
            for at in range(indptr[gene], indptr[gene + 1]):
                total[terms[at]] += weight[c, r]
        for r in range(genes):
            gene = order[c, r]
            for at in range(indptr[gene], indptr[gene + 1]):
                s = terms[at]
                if total[s] == 0.0:
                    continue
                miss = 1.0 / (genes - sizes[s])
                low = running[s] / total[s] - (start[c, r] - hits[s]) * miss
                if low < bottom[s]:
                    bottom[s] = low
                    bottom_edge[s] = start[c, r]
                running[s] += weight[c, r]
                hits[s] += 1.0
                high = running[s] / total[s] - (end[c, r] - hits[s]) * miss
                if high > top[s]:
                    top[s] = high
                    top_edge[s] = end[c, r] - 1
        for s in range(n_terms):
            if top[s] > -bottom[s]:
                es[c, s] = top[s]
                edge[c, s] = top_edge[s]
            else:
                es[c, s] = bottom[s]
                edge[c, s] = bottom_edge[s]


def null_scores(weight: Array, start: Array, end: Array, positions: Array, null: Array) -> None:
    """Fill `null` (n, permutations) with the enrichment scores of random sets of one size.

    Only the genes of the set are visited, and none in a tail of zeros, where the running sum cannot reach a new
    extreme.

    Parameters
    ----------
    weight, start, end : arrays, shape (n, genes)
        As in `score_all`.
    positions : int array, shape (permutations, size)
        Ranks of the genes of each random set, ascending.
    """
    n, genes = weight.shape
    permutations, size = positions.shape
    miss = 1.0 / (genes - size)
    by_rank = np.empty((genes, 3))
    for c in range(n):
        tail = genes
        while tail > 0 and weight[c, tail - 1] == 0.0:
            tail -= 1
        for r in range(genes):
            by_rank[r, 0] = weight[c, r]
            by_rank[r, 1] = start[c, r] * miss
            by_rank[r, 2] = end[c, r] * miss
        for b in range(permutations):
            total = 0.0
            last = 0
            for j in range(size):
                r = positions[b, j]
                if r >= tail:
                    break
                total += by_rank[r, 0]
                last = j + 1
            if total == 0.0:
                null[c, b] = 0.0
                continue
            inverse = 1.0 / total
            running = 0.0
            hits = 0.0
            top = 0.0
            bottom = 0.0
            for j in range(last):
                r = positions[b, j]
                bottom = min(bottom, running - by_rank[r, 1] + hits)
                running += by_rank[r, 0] * inverse
                hits += miss
                top = max(top, running - by_rank[r, 2] + hits)
            null[c, b] = top if top > -bottom else bottom

"""What perturbed cells show: means of groups of cells, block by block, and changes of two halves of the cells.

With y = log(1 + 10,000 count / (all counts of the cell)) for genes, and activations for concepts, the change of a
perturbation in a half of the cells is the mean of its cells there less that of the controls there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from cellglass.cells.cells import Cells
from cellglass.evaluation.counts import DEPTH
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

_CELLS = 4096


def logs_of(cells: Cells, rows: Array) -> sp.csr_matrix:
    """Return y of the cells at `rows`, float64 (n, n_genes)."""
    found = cells.counts[rows].astype(np.float64)
    found.data *= np.repeat(DEPTH / np.maximum(cells.totals[rows], 1.0), np.diff(found.indptr))
    return found.log1p()


def expression_means(cells: Cells, group: Array, n_groups: int) -> Array:
    """Return the mean of y in each group, float64 (n_groups, n_genes); `group` numbers each cell, -1 for none."""
    sums = np.zeros((n_groups, cells.n_genes))
    for start in range(0, cells.n_cells, _CELLS):
        rows = np.arange(start, min(start + _CELLS, cells.n_cells))
        rows = rows[group[rows] >= 0]
        if len(rows):
            sums += (membership(group[rows], n_groups) @ logs_of(cells, rows)).toarray()
    return np.asarray(sums / _sizes(group, n_groups))


def activation_means(codes: sp.spmatrix, group: Array, n_groups: int) -> Array:
    """Return the mean activation of each latent in each group, float64 (n_groups, n_latents)."""
    return np.asarray((membership(group, n_groups) @ sp.csr_matrix(codes)).toarray() / _sizes(group, n_groups))


def membership(group: Array, n_groups: int) -> sp.csr_matrix:
    """Return which cell is in which group, float64 0 and 1 (n_groups, n_cells)."""
    inside = np.flatnonzero(group >= 0)
    return sp.csr_matrix((np.ones(len(inside)), (group[inside], inside)), shape=(n_groups, len(group)))


def halved_groups(group: Array, seed: int) -> Array:
    """Return 2 g or 2 g + 1 for each cell of group g, so that each group falls into two random halves; -1 stays."""
    rng, found = generator(seed, "perturbation", "halves"), np.full(len(group), -1, dtype=np.int64)
    for g in range(int(group.max(initial=-1)) + 1):
        mine = rng.permutation(np.flatnonzero(group == g))
        found[mine] = 2 * g + (np.arange(len(mine)) % 2)
    return found


def changes(means: Array) -> tuple[Array, Array]:
    """Return the changes in either half, (n_groups - 1, n_features), of means of `halved_groups`; group 0: controls."""
    first, second = means[0::2], means[1::2]
    return first[1:] - first[0], second[1:] - second[0]


def _sizes(group: Array, n_groups: int) -> Array:
    return np.maximum(np.bincount(group[group >= 0], minlength=n_groups), 1)[:, None]

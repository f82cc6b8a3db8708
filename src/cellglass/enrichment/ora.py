"""Over-representation: whether the top genes of a ranking are more often in a set than other genes are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from cellglass.enrichment.base import SMALLEST, BoundTest, GeneSetTest, SetStatistics
from cellglass.enrichment.members import Members
from cellglass.errors import InputError

if TYPE_CHECKING:
    from cellglass.enrichment.config import EnrichmentConfig

Array = npt.NDArray[Any]


def ora(rankings: Sequence[Array], sets: Members, *, top_n: int = 50) -> SetStatistics:
    r"""Test the overlap of each set with the top genes of each ranking (Fisher's exact test, two-sided).

    With :math:`a` genes in both, :math:`b` only in the set, :math:`c` only in the list and :math:`d` in neither, of
    all genes measured:

    .. math::

        statistic = \log \frac{(a + ½)(d + ½)}{(b + ½)(c + ½)}, \qquad
        p = \sum_{i:\; h(i) \le h(a)} h(i), \quad h(i) = P(\text{i hits} \mid \text{hypergeometric})

    Both are decoupler's (its `ora` with the measured genes as background). decoupler 2.2 takes all genes *but* the
    lowest `n_up` where it says that it takes the top `n_up`, and visits every pair of list and set; here each possible
    table is computed once. The leading edge are the genes in both.

    Parameters
    ----------
    rankings : sequence of numpy.ndarray, each float (n_concepts, n_genes)
        The first is real; each other is a permutation of it, row by row.
    sets : Members
        The sets.
    top_n : int
        Longest list. See `top_genes`.
    """
    if not 1 <= top_n < sets.n_genes:
        raise InputError(
            f"ora: a list of the top {top_n} of {sets.n_genes} genes makes no test; use 1 to {sets.n_genes - 1}"
        )
    cut = list_cut(rankings[0], top_n)
    lengths = (np.asarray(rankings[0]) >= cut[:, None]).sum(axis=1)
    list_sizes, list_at = np.unique(lengths, return_inverse=True)
    set_sizes, set_at = np.unique(sets.sizes, return_inverse=True)
    table = fisher_table(sets.n_genes, list_sizes, set_sizes)
    shape = (len(rankings), len(cut), len(sets.terms))
    statistic, p = np.empty(shape), np.empty(shape)
    k, m, n = sets.sizes[None, :].astype(float), lengths[:, None].astype(float), sets.n_genes
    for draw in range(len(rankings)):
        lists = sp.csr_matrix(np.asarray(rankings[draw]) >= cut[:, None], dtype=np.float64)
        a = (lists @ sets.matrix).toarray()
        statistic[draw] = np.log((a + 0.5) * (n - k - m + a + 0.5) / ((k - a + 0.5) * (m - a + 0.5)))
        statistic[draw, lengths == 0] = 0.0
        p[draw] = table[list_at[:, None], set_at[None, :], a.astype(np.int64)]
    return SetStatistics(statistic, p, np.broadcast_to(cut[:, None], shape[1:]))


def top_genes(scores: Array, top_n: int) -> Array:
    """Return, for each row, which genes are on its list: bool (n, n_genes).

    At most `top_n` genes with a score above 0. Genes with equal scores are listed together or not at all: a block of
    ties that would make the list too long stays out, so the order of the genes decides nothing.
    """
    listed: Array = np.asarray(scores) >= list_cut(scores, top_n)[:, None]
    return listed


def list_cut(scores: Array, top_n: int) -> Array:
    """Return the lowest score on each row's list; infinity for an empty list."""
    scores = np.asarray(scores)
    highest = -np.sort(-np.partition(scores, -(top_n + 1), axis=1)[:, -(top_n + 1) :], axis=1)
    fits = (highest[:, :top_n] > highest[:, top_n:]) & (highest[:, :top_n] > 0)
    cut: Array = np.where(fits, highest[:, :top_n], np.inf).min(axis=1)
    return cut


def fisher_table(n_genes: int, list_sizes: Array, set_sizes: Array) -> Array:
    """Return two-sided p-values, shape (lists, sets, longest list + 1): the last axis is the overlap."""
    from scipy.stats import hypergeom

    overlaps = np.arange(int(list_sizes.max()) + 1)
    chance = hypergeom.pmf(overlaps, n_genes, set_sizes[None, :, None], list_sizes[:, None, None])
    order = np.argsort(chance, axis=2, kind="stable")
    ordered = np.take_along_axis(chance, order, axis=2)
    sums = np.cumsum(ordered, axis=2)
    common = np.minimum(set_sizes[None, :, None], list_sizes[:, None, None])
    possible = (overlaps <= common) & (overlaps >= set_sizes[None, :, None] + list_sizes[:, None, None] - n_genes)
    p = np.ones_like(chance)
    for i, j in np.ndindex(*chance.shape[:2]):
        # Overlaps as likely as this one count too, however their last digits fell.
        upto = np.searchsorted(ordered[i, j], chance[i, j] * (1 + 1e-7), side="right") - 1
        p[i, j] = np.where(possible[i, j], sums[i, j, upto], 1.0)
    return np.asarray(np.clip(p, SMALLEST, 1.0))  # a chance too small for a float is 0, and its p the smallest


def _bind(config: EnrichmentConfig, _seed: int, _workers: int | None) -> BoundTest:
    return partial(ora, top_n=config.top_n)


ENTRY = GeneSetTest(
    name="ora",
    title="ORA",
    one_sided=True,
    wants="raw",
    null_draws=25,
    cost="One sparse product of gene lists and sets for each draw; one table of p for all sizes of lists and sets.",
    bind=_bind,
)

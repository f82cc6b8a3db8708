"""From effects of pairs to a gene's mean, standard error and q-value, one concept at a time. Runs no model.

All arrays are (pairs, genes) of one concept. A gene whose counts do not differ in a pair has the effect 0 there,
exactly: putting an equal count in place changes nothing. So means are over all pairs, and no pair is left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.special import stdtr

from cellglass.statistics import benjamini_hochberg

Array = np.ndarray[Any, Any]
_FEWEST = 3  # prototypes that a test needs
_ROUNDING = 1e-12


class GeneStatistics(NamedTuple):
    """One number a gene; each of shape (n_genes,).

    Attributes
    ----------
    effect : float32
        Mean effect.
    se : float32
        Its standard error.
    p, q : float32
        Of the test against the null; NaN where there is no test, or fewer than 3 prototypes with real and null pairs.
    """

    effect: Array
    se: Array
    p: Array
    q: Array


def described(effects: Array) -> GeneStatistics:
    """Return mean and standard error of effects that have no null, such as those of knock-outs: p and q are NaN.

    Parameters
    ----------
    effects : float, shape (n, n_genes)
        Effects in n pairs or prototypes.
    """
    n, nothing = len(effects), np.full(effects.shape[1], np.nan)
    values = effects.astype(np.float64)
    effect = values.mean(axis=0) if n else nothing
    se = values.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else nothing
    return GeneStatistics(*(np.asarray(x, dtype=np.float32) for x in (effect, se, nothing, nothing)))


def paired(effects: Array, prototype: Array, partner: Array, null: Array, family: Array) -> GeneStatistics:
    r"""Compare effects of real pairs with those of null pairs of the same prototypes.

    For gene g, pairs i with effects e_i, of m prototypes p of which each has k_p real and l_p null partners:

    .. math::

        w_i = \frac{1}{m k_p} \text{ (real)}, \; \frac{-1}{m l_p} \text{ (null)}, \qquad
        T = \sum_i w_i e_i, \qquad r_i = e_i - \text{mean of its kind}

    T is the mean over prototypes of their real less their null mean. Pairs are not independent: those of a prototype
    share its counts, and those of a partner, which may be the nearest cell of many prototypes, share that cell's. So
    the variance of T has a part of each, less what both count (as in two-way clustering, Cameron, Gelbach and Miller
    2011), with G the number of groups of equal weight that would be as uneven:

    .. math::

        V(group) = \frac{G}{G - 1} \sum_{j} \Big(\sum_{i \in j} w_i r_i\Big)^2, \qquad
        G = 1 / \sum_j s_j^2, \quad s_j = \sum_{i \in j} |w_i|

        V = V(prototypes) + \sum_{kind} \max(0, \, V(partners) - V(pairs)), \qquad
        t = T / \sqrt{\max(V, \text{median of V over genes})}

    The floor is for genes that most partners happen not to express: they scatter less than they would in other cells,
    and their effects are small (as in SAM, Tusher et al. 2001). p is two-sided, since a gene may hold a concept down,
    with the fewest degrees of freedom, G - 1, of the three groupings; q: Benjamini and Hochberg over `family`.

    ``effect`` is the mean over real pairs and ``se`` its standard deviation over pairs / sqrt(pairs), as in Claye et
    al. (arXiv 2510.25807): it describes, the test decides. What pairs of active cells in place of real ones get by
    this test is in ``docs/results/calibration.md``.

    Parameters
    ----------
    effects : float, shape (n_pairs, n_genes)
        Effects, 0 where counts do not differ.
    prototype, partner : int, shape (n_pairs,)
        Which prototype and which partner cell each pair has.
    null : bool, shape (n_pairs,)
        Which pairs are null pairs.
    family : bool, shape (n_genes,)
        Genes that are tested.
    """
    shown = described(effects[~null])
    weight = pair_weights(prototype, null)
    kept = weight != 0
    n = len(np.unique(prototype[kept]))
    if n < _FEWEST:
        return shown
    p = crossed(effects[kept].astype(np.float64), prototype[kept], partner[kept], weight[kept])
    p = np.where(family, p, np.nan)
    q = np.full_like(p, np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = benjamini_hochberg(p[tested])
    return shown._replace(p=p.astype(np.float32), q=q.astype(np.float32))


def pair_weights(prototype: Array, null: Array) -> Array:
    """Return w of each pair, (n_pairs,): 0 for a prototype that lacks one of the two kinds."""
    weight = np.zeros(len(prototype))
    both = np.intersect1d(prototype[~null], prototype[null])
    for cell in both:
        for kind, sign in ((~null, 1.0), (null, -1.0)):
            mine = (prototype == cell) & kind
            weight[mine] = sign / (len(both) * mine.sum())
    return weight


def crossed(effects: Array, prototype: Array, partner: Array, weight: Array) -> Array:
    """Return the two-sided p of each gene, (n_genes,); see `paired`.

    Parameters
    ----------
    effects : float64, shape (n_pairs, n_genes)
    prototype, partner : int, shape (n_pairs,)
    weight : float, shape (n_pairs,)
        Above 0 for real, below for null pairs; those of each kind add up to 1 and to -1.
    """
    difference = _above_rounding(weight @ effects, np.abs(weight) @ np.abs(effects))  # (n_genes,)
    residual = np.empty_like(effects)  # weighted
    for kind in (weight > 0, weight < 0):
        w, e = weight[kind][:, None], effects[kind]
        mean = (np.abs(w) * e).sum(axis=0)
        residual[kind] = w * _above_rounding(e - mean, np.abs(e).max(axis=0))
    variance, groups = _grouped(residual, np.abs(weight) / 2, prototype)
    fewest = [groups]
    for kind in (weight > 0, weight < 0):
        w, r = np.abs(weight[kind]), residual[kind]
        of_cells, groups = _grouped(r, w, partner[kind])
        of_pairs, _ = _grouped(r, w, np.arange(len(r)))
        variance += np.maximum(of_cells - of_pairs, 0.0)
        fewest.append(groups)
    freedom = min(fewest) - 1
    if freedom < _ROUNDING:  # one partner cell for all: nothing says how much cells differ
        return np.full(effects.shape[1], np.nan)
    scatters = variance > 0
    floor = np.median(variance[scatters]) if scatters.any() else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(difference) / np.sqrt(np.maximum(variance, floor))
    t[difference == 0] = 0.0
    return np.asarray(2.0 * stdtr(freedom, -t))


def _grouped(residual: Array, weight: Array, group: Array) -> tuple[Array, float]:
    """Return V of a grouping of pairs, (n_genes,), and its G; `weight` adds up to 1. V is 0 where G is 1."""
    sums = _sums(group)
    groups = 1.0 / float(np.square(sums @ weight).sum())
    correction = groups / (groups - 1) if groups > 1 + _ROUNDING else 0.0
    return correction * np.square(sums @ residual).sum(axis=0), groups


def _sums(group: Array) -> sp.csr_matrix:
    """Return the matrix that sums over the members of each group, (groups, len(group))."""
    _, number = np.unique(group, return_inverse=True)
    return sp.csr_matrix((np.ones(len(number)), (number, np.arange(len(number)))))


def _above_rounding(difference: Array, scale: Array) -> Array:
    """Return `difference`, or exactly 0 where it is what rounding leaves of numbers of size `scale` that are equal.

    Else a gene with the same effect everywhere, such as 1, would have a tiny difference of the same sign in each
    prototype, and a tiny p.
    """
    return np.where(np.abs(difference) > _ROUNDING * scale, difference, 0.0)

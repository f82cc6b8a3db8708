"""From effects of pairs to a gene's mean, standard error and q-value, one concept at a time. Runs no model.

All arrays are (pairs, genes) of one concept. A gene whose counts do not differ in a pair has the effect 0 there,
exactly: putting an equal count in place changes nothing. So means are over all pairs, and no pair is left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtr

from cellglass.statistics import benjamini_hochberg

Array = np.ndarray[Any, Any]
_FEWEST = 3  # prototypes that a test needs


class GeneStatistics(NamedTuple):
    """One number a gene; each of shape (n_genes,).

    Attributes
    ----------
    effect : float32
        Mean effect.
    se : float32
        Its standard error.
    p, q : float32
        Of the test against the null; NaN where there are fewer than 3 prototypes with real and null pairs.
    """

    effect: Array
    se: Array
    p: Array
    q: Array


def paired(effects: Array, prototype: Array, null: Array, family: Array) -> GeneStatistics:
    """Compare effects of real pairs with those of null pairs of the same prototypes.

    For gene g, real pairs i = 1..n with effects e_i, and prototypes p = 1..m:

        effect = mean_i e_i          se = sd_i(e_i) / sqrt(n)
        d_p    = mean of e over p's real partners - mean of e over p's null partners
        t      = mean_p d_p / (sd_p(d_p) / sqrt(m)),  p = 2 P(T_{m-1} > |t|)

    The unit of replication is the prototype: its partners share its counts, so they are averaged first. The test has
    two sides, since a gene may hold a concept down. `se` is over pairs, as in Claye et al. (arXiv 2510.25807), and is
    the smaller for pairs that share a prototype: it describes, the test decides. q: Benjamini and Hochberg over
    `family`. Prototypes may share partners, which the test takes no account of: ``n_partner_cells`` in
    `Pairs.concepts` tells. Held against pairs of active cells in place of real ones it stayed calibrated with null
    partners chosen by the same rule (see ``pairs.py``).

    Parameters
    ----------
    effects : float, shape (n_pairs, n_genes)
        Effects, 0 where counts do not differ.
    prototype : int, shape (n_pairs,)
        Which prototype each pair belongs to.
    null : bool, shape (n_pairs,)
        Which pairs are null pairs.
    family : bool, shape (n_genes,)
        Genes that are tested.
    """
    real = effects[~null].astype(np.float64)  # (n, n_genes)
    n = len(real)
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = real.mean(axis=0) if n else np.full(effects.shape[1], np.nan)
        se = real.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(effects.shape[1], np.nan)
    difference = prototype_differences(effects, prototype, null)  # (m, n_genes)
    p = two_sided(difference) if len(difference) >= _FEWEST else np.full(effects.shape[1], np.nan)
    return _result(effect, se, p, family)


def prototype_differences(effects: Array, prototype: Array, null: Array) -> Array:
    """Return d, shape (m, n_genes): for each prototype with both, mean over its real minus mean over its null pairs."""
    both = np.intersect1d(prototype[~null], prototype[null])
    weights = np.zeros((len(both), len(effects)))  # (m, n_pairs)
    for i, cell in enumerate(both):
        mine = prototype == cell
        weights[i, mine & ~null] = 1.0 / (mine & ~null).sum()
        weights[i, mine & null] = -1.0 / (mine & null).sum()
    values = effects.astype(np.float64)
    return _above_rounding(weights @ values, np.abs(weights) @ np.abs(values))


def knocked_out(effects: Array, counts: Array, family: Array) -> GeneStatistics:
    """Compare a gene's knock-outs with knock-outs of the other genes that the same prototypes express as much.

    For gene g, prototypes p = 1..m with effects e_p (0 where p does not express g):

        effect = mean_p e_p          se = sd_p(e_p) / sqrt(m)
        d_p    = e_p - mean of the effects in p of the other genes with counts in g's bin (1, 2-3, 4-7, 8-15, ...)

    and a two-sided one-sample t-test of d over the prototypes that express g (at least 3). There is no partner, hence
    no null pair: the null says that g matters to the concept as much as the average gene with as many counts in that
    cell. It is not a rate of random genes: in a network nearly every gene has some effect of its own, so with many
    prototypes many genes differ from that average. Read q as "consistent over prototypes", and the effect for size. A
    gene alone in its bin is compared with all other genes of the cell.

    Parameters
    ----------
    effects : float, shape (n_prototypes, n_genes)
        Effects, 0 where the gene is not expressed.
    counts : float, shape (n_prototypes, n_genes)
        Raw counts of the prototypes.
    family : bool, shape (n_genes,)
        Genes that are tested.
    """
    values = effects.astype(np.float64)
    m = len(values)
    effect = values.mean(axis=0) if m else np.full(effects.shape[1], np.nan)
    se = values.std(axis=0, ddof=1) / np.sqrt(m) if m > 1 else np.full(effects.shape[1], np.nan)
    expressed = counts > 0  # (m, n_genes)
    others = _others(values, counts)
    difference = np.where(expressed, _above_rounding(values - others, np.abs(values) + np.abs(others)), 0.0)
    n = expressed.sum(axis=0)  # (n_genes,)
    p = np.full(effects.shape[1], np.nan)
    enough = n >= _FEWEST
    if enough.any():
        p[enough] = two_sided(difference[:, enough], n[enough], expressed[:, enough])
    return _result(effect, se, p, family)


def two_sided(d: Array, n: Array | None = None, counted: Array | None = None) -> Array:
    """Return the two-sided p of a one-sample t-test of each column of `d` against 0.

    With `counted` (bool, like `d`) only those entries count, and `n` says how many they are in each column. A column
    that is 0 throughout has p = 1; one that is the same throughout and not 0 has p = 0; one of fewer than 2 entries has
    NaN.
    """
    size = np.full(d.shape[1], len(d)) if n is None else n
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = d.sum(axis=0) / size  # (n_genes,)
        residual = d - mean if counted is None else np.where(counted, d - mean, 0.0)
        se = np.sqrt(np.square(residual).sum(axis=0) / (size - 1) / size)
        t = np.abs(mean) / se
    t[mean == 0] = 0.0
    return np.where(size > 1, 2.0 * stdtr(size - 1, -t), np.nan)


def _above_rounding(difference: Array, scale: Array) -> Array:
    """Return `difference`, or exactly 0 where it is what rounding leaves of numbers of size `scale` that are equal.

    Else a gene with the same effect everywhere, such as 1, would have a tiny difference of the same sign in each
    prototype, and a tiny p.
    """
    return np.where(np.abs(difference) > 1e-12 * scale, difference, 0.0)


def _others(values: Array, counts: Array) -> Array:
    """Return, for each expressed gene of each row, the mean value of the other genes in its count bin (see above)."""
    row, gene = np.nonzero(counts > 0)  # (expressed,) each
    value = values[row, gene]
    bins = np.maximum(np.frexp(counts[row, gene])[1] - 1, 0).astype(np.int64)  # the whole part of log2, exactly
    key = row * 64 + bins  # one number for each bin of each row
    size, total = np.bincount(key), np.bincount(key, weights=value)  # (bins,) each
    all_size, all_total = np.bincount(row), np.bincount(row, weights=value)  # (m,) each
    alone = size[key] < 2
    n = np.where(alone, all_size[row], size[key])
    s = np.where(alone, all_total[row], total[key])
    out = np.zeros_like(values)
    out[row, gene] = np.where(n > 1, (s - value) / np.maximum(n - 1, 1), 0.0)
    return out


def _result(effect: Array, se: Array, p: Array, family: Array) -> GeneStatistics:
    p = np.where(family, p, np.nan)
    q = np.full_like(p, np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = benjamini_hochberg(p[tested])
    return GeneStatistics(*(np.asarray(x, dtype=np.float32) for x in (effect, se, p, q)))

r"""How enriched a term is compared with what *this term* gets from matched random genes: the ``null_q`` of a pathway.

Some terms are enriched in any list of highly expressed genes (the ribosome is one), so a q-value that takes genes for
exchangeable says little about them. Every test's p-value becomes a signed z, and each term is put on the scale of its
own z in matched random rankings, pooled over concepts and draws:

.. math:: z'_{ct} = \frac{z_{ct} - \bar z^{null}_t}{\max(1, s^{null}_t)}

The floor of 1 never makes a term more significant than its own test does. Then the false discovery rate among all
(concept, term) at or above a threshold is the number of null z' there, a draw, over the number of observed ones (the
permutation FDR of Subramanian et al. 2005, here on z'); ``null_q`` is its minimum over lower thresholds. Depleted
terms, of which z is below 0, are counted among themselves in the same way, from the other end. Counts are kept in bins
of 0.01, so memory does not grow with the number of draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_LIMIT, _PER_UNIT = 40.0, 100
_BINS = int(2 * _LIMIT * _PER_UNIT) + 1


def signed_z(p: Array, statistic: Array) -> Array:
    """Return the standard normal deviate of a two-sided `p` with the sign of `statistic`, within 37 of 0."""
    from scipy.special import ndtri

    z: Array = -ndtri(np.clip(p, 1e-300, 1.0) / 2)
    signed: Array = np.copysign(np.clip(z, 0.0, 37.0), statistic)
    return signed


class Calibration:
    """Collects observed and null z of one source and one test, terms piece by piece.

    Parameters
    ----------
    n_concepts, n_terms, draws : int
    one_sided : bool
        Whether terms are only ever enriched; a z below 0 is then no finding.

    Attributes
    ----------
    observed : numpy.ndarray, shape (n_concepts, n_terms)
        z' of the real rankings.
    sign : numpy.ndarray of int8, same shape
        Of z: 1 enriched, -1 depleted.
    """

    def __init__(self, n_concepts: int, n_terms: int, draws: int, *, one_sided: bool = False) -> None:
        self.observed = np.zeros((n_concepts, n_terms), dtype=np.float32)
        self.sign = np.zeros((n_concepts, n_terms), dtype=np.int8)
        self.directions = (1,) if one_sided else (1, -1)
        self._null = {sign: np.zeros(_BINS, dtype=np.int64) for sign in self.directions}
        self._furthest = {sign: np.full((draws, n_concepts), -1, dtype=np.int64) for sign in self.directions}
        self.draws = draws

    def add(self, columns: slice, z: Array, null: Array) -> None:
        """Take in some terms: `z` of shape (n_concepts, width), `null` of shape (draws, n_concepts, width)."""
        mean = null.mean(axis=(0, 1))
        sd = np.maximum(1.0, null.std(axis=(0, 1)))
        self.observed[:, columns] = (z - mean) / sd
        self.sign[:, columns] = np.sign(z)
        scaled = (null - mean) / sd
        for sign in self.directions:
            bins = _bin(sign * scaled)
            self._null[sign] += np.bincount(bins.ravel(), minlength=_BINS)
            bins = np.where(np.sign(null) == sign, bins, -1)
            self._furthest[sign] = np.maximum(self._furthest[sign], bins.max(axis=2))

    def null_q(self) -> Array:
        """Return the q-value of each observed z' in the direction of its z, float64 in the shape of `observed`."""
        q = np.ones(self.observed.shape)
        for sign in self.directions:
            found = self._by_bin(sign)[_bin(sign * self.observed)]
            q = np.where(self.sign == sign, found, q)
        return q

    def rates(self, alpha: float) -> tuple[float, float]:
        """Return the share of concepts with a term at ``null_q < alpha``, and the mean share in null draws."""
        found: Array = np.asarray((self.null_q() < alpha).any(axis=1))
        by_chance: Array = np.zeros((self.draws, len(self.observed)), dtype=bool)
        for sign in self.directions:
            passed = np.flatnonzero(self._by_bin(sign) < alpha)
            if len(passed):
                by_chance = by_chance | (self._furthest[sign] >= passed[0])
        return float(found.mean()), float(by_chance.mean()) if by_chance.size else 0.0

    def _by_bin(self, sign: int) -> Array:
        """Return q for each bin of z', or of -z' for the depleted."""
        observed = np.bincount(_bin(sign * self.observed).ravel(), minlength=_BINS)
        above = np.cumsum(observed[::-1])[::-1]
        null_above = np.cumsum(self._null[sign][::-1])[::-1]
        rate = np.minimum(1.0, (1 + null_above) / self.draws / np.maximum(above, 1))
        q: Array = np.minimum.accumulate(rate)
        return q


def _bin(z: Array) -> Array:
    bins: Array = np.clip((z + _LIMIT) * _PER_UNIT, 0, _BINS - 1).astype(np.int64)
    return bins

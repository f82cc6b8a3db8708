r"""How enriched a term is compared with what *this term* gets from matched random genes: the ``null_q`` of a pathway.

Some terms are enriched in any list of highly expressed genes (the ribosome is one), so a q-value that takes genes for
exchangeable says little about them. Every test's p-value becomes a signed z, and each term is put on the scale of its
own z in matched random rankings, pooled over concepts and draws:

.. math:: z'_{ct} = \frac{z_{ct} - \bar z^{null}_t}{\max(1, s^{null}_t)}

The floor of 1 never makes a term more significant than its own test does. Then the false discovery rate among all
(concept, term) at or above a threshold is the number of null z' there, a draw, over the number of observed ones (the
permutation FDR of Subramanian et al. 2005, here on z'); ``null_q`` is its minimum over lower thresholds. A depleted
term is compared in the same way at the other end, with null z' at or below its own. Counts are kept in bins of 0.01,
so memory does not grow with the number of draws.
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

    Attributes
    ----------
    observed : numpy.ndarray, shape (n_concepts, n_terms)
        z' of the real rankings.
    """

    def __init__(self, n_concepts: int, n_terms: int, draws: int) -> None:
        self.observed = np.zeros((n_concepts, n_terms), dtype=np.float32)
        self._null = np.zeros(_BINS, dtype=np.int64)
        self._highest = np.zeros((draws, n_concepts), dtype=np.int64)
        self.draws = draws

    def add(self, columns: slice, z: Array, null: Array) -> None:
        """Take in some terms: `z` of shape (n_concepts, width), `null` of shape (draws, n_concepts, width)."""
        mean = null.mean(axis=(0, 1))
        sd = np.maximum(1.0, null.std(axis=(0, 1)))
        self.observed[:, columns] = (z - mean) / sd
        bins = _bin((null - mean) / sd)
        self._null += np.bincount(bins.ravel(), minlength=_BINS)
        self._highest = np.maximum(self._highest, bins.max(axis=2))

    def null_q(self, depleted: Array | None = None) -> Array:
        """Return the q-value of each observed z', float64 in the shape of `observed`.

        It asks for enrichment, and where `depleted` (bool, the same shape) is true for depletion.
        """
        at = _bin(self.observed)
        q: Array = self._by_bin()[at]
        if depleted is not None:
            q = np.where(depleted, self._by_bin(low=True)[at], q)
        return q

    def rates(self, alpha: float) -> tuple[float, float]:
        """Return the share of concepts with a term at ``null_q < alpha``, and the mean share in null draws."""
        passed = np.flatnonzero(self._by_bin() < alpha)
        if not len(passed):
            return 0.0, 0.0
        found = (_bin(self.observed).max(axis=1) >= passed[0]).mean()
        return float(found), float((self._highest >= passed[0]).mean())

    def _by_bin(self, *, low: bool = False) -> Array:
        """Return q for each bin of z': of what lies at or above it, or with `low` at or below it."""
        turn = slice(None, None, 1 if low else -1)  # from the end that counts as extreme inwards
        observed = np.bincount(_bin(self.observed).ravel(), minlength=_BINS)[turn]
        rate = np.minimum(1.0, (1 + np.cumsum(self._null[turn])) / self.draws / np.maximum(np.cumsum(observed), 1))
        q: Array = np.minimum.accumulate(rate[::-1])[::-1][turn]
        return q


def _bin(z: Array) -> Array:
    bins: Array = np.clip((z + _LIMIT) * _PER_UNIT, 0, _BINS - 1).astype(np.int64)
    return bins

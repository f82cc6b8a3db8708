"""Which candidates come back in other halves of the cells, and the activation that those of one group agree on.

The cells are halved again and again; both halves of a pair share no cell (complementary pairs: Shah & Samworth 2013,
after the stability selection of Meinshausen & Bühlmann 2010). The partner of a candidate in a half is the candidate
there that correlates best with it over a common sample of cells, and is *found* if that is at least the bar of its
sort. A candidate's

    reproducibility = share of the pairs in whose two halves it is found, by partners that are found in each other.

A concept must be found twice in cells that have nothing in common; among halves that overlap it would be found too
easily. Candidates are picked by falling reproducibility, and a pick leaves out what correlates with its consensus
activation, the mean over its partners that are found. Knows nothing of how candidates were made.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cellglass.dictionaries.clusterings import standardised
from cellglass.dictionaries.consensus.candidates import Candidates

Array = np.ndarray[Any, Any]

BARS = {False: 0.7, True: 0.85}
"""Correlation from which on a cluster, or half of a component, is found. Components need more: at 0.7 those of halves
agreed far more often than those of cells that no fit had seen."""
SAME = 0.8
"""Correlation from which on two activations are one concept."""
DENSITY = (0.01, 0.6)
"""Shares of the cells between which a concept is active."""
_BLOCK = 2048


class Groups(NamedTuple):
    """What comes back, by falling reproducibility.

    Attributes
    ----------
    activations : numpy.ndarray of float32, shape (n_sample, n_groups)
        Consensus activations in the cells of the common sample.
    reproducibility : numpy.ndarray of float64, shape (n_groups,)
        Share of the pairs of halves that hold it.
    correlation : numpy.ndarray of float64, shape (n_groups,)
        Mean correlation of the candidate with its best partner, over all other halves.
    component : numpy.ndarray of bool, shape (n_groups,)
        Whether the candidate that was picked is half of a component.
    graded : numpy.ndarray of bool, shape (n_groups,)
        Whether its activations are more than 0 and 1.
    """

    activations: Array
    reproducibility: Array
    correlation: Array
    component: Array
    graded: Array


class Partners(NamedTuple):
    """The best partner of some activations in each half.

    Attributes
    ----------
    place : numpy.ndarray of int64, shape (n, n_halves)
        Position of the partner among all candidates.
    correlation : numpy.ndarray of float32, shape (n, n_halves)
        -1 where a half has no candidates.
    """

    place: Array
    correlation: Array


class Recurrence:
    """The candidates of all halves, and how they correlate.

    Parameters
    ----------
    halves
        Candidates of each half; halves 2 i and 2 i + 1 are a pair.
    """

    def __init__(self, halves: list[Candidates]) -> None:
        self.activations = np.concatenate([half.activations for half in halves], axis=1)
        self.component = np.concatenate([half.component for half in halves])
        self.graded = np.concatenate([half.graded for half in halves])
        self.starts = np.cumsum([0, *(half.activations.shape[1] for half in halves)])
        self._z = np.ascontiguousarray(standardised(self.activations).T)  # (candidates, n_sample)

    @property
    def n_halves(self) -> int:
        """The number of halves."""
        return len(self.starts) - 1

    def partners(self, activations: Array) -> Partners:
        """Return the best partners of `activations`, (n_sample, n)."""
        z = standardised(activations)
        place = np.zeros((z.shape[1], self.n_halves), dtype=np.int64)
        value = np.full((z.shape[1], self.n_halves), -1, dtype=np.float32)
        for first in range(0, z.shape[1], _BLOCK):
            some = slice(first, first + _BLOCK)
            for half, (start, end) in enumerate(zip(self.starts[:-1], self.starts[1:], strict=True)):
                if start == end:
                    continue
                r = z[:, some].T @ self._z[start:end].T  # (block, candidates of the half)
                best = r.argmax(axis=1)
                place[some, half] = start + best
                value[some, half] = r[np.arange(len(r)), best] / len(z)
        return Partners(place, value)

    def reproducibility(self, partners: Partners, bar: Array) -> Array:
        """Return the share of pairs of halves in which each is found, with bars (n,)."""
        found = partners.correlation >= bar[:, None]
        count = np.zeros(len(bar))
        for half in range(0, self.n_halves, 2):
            both = np.flatnonzero(found[:, half] & found[:, half + 1])
            a, b = partners.place[both, half], partners.place[both, half + 1]
            count[both] += self._between(a, b) >= bar[both]
        return count / (self.n_halves // 2)

    def groups(self, *, least: float, most: int) -> Groups:
        """Pick at most `most` candidates of at least the reproducibility `least`."""
        partners = self.partners(self.activations)
        bar = np.where(self.component, BARS[True], BARS[False])
        share = self.reproducibility(partners, bar)
        own = np.arange(self.n_halves) == np.searchsorted(self.starts, np.arange(len(bar)), side="right")[:, None] - 1
        mean = np.where(own, 0, partners.correlation).sum(axis=1) / max(1, self.n_halves - 1)
        density = (self.activations > 0).mean(axis=0)
        able = np.flatnonzero((share >= least) & (density >= DENSITY[0]) & (density <= DENSITY[1]))
        blocked = np.zeros(len(bar), dtype=bool)
        picks: list[int] = []
        taken = np.zeros((0, len(self.activations)), dtype=np.float32)
        found: list[Array] = []
        for i in able[np.lexsort((able, -mean[able], -share[able]))]:
            if blocked[i] or len(picks) == most:
                continue
            consensus = self.activations[:, partners.place[i, partners.correlation[i] >= bar[i]]].mean(axis=1)
            z = standardised(consensus[:, None]).T  # (1, n_sample)
            if (taken @ z.T >= SAME * z.shape[1]).any():
                continue
            picks.append(int(i))
            found.append(consensus)
            taken = np.concatenate([taken, z])
            blocked |= (self._z @ z[0]) >= SAME * z.shape[1]
        kept = np.asarray(picks, dtype=np.int64)
        activations = np.stack(found, axis=1) if found else np.zeros((len(self.activations), 0), dtype=np.float32)
        return Groups(activations, share[kept], mean[kept], self.component[kept], self.graded[kept])

    def with_clusters(self, activations: Array) -> Array:
        """Return the correlation of `activations` (n_sample, n) with the best cluster of a half, mean over halves."""
        z, best = standardised(activations), np.zeros(activations.shape[1])
        for start, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            clusters = self._z[start:end][~self.component[start:end]]
            if len(clusters):
                best += (clusters @ z).max(axis=0) / len(z)
        return best / self.n_halves

    def _between(self, a: Array, b: Array) -> Array:
        """Return the correlations of the candidates at `a` with those at `b`, pair by pair."""
        pieces = [
            np.einsum("ij,ij->i", self._z[a[i : i + _BLOCK]], self._z[b[i : i + _BLOCK]])
            for i in range(0, len(a), _BLOCK)
        ]
        return np.concatenate(pieces) / self._z.shape[1] if pieces else np.zeros(0, dtype=np.float32)

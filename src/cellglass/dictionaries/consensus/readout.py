"""A linear readout of a consensus activation, so that a concept can be read in any cell, swapped, steered and saved.

A concept is on in the cells whose consensus activation is at least half of its 99th percentile, which is most halves
for what is on or off in each; of graded components a tenth, since their small activations count too. A logistic
regression (ridge penalty, C = 0.1, on activations scaled to mean square 1) tells those cells from the others by a
direction w; its response is scaled to

    p = w u + b    with mean 0 over the cells that are off, and mean 1 over those that are on,

and the threshold is the p that marks the cells that are on with the best F1, which says how far readout and consensus
agree.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

_PENALTY = 0.1
_FEWEST = 5
_PART = {False: 0.5, True: 0.1}
"""Share of the 99th percentile from which on an activation is on. On simulated cells, activations of planted programs
that are graded and cut across types correlate with their readout at 0.92; with half in place of a tenth at 0.68."""


class Readout(NamedTuple):
    """Linear readouts of several concepts.

    Attributes
    ----------
    encoder : numpy.ndarray of float64, shape (n_concepts, d)
    offset, threshold, agreement : numpy.ndarray of float64, shape (n_concepts,)
        b, the p from above which on a concept is on, and F1 against the cells in which its consensus is on.
    """

    encoder: Array
    offset: Array
    threshold: Array
    agreement: Array

    def activations(self, u: Array) -> Array:
        """Return p where it is above the threshold and 0 elsewhere, (n, n_concepts)."""
        p = u @ self.encoder.T + self.offset
        return np.where(p > self.threshold, np.clip(p, 0, None), 0)


def read_out(u: Array, activations: Array, graded: Array) -> Readout:
    """Fit the readout of each column of `activations` (n, n_concepts) from scaled rows `u` (n, d)."""
    found = [_one(u, on_cells(column, graded=more)) for column, more in zip(activations.T, graded, strict=True)]
    if not found:
        return Readout(np.zeros((0, u.shape[1])), np.zeros(0), np.zeros(0), np.zeros(0))
    encoder, offset, threshold, agreement = zip(*found, strict=True)
    return Readout(np.stack(encoder), np.array(offset), np.array(threshold), np.array(agreement))


def on_cells(activation: Array, *, graded: bool) -> Array:
    """Return the cells in which a consensus activation (n,) is on; none where it is above 0 in too few of them."""
    above = activation[activation > 0]
    if len(above) < _FEWEST:
        return np.zeros(len(activation), dtype=bool)
    return np.asarray(activation >= _PART[bool(graded)] * np.quantile(above, 0.99))


def _one(u: Array, on: Array) -> tuple[Array, float, float, float]:
    from sklearn.linear_model import LogisticRegression

    if not _FEWEST <= on.sum() <= len(on) - _FEWEST:
        return np.zeros(u.shape[1]), 0.0, float("inf"), 0.0
    w = LogisticRegression(C=_PENALTY, max_iter=300).fit(u, on).coef_[0]
    p = u @ w
    low, high = float(p[~on].mean()), float(p[on].mean())
    w, offset = w / (high - low), -low / (high - low)
    threshold, agreement = best_cut(u @ w + offset, on)
    return w, offset, threshold, agreement


def best_cut(p: Array, on: Array) -> tuple[float, float]:
    """Return the cut of `p` (n,), midway between values, above which the cells `on` have the best F1, and that F1."""
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(on[order])[:-1]
    f1 = 2 * hits / (np.arange(1, len(p)) + on.sum())
    best = int(f1.argmax())
    return float((p[order[best]] + p[order[best + 1]]) / 2), float(f1[best])

"""How well predicted changes agree with those that perturbation experiments show, on one scale from null to ceiling.

A change is a row of numbers (of genes, or of concepts) for each perturbation p: perturbed cells minus controls. Of each
row its perturbation's own target is left out, in every mean too: that it falls is no finding. With x the predicted and
y the real change, both *relative*, that is less their means over all perturbations (Viñas Torné et al. 2025: what all
perturbed cells share is no effect of one perturbation):

    pearson         corr(x, y)
    plain_pearson   the same of changes that are not relative; it flatters
    error           - sum w (x - y)^2 / sum w y^2,  w = |change in the other half of the cells|; 0 is perfect
    sign            share of the top features with x y > 0; x = 0 counts half
    overlap         share of the top features that are among as many of largest |x|; what is due by chance where x = 0
    discrimination  1 - (share of the other perturbations whose real change lies nearer to x, by mean |x - y|)

Top features, at most `TOP`, are those of largest |change| in the other half of the cells: choice and score share no
cell. Each measure stands beside the same for

    shuffled     the predictions of other perturbations, mean over `DRAWS` permutations: the null
    mean         the mean change of all perturbations, in the other half of the cells
    ceiling      the change in the other half of the cells: no prediction of these cells can be asked for more

and its headline is (value - shuffled) / (ceiling - shuffled), over means of perturbations, with a bootstrap over them.
The measures are cell-eval's and Systema's in kind; definitions are as written here. Knows no model and no cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cellglass.errors import InputError
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

MEASURES = ("pearson", "plain_pearson", "error", "sign", "overlap", "discrimination")
TOP, DRAWS, RESAMPLES = 50, 20, 2000
NULL, MEAN, CEILING = "shuffled", "mean", "ceiling"
FEWEST = 3
"""Perturbations below which nothing is relative to the others, and no bootstrap says anything."""


def agreement(
    predictions: Mapping[str, Array], real: Array, other: Array, targets: Array | None = None, *, seed: int = 0
) -> pd.DataFrame:
    """Score predictions of changes beside null, perturbation mean and ceiling.

    Parameters
    ----------
    predictions : mapping of str to numpy.ndarray of float, shape (n_perturbations, n_features)
        By the name of who predicts. NaN in a whole row: there is no prediction, and the perturbation does not count.
    real, other : numpy.ndarray of float, shape (n_perturbations, n_features)
        The changes in two halves of the cells, controls halved too. `real` is scored, `other` chooses top features and
        gives the ceiling and the mean.
    targets : numpy.ndarray of int, shape (n_perturbations,), optional
        The feature that each perturbation hits; -1 where it is none.
    seed : int
        Of permutations and bootstrap.

    Returns
    -------
    pandas.DataFrame
        One row for each name and measure: ``name``, ``measure``, ``value`` (mean over perturbations), ``null``,
        ``ceiling``, ``headline``, ``low`` and ``high`` (95 % of the bootstrap; NaN where the ceiling does not exceed
        the null), ``n``. Names are those given and ``mean``.

    Raises
    ------
    InputError
        If shapes do not fit, or fewer than three perturbations have a prediction.
    """
    _check(predictions, real, other)
    targets = np.full(len(real), -1) if targets is None else np.asarray(targets)
    rows = []
    shared = np.tile(_mean(without_targets(other, targets)), (len(other), 1))
    for name, predicted in {**predictions, MEAN: shared}.items():
        there = np.flatnonzero(np.isfinite(predicted).all(axis=1))
        if len(there) < FEWEST:
            raise InputError(
                f"{name} predicts the change of {len(there)} perturbations; at least {FEWEST} are needed, since "
                "changes are taken relative to the mean of all"
            )
        rows += _rows(name, predicted[there], real[there], other[there], targets[there], seed)
    return pd.DataFrame(rows)


def without_targets(change: Array, targets: Array) -> Array:
    """Return a copy with NaN where a perturbation (row) hits its own target."""
    found = np.array(change, dtype=np.float64)
    hit = np.flatnonzero(targets >= 0)
    found[hit, targets[hit]] = np.nan
    return found


def scores(predicted: Array, real: Array, other: Array, targets: Array) -> dict[str, Array]:
    """Return each measure of each perturbation, (n_perturbations,); NaN where a change does not vary."""
    whole = [without_targets(each, targets) for each in (predicted, real, other)]
    means = [_mean(each) for each in whole]
    relative = [each - mean for each, mean in zip(whole, means, strict=True)]
    found = {measure: np.full(len(real), np.nan) for measure in MEASURES}
    for p, target in enumerate(targets):
        kept = np.arange(real.shape[1]) != target
        x, y, z = (each[p, kept] for each in relative)
        top = np.argsort(-np.abs(z), kind="stable")[: min(TOP, len(z))]
        largest = np.argsort(-np.abs(x), kind="stable")[: len(top)]
        weight = np.abs(z)
        scale = (weight * y * y).sum()
        far = np.nanmean(np.abs(relative[1][:, kept] - x), axis=1)
        found["pearson"][p] = _correlation(x, y)
        found["plain_pearson"][p] = _correlation(predicted[p, kept], real[p, kept])
        found["error"][p] = -(weight * (x - y) ** 2).sum() / scale if scale > 0 else np.nan
        found["sign"][p] = (np.sign(x[top] * y[top]).mean() + 1) / 2
        found["overlap"][p] = np.isin(top, largest).mean() if x.any() else len(top) / len(x)
        nearer = (far < far[p]).sum() + ((far == far[p]).sum() - 1) / 2
        found["discrimination"][p] = 1 - nearer / (len(real) - 1)
    return found


def _mean(change: Array) -> Array:
    """Return the mean over perturbations of what is known, 0 where nothing is, (n_features,)."""
    there = np.isfinite(change)
    return np.asarray(np.where(there, change, 0.0).sum(axis=0) / np.maximum(1, there.sum(axis=0)))


def _rows(name: str, predicted: Array, real: Array, other: Array, targets: Array, seed: int) -> list[dict[str, Any]]:
    n = len(real)
    own, best = scores(predicted, real, other, targets), scores(other, real, other, targets)
    rng = generator(seed, "perturbation", "shuffled")
    orders = [_deranged(n, rng) for _ in range(DRAWS)]
    shuffled = [scores(predicted[order], real, other, targets) for order in orders]
    drawn = generator(seed, "perturbation", "bootstrap").integers(n, size=(RESAMPLES, n))
    rows = []
    for measure in MEASURES:
        null = np.nanmean([each[measure] for each in shuffled], axis=0)
        parts = np.stack([own[measure], null, best[measure]])
        value, at_null, ceiling = np.nanmean(parts, axis=1)
        spread = _headline(*np.nanmean(parts[:, drawn], axis=2))
        low, high = np.nanquantile(spread, [0.025, 0.975]) if np.isfinite(spread).any() else (np.nan, np.nan)
        rows.append(
            {
                "name": name, "measure": measure, "value": value, "null": at_null, "ceiling": ceiling,
                "headline": float(_headline(value, at_null, ceiling)), "low": low, "high": high, "n": n,
            }
        )  # fmt: skip
    return rows


def _headline(value: Array, null: Array, ceiling: Array) -> Array:
    """Return (value - null) / (ceiling - null); NaN where the ceiling does not exceed the null."""
    room = np.asarray(ceiling - null)
    return np.where(room > 1e-9, (value - null) / np.where(room > 1e-9, room, 1.0), np.nan)


def _deranged(n: int, rng: np.random.Generator) -> Array:
    """Return a permutation of `n` that leaves nothing in its place: a random cycle."""
    order = rng.permutation(n)
    found = np.empty(n, dtype=np.int64)
    found[order] = np.roll(order, 1)
    return found


def _correlation(x: Array, y: Array) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float(x @ y) / size if size > 0 else 0.0


def _check(predictions: Mapping[str, Array], real: Array, other: Array) -> None:
    for name, each in {**predictions, "the other half": other}.items():
        if each.shape != real.shape:
            raise InputError(f"{name} has shape {each.shape}, the real changes have {real.shape}")
    if not (np.isfinite(real).all() and np.isfinite(other).all()):
        raise InputError("a real change is not finite; leave out perturbations without cells")

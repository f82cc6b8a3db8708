"""Whether the genes that attribution names for a concept hold the gene that was perturbed, against matched genes.

For each perturbation, the place of its target among `MATCHED` genes of nearest mean expression, none of them a target,
by |score| in the list of the concept that the perturbation shifts most:

    place = share of the matched genes with a lower |score|, ties counting half

Without a link places are uniform between 0 and 1, with mean 1/2. The verdict over n perturbations is *yes* if their
mean is above what uniform places give (p < 0.05, one-sided, by simulation), *no* if a mean of `WORTH` would have been
found with a probability of at least 0.8 and was not, else *undecided*: too few perturbations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

MATCHED, WORTH = 50, 0.75
_SIMULATED, _POWER, _LEVEL = 20_000, 0.8, 0.05


class Named(NamedTuple):
    """What places of targets say together."""

    n: int
    mean: float
    """Mean place; 0.5 by chance."""
    p: float
    power: float
    """Probability of p < 0.05 if the mean place were `WORTH`."""
    verdict: str
    """``yes``, ``no`` or ``undecided``."""


def matched_genes(target: int, expression: Array, allowed: Array) -> Array:
    """Return the positions of the `MATCHED` genes of those `allowed` (mask) of nearest log mean to the target's."""
    away = np.abs(np.log(expression + 1e-6) - np.log(expression[target] + 1e-6))
    away[~allowed] = np.inf
    away[target] = np.inf
    order = np.argsort(away, kind="stable")[:MATCHED]
    return np.asarray(order[np.isfinite(away[order])])


def place(score: float, others: Array) -> float:
    """Return the share of `others` below `score`, ties counting half; NaN without any."""
    if not len(others):
        return float("nan")
    return float(((others < score).sum() + (others == score).sum() / 2) / len(others))


def named(places: Array, seed: int = 0) -> Named:
    """Judge the places of the targets of several perturbations; those that are NaN do not count."""
    places = np.asarray(places, dtype=np.float64)
    places = places[np.isfinite(places)]
    n = len(places)
    if not n:
        return Named(0, float("nan"), float("nan"), 0.0, "undecided")
    rng = generator(seed, "naming")
    chance = np.sort(rng.random((_SIMULATED, n)).mean(axis=1))
    mean = float(places.mean())
    p = (1 + int((chance >= mean).sum())) / (1 + _SIMULATED)
    shape = WORTH / (1 - WORTH)  # Beta(shape, 1) has the mean WORTH
    found = rng.beta(shape, 1, (_SIMULATED, n)).mean(axis=1)
    power = float((found > np.quantile(chance, 1 - _LEVEL)).mean())
    verdict = "yes" if p < _LEVEL else "no" if power >= _POWER else "undecided"
    return Named(n, mean, p, power, verdict)

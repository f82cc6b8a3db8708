"""Nulls of a match: pairs rewired with every gene's degrees kept, and Spearman's correlation with permuted ranks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from cellglass.errors import InputError

Array = np.ndarray[Any, Any]

_ROUNDS = 10
_BURN = 100
_FEWEST = 3


class Agreement(NamedTuple):
    """A correlation and its permutation p.

    Attributes
    ----------
    spearman : float
        NaN of fewer than three, or where one does not vary.
    p : float
        One-sided: (1 + permutations in which it is as large) / (1 + permutations).
    n : int
    """

    spearman: float
    p: float
    n: int


def rewired(pairs: Array, allowed: Array, draws: int, rng: np.random.Generator) -> Iterator[Array]:
    r"""Yield pairs drawn at random in which every source and every target appears as often as before.

    A chain of swaps (Maslov & Sneppen 2002): of two pairs (a, b) and (c, d) the targets change places, with probability
    1/2, where (a, d) and (c, b) are allowed and not there yet. In a round all pairs meet another; ten rounds lie
    between draws, a hundred before the first.

    Parameters
    ----------
    pairs : numpy.ndarray of int64, (m, 2)
        Source and target, no pair twice.
    allowed : numpy.ndarray of bool, (sources, targets)
        What pairs there may be.
    draws
    rng

    Yields
    ------
    numpy.ndarray of int64, (m, 2)
        With the same pairs as before where no swap is possible, such as of a single source.
    """
    now = np.array(pairs, dtype=np.int64)
    there = np.zeros(allowed.shape, dtype=bool)
    there[now[:, 0], now[:, 1]] = True
    half = len(now) // 2
    for draw in range(draws):
        for _ in range(_ROUNDS + (_BURN if draw == 0 else 0)):
            order = rng.permutation(len(now))
            one, two = order[:half], order[half : 2 * half]
            new = np.concatenate([now[one, 0] * allowed.shape[1] + now[two, 1],
                                  now[two, 0] * allowed.shape[1] + now[one, 1]])  # fmt: skip
            _, place, times = np.unique(new, return_inverse=True, return_counts=True)
            good = allowed.ravel()[new] & ~there.ravel()[new] & (times[place] == 1)
            some = good[:half] & good[half:] & (rng.random(half) < 0.5)
            one, two = one[some], two[some]
            for which in (one, two):
                there[now[which, 0], now[which, 1]] = False
            now[one, 1], now[two, 1] = now[two, 1], now[one, 1]
            for which in (one, two):
                there[now[which, 0], now[which, 1]] = True
        yield now.copy()


def above(value: float, null: Array) -> float:
    """Return the one-sided p of a value that is large: (1 + draws that are as large) / (1 + draws)."""
    return float((1 + (null >= value - 1e-12).sum()) / (1 + len(null)))


def agreement(a: Array, b: Array, draws: int, rng: np.random.Generator) -> Agreement:
    """Return Spearman's correlation of two columns over entries that both have, and its p over permutations."""
    check_draws(draws)
    both = np.isfinite(a) & np.isfinite(b)
    n = int(both.sum())
    x, y = (rankdata(values[both]) for values in (a, b))
    if n < _FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Agreement(float("nan"), float("nan"), n)
    x, y = ((values - values.mean()) / np.linalg.norm(values - values.mean()) for values in (x, y))
    found = float(x @ y)
    null = np.array([x @ rng.permutation(y) for _ in range(draws)])
    return Agreement(found, above(found, null), n)


def check_draws(draws: int) -> None:
    """Raise InputError for no draws."""
    if draws < 1:
        raise InputError(f"draws is {draws}; it must be at least 1")

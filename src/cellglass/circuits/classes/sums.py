r"""Means and standard deviations over units of two sides, and their difference, in one pass and without the units.

A unit is a cell, or a donor, whose values are the means over its cells. Of units u of one side, n of them,

    mean = sum x_u / n      sd = sqrt(sum (x_u - mean)^2 / (n - 1))          (updated as of Welford 1962)

    difference = mean of the one side - mean of the other        se = sqrt(sd_1^2 / n_1 + sd_2^2 / n_2)

and where two donors or more have cells of both sides, the difference is taken within each donor first, of these donors
alone: d_u = x_u1 - x_u2, difference = mean d_u, se = sd(d_u) / sqrt(n), so that what donors differ in drops out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Values = Mapping[str, Array]

FEWEST_PAIRS = 2


class Running:
    """Mean and standard deviation of arrays by name that come one by one."""

    def __init__(self) -> None:
        self.n = 0
        self.mean: dict[str, Array] = {}
        self._squares: dict[str, Array] = {}

    def add(self, values: Values) -> None:
        """Take in one unit."""
        self.n += 1
        for name, value in values.items():
            x = np.asarray(value, dtype=np.float64)
            if name not in self.mean:
                self.mean[name], self._squares[name] = np.zeros_like(x), np.zeros_like(x)
            step = x - self.mean[name]
            self.mean[name] += step / self.n
            self._squares[name] += step * (x - self.mean[name])

    def sd(self, name: str) -> Array:
        """Return the standard deviation over units; NaN of fewer than two."""
        squares = self._squares[name]
        return np.sqrt(squares / (self.n - 1)) if self.n > 1 else np.full_like(squares, np.nan)


class Contrast:
    """Units of two sides; cells of one unit come one after the other, then `close`.

    Attributes
    ----------
    sides : tuple of two Running
        Over the units of the one side, and of the other.
    pairs : Running
        Over units of both sides, the one less the other.
    cells : list of two int
    """

    def __init__(self) -> None:
        self.sides = (Running(), Running())
        self.pairs = Running()
        self.cells = [0, 0]
        self._unit: str | None = None
        self._own: list[dict[str, Array]] = [{}, {}]
        self._counts = [0, 0]

    def add(self, unit: str, side: int, values: Values) -> None:
        """Take in a cell of a unit, on side 0 or 1."""
        if unit != self._unit:
            self.close()
            self._unit = unit
        self.cells[side] += 1
        self._counts[side] += 1
        own = self._own[side]
        for name, value in values.items():
            if name in own:
                own[name] += value
            else:
                own[name] = np.array(value, dtype=np.float64)

    def close(self) -> None:
        """End the unit that is under way."""
        means = [
            {name: total / n for name, total in own.items()} if n else None
            for own, n in zip(self._own, self._counts, strict=True)
        ]
        for running, mean in zip(self.sides, means, strict=True):
            if mean is not None:
                running.add(mean)
        first, second = means
        if first is not None and second is not None:
            self.pairs.add({name: first[name] - second[name] for name in first})
        self._own, self._counts, self._unit = [{}, {}], [0, 0], None

    @property
    def is_paired(self) -> bool:
        """Whether differences are taken within units."""
        return self.pairs.n >= FEWEST_PAIRS

    def difference(self, name: str) -> tuple[Array, Array]:
        """Return the difference of the sides and its standard error."""
        if self.is_paired:
            return self.pairs.mean[name], self.pairs.sd(name) / np.sqrt(self.pairs.n)
        one, other = self.sides
        error = np.sqrt(one.sd(name) ** 2 / one.n + other.sd(name) ** 2 / other.n)
        return one.mean[name] - other.mean[name], error

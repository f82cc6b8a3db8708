"""Mean and variance of rows that arrive batch by batch, in one pass and without the rows: nothing grows with them."""

from __future__ import annotations

import torch


class Moments:
    """Number, mean, and sum of squares around the mean, in float64.

    With n rows of mean m so far, and k more of mean o (the update of Chan, Golub and LeVeque 1983):

        squares += squares of the k around o + (o - m)^2 n k / (n + k),     m += (o - m) k / (n + k)

    Parameters
    ----------
    width : int
        Dimensions of a row.
    together : bool
        Keep one sum of squares over all dimensions, not one for each.

    Attributes
    ----------
    n : int
    mean : torch.Tensor, float64 (width,)
    squares : torch.Tensor, float64 (width,), or () if `together`
    """

    def __init__(self, width: int, *, together: bool = False) -> None:
        self.n = 0
        self.mean = torch.zeros(width, dtype=torch.float64)
        self.squares = torch.zeros((() if together else width), dtype=torch.float64)
        self._together = together

    def add(self, rows: torch.Tensor) -> None:
        """Take in `rows` (k, width); none change nothing."""
        count = len(rows)
        if not count:
            return
        x = rows.double()
        own = x.mean(0)
        step, total = own - self.mean, self.n + count
        within, between = (x - own).square(), step.square()
        if self._together:
            within, between = within.sum(), between.sum()
        else:
            within = within.sum(0)
        self.squares += within + between * (self.n * count / total)
        self.mean += step * (count / total)
        self.n = total

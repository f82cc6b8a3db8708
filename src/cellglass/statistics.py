"""Statistics that several rooms need, each once: q-values, and Welch's t-test from means and their errors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


def benjamini_hochberg(p: Array) -> Array:
    """Return q-values (Benjamini and Hochberg 1995) over all entries of `p`, float64, in its shape.

    With p(1) <= ... <= p(m):

        q(i) = min over j >= i of p(j) m / j, at most 1

    Parameters
    ----------
    p : array
        Between 0 and 1, none of them NaN; may be empty.
    """
    flat = np.asarray(p, dtype=np.float64).ravel()
    order = np.argsort(flat)
    ordered = flat[order] * (len(flat) / np.arange(1, len(flat) + 1))
    np.minimum.accumulate(ordered[::-1], out=ordered[::-1])
    q = np.empty(len(flat))
    q[order] = np.minimum(ordered, 1.0)
    return q.reshape(np.shape(p))


class Welch(NamedTuple):
    """A test of the difference of two means; arrays of one shape."""

    t: Array
    freedom: Array
    p: Array
    """Two-sided."""


def welch(difference: Any, first: Any, n_first: int, second: Any, n_second: int) -> Welch:
    """Test the difference of two means whose samples may vary unequally (Welch 1947).

    With a and b the squared standard errors of the means of n and m values:

        t = difference / sqrt(a + b),  freedom = (a + b)^2 / (a^2 / (n - 1) + b^2 / (m - 1)),  p = 2 P(T >= |t|)

    Where neither sample varies, t is 0, freedom n + m - 2, and p is 1 for no difference and 0 for any other.

    Parameters
    ----------
    difference, first, second : float or array
        The difference of the means, and a and b.
    n_first, n_second : int
        Values of each sample, at least 2.
    """
    from scipy.special import stdtr

    difference, first, second = (np.asarray(values, dtype=np.float64) for values in (difference, first, second))
    error = first + second
    below = first**2 / (n_first - 1) + second**2 / (n_second - 1)
    t = np.divide(difference, np.sqrt(error), out=np.zeros(error.shape), where=error > 0)
    freedom = np.divide(error**2, below, out=np.full(error.shape, n_first + n_second - 2.0), where=below > 0)
    p = np.where(error > 0, 2 * stdtr(freedom, -np.abs(t)), np.where(difference == 0, 1.0, 0.0))
    return Welch(t, freedom, p)

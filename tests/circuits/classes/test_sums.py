"""Means over units, and differences of two sides, held against NumPy over all cells at once."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.circuits.classes.sums import Contrast, Running

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 2, 3))


def test_mean_and_sd_are_those_of_all_units() -> None:
    running = Running()
    for x in X:
        running.add({"x": x})
    np.testing.assert_allclose(running.mean["x"], X.mean(0), rtol=1e-12)
    np.testing.assert_allclose(running.sd("x"), X.std(0, ddof=1), rtol=1e-12)
    alone = Running()
    alone.add({"x": X[0]})
    assert np.isnan(alone.sd("x")).all()


def test_cells_are_units_and_the_difference_is_welchs() -> None:
    found = Contrast()
    for i, x in enumerate(X):
        found.add(f"{i:02d}", int(i >= 5), {"x": x})
    found.close()
    one, other = X[:5], X[5:]
    difference, error = found.difference("x")
    np.testing.assert_allclose(difference, one.mean(0) - other.mean(0), rtol=1e-12)
    expected = np.sqrt(one.var(0, ddof=1) / 5 + other.var(0, ddof=1) / 7)
    np.testing.assert_allclose(error, expected, rtol=1e-12)
    assert (found.is_paired, found.cells) == (False, [5, 7])


def test_donors_are_units_and_those_of_both_sides_are_compared_within_themselves() -> None:
    donors = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    sides = np.array([0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 1, 1])
    found = Contrast()
    for donor, side, x in zip(donors, sides, X, strict=True):
        found.add(str(donor), int(side), {"x": x})
    found.close()

    def mean(donor: int, side: int) -> np.ndarray:
        return X[(donors == donor) & (sides == side)].mean(0)

    means = np.stack([mean(0, 0), mean(1, 0), mean(2, 0)])
    np.testing.assert_allclose(found.sides[0].mean["x"], means.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.sides[0].sd("x"), means.std(0, ddof=1), rtol=1e-12)
    within = np.stack([mean(0, 0) - mean(0, 1), mean(1, 0) - mean(1, 1)])  # donors 2 and 3 have one side alone
    difference, error = found.difference("x")
    assert found.is_paired
    np.testing.assert_allclose(difference, within.mean(0), rtol=1e-12)
    np.testing.assert_allclose(error, within.std(0, ddof=1) / np.sqrt(2), rtol=1e-12)
    assert [running.n for running in found.sides] == [3, 3]


def test_a_cell_that_comes_is_not_changed() -> None:
    found, x = Contrast(), np.ones(2)
    for _ in range(2):
        found.add("a", 0, {"x": x})
    found.close()
    np.testing.assert_array_equal(x, 1)
    assert found.sides[0].mean["x"] == pytest.approx(np.ones(2))

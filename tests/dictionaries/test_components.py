"""Independent components are those of scikit-learn's own function, and planted ones are found."""

import numpy as np
import pytest
from sklearn.decomposition import FastICA

from cellglass.dictionaries.components import directions, independent_components


def _sources(n: int, q: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.laplace(size=(n, q)) @ rng.normal(size=(q, d)) + 3


@pytest.mark.parametrize("seed", [0, 2**40])
@pytest.mark.parametrize("q", [2, 4])
def test_components_are_scikit_learns(seed: int, q: int) -> None:
    x = _sources(2000, 4, 4)
    mine = independent_components(x, q, seed, iterations=100)
    plain = FastICA(q, whiten="unit-variance", max_iter=100, tol=1e-3, random_state=seed % 2**32)
    np.testing.assert_allclose(mine.of(x), plain.fit_transform(x), atol=1e-6)
    np.testing.assert_allclose(mine.mixing, plain.mixing_, atol=1e-6)
    assert mine.settled


def test_planted_sources_are_found_and_put_together_again() -> None:
    rng = np.random.default_rng(2)
    sources = rng.laplace(size=(5000, 3))
    x = sources @ rng.normal(size=(3, 7)) - 1
    found = independent_components(x, 3, 0, iterations=200)
    alike = np.abs(np.corrcoef(sources.T, found.of(x).T)[:3, 3:])
    assert (alike.max(axis=0) > 0.98).all()
    np.testing.assert_allclose(found.of(x).std(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(found.of(x) @ found.mixing.T + found.mean, x, atol=1e-8)


def test_what_cannot_come_to_rest_says_so() -> None:
    x = np.random.default_rng(0).normal(size=(300, 6))
    assert not independent_components(x, 6, 0, iterations=2).settled


def test_more_components_than_directions_are_not_finite() -> None:
    found = independent_components(_sources(100, 2, 5), 3, 0, iterations=10)
    assert not np.isfinite(found.unmixing).any()


def test_directions_are_those_that_vary_by_more_than_rounding() -> None:
    x = _sources(200, 3, 6)
    assert directions(x) == 3
    assert directions(x.astype(np.float32).astype(np.float64)) == 3, "rounding is no direction"
    assert directions(np.ones((9, 4))) == 0

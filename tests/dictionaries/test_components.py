"""Independent components are those of scikit-learn's own function, and planted ones are found."""

import numpy as np
import pytest
from sklearn.decomposition import FastICA
from sklearn.decomposition._fastica import _logcosh

from cellglass.dictionaries.components import independent_components, log_cosh


def test_the_derivatives_are_scikit_learns() -> None:
    x = np.random.default_rng(0).normal(size=(5, 300))
    wanted = _logcosh(x.copy(), {})
    for mine, theirs in zip(log_cosh(x), wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("seed", [0, 2**40])
def test_components_are_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.laplace(size=(2000, 4)) @ rng.normal(size=(4, 4))
    mine = independent_components(4, seed, iterations=100).fit_transform(x)
    plain = FastICA(4, whiten="unit-variance", max_iter=100, tol=1e-3, random_state=seed % 2**32)
    np.testing.assert_allclose(mine, plain.fit_transform(x), atol=1e-6)

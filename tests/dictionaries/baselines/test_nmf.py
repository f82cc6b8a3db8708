"""NMF finds planted parts, encodes to the non-negative least squares, and refuses negative activations."""

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from cellglass import dictionaries
from cellglass.errors import InputError


def test_codes_equal_non_negative_least_squares(positive) -> None:
    dictionary = dictionaries.fit("nmf", positive, n_components=5, seed=0)
    codes = dictionary.encode(positive[:40]).to_csr().toarray()
    parts = dictionary.directions.double().numpy()
    for row, code in zip(positive[:40].double().numpy(), codes, strict=True):
        best, error = nnls(parts.T, row)
        assert np.linalg.norm(code @ parts - row) <= error + 1e-4
        assert np.allclose(code, best, atol=5e-3)


def test_planted_parts_are_found() -> None:
    rng = np.random.default_rng(0)
    parts = rng.random((3, 12)) * (rng.random((3, 12)) < 0.4) + np.repeat(np.eye(3), 4, axis=1)
    x = torch.from_numpy(rng.exponential(size=(600, 3)) * (rng.random((600, 3)) < 0.6) @ parts).float()
    dictionary = dictionaries.fit("nmf", x, n_components=3, seed=0)
    unit = parts / np.linalg.norm(parts, axis=1, keepdims=True)
    assert ((unit @ dictionary.directions.numpy().T).max(axis=1) > 0.98).all()


def test_negative_activations_are_refused() -> None:
    with pytest.raises(InputError, match="NMF needs activations >= 0"):
        dictionaries.fit("nmf", torch.randn(50, 4, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(InputError, match="n_components is 9"):
        dictionaries.fit("nmf", torch.rand(50, 4), n_components=9)

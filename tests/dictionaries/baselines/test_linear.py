"""Axes split by sign lose nothing, and one latent of each pair answers."""

import numpy as np
import pytest
import torch

from cellglass import dictionaries


@pytest.fixture
def x() -> torch.Tensor:
    noise = torch.Generator().manual_seed(0)
    return torch.randn(300, 6, generator=noise) @ torch.randn(6, 6, generator=noise) + 3


@pytest.mark.parametrize("kind", ["neurons", "pca", "ica", "random"])
def test_as_many_axes_as_dimensions_reconstruct_exactly(kind: str, x: torch.Tensor) -> None:
    dictionary = dictionaries.fit(kind, x, seed=1)
    assert dictionary.n_latents == 12
    assert torch.allclose(dictionary.decode(dictionary.encode(x)), x, atol=1e-4 if kind in ("ica", "random") else 1e-5)


@pytest.mark.parametrize("kind", ["neurons", "pca", "ica", "random"])
def test_one_latent_of_each_pair_answers_with_the_positive_part(kind: str, x: torch.Tensor) -> None:
    dictionary = dictionaries.fit(kind, x, seed=1)
    dense = dictionary.encode(x).to_csr().toarray()
    pre = dictionary.preactivations(x).numpy()
    assert np.allclose(dense, np.maximum(pre, 0), atol=1e-6)
    assert ((dense[:, :6] > 0) + (dense[:, 6:] > 0) <= 1).all()

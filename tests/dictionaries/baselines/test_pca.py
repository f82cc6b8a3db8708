"""PCA equals scikit-learn's, component by component, and keeps the share of variance that its eigenvalues say."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from cellglass import dictionaries
from cellglass.errors import InputError


def test_components_and_reconstruction_equal_scikit_learns() -> None:
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(500, 7, generator=noise) @ torch.randn(7, 7, generator=noise) + 4
    ours = dictionaries.fit("pca", x, n_components=3, rows_train=range(450))
    theirs = PCA(3).fit(x[:450].double().numpy())
    cosine = (ours.directions[:3].double().numpy() * theirs.components_).sum(1)
    assert np.allclose(np.abs(cosine), 1, atol=1e-5)
    x_hat = theirs.inverse_transform(theirs.transform(x.double().numpy()))
    assert np.allclose(ours.decode(ours.encode(x)).numpy(), x_hat, atol=1e-4)


@pytest.mark.parametrize("q", [0, 8])
def test_a_wrong_number_is_named(q: int) -> None:
    with pytest.raises(InputError, match=f"n_components is {q}"):
        dictionaries.fit("pca", torch.randn(50, 7), n_components=q)

"""Random directions have norm 1 and reconstruct by least squares."""

import pytest
import torch

from cellglass import dictionaries
from cellglass.errors import InputError


@pytest.mark.parametrize("q", [2, 5, 11])
def test_reconstruction_is_the_projection_on_the_directions(q: int) -> None:
    x = torch.randn(80, 5, generator=torch.Generator().manual_seed(0)) + 1
    dictionary = dictionaries.fit("random", x, n_components=q, rows_train=range(60), seed=4)
    assert torch.allclose(dictionary.analysis.norm(dim=1), torch.ones(q), atol=1e-6)
    centre = x[:60].mean(0)
    basis = torch.linalg.svd(dictionary.analysis, full_matrices=False).Vh[: min(q, 5)]
    wanted = centre + (x - centre) @ basis.T @ basis
    assert torch.allclose(dictionary.decode(dictionary.encode(x)), wanted, atol=1e-4)


def test_no_direction_is_refused() -> None:
    with pytest.raises(InputError, match="n_components is 0"):
        dictionaries.fit("random", torch.randn(20, 3), n_components=0)

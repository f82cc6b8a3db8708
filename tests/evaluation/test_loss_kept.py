"""The share of the loss that is kept: 1 of what is whole, 0 of the mean, and in between what a sum by hand gives."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cellglass.cells import simulate
from cellglass.errors import InputError
from cellglass.evaluation.loss_kept import loss_kept
from cellglass.models import scvi


class Quadratic:
    """A model whose loss is the mean square distance of the activation from a target."""

    def __init__(self, target: torch.Tensor) -> None:
        self.target = target

    def reconstruction_loss(self, _site, activations, _cells):
        return float((activations - self.target).square().sum(dim=1).mean())


def test_it_is_variance_explained_where_the_loss_is_the_squared_distance():
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x_hat, cells = x * torch.tensor([1.0, 1.0, 0.5, 0.0]), SimpleNamespace(n_cells=50)
    found = loss_kept(Quadratic(x), "z", cells, x, x_hat, x.mean(dim=0))
    explained = 1 - (x - x_hat).square().sum() / (x - x.mean(dim=0)).square().sum()
    assert found.share == pytest.approx(float(explained))
    assert found.whole == 0
    assert loss_kept(Quadratic(x), "z", cells, x, x, x.mean(dim=0)).share == 1
    assert loss_kept(Quadratic(x), "z", cells, x, x.mean(dim=0).expand(50, -1), x.mean(dim=0)).share == 0
    assert np.isnan(loss_kept(Quadratic(x.mean(dim=0)), "z", cells, x, x_hat, x.mean(dim=0)).share)
    with pytest.raises(InputError, match="there are 49 cells"):
        loss_kept(Quadratic(x), "z", SimpleNamespace(n_cells=49), x, x_hat, x.mean(dim=0))


def test_a_fitted_scvi_loses_with_what_is_taken_from_its_site():
    cells = simulate(n_cells=300, n_genes=80, n_programs=4, genes_per_program=10, n_types=3, seed=0).cells
    model = scvi.fit(cells, epochs=15, n_latent=6, n_hidden=32, seed=0)
    z = model.activations(cells, ["z"])["z"]
    floor = z.mean(dim=0)
    shares = [loss_kept(model, "z", cells, z, floor + keep * (z - floor), floor).share for keep in (0, 0.3, 0.6, 1)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1

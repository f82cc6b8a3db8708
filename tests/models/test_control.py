"""A control has the network of its model, and weights that know nothing."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.cells import Cells, demo_cells
from cellglass.errors import InputError
from cellglass.models import registry, scvi
from cellglass.models.control import control_of
from cellglass.models.embedding import EmbeddingModel
from cellglass.models.kind import FitConfig
from cellglass.models.module import ModuleModel
from cellglass.vocabulary import CONTROLS


@pytest.fixture(scope="module")
def cells() -> Cells:
    rng = np.random.default_rng(0)
    genes = pd.DataFrame({"symbol": [f"G{i}" for i in range(20)]}, index=[f"G{i}" for i in range(20)])
    counts = sp.csr_matrix(rng.poisson(3.0, (60, 20)).astype(np.float32))
    obs = pd.DataFrame(index=[f"c{i}" for i in range(60)])
    return Cells(counts, genes, obs, obsm={"X": rng.normal(size=(60, 3)).astype(np.float32)})


def tensors_of(model) -> dict[str, torch.Tensor]:
    return model.tensors if model.kind == "scvi" else dict(model.net.named_parameters())


@pytest.fixture(scope="module", params=["scvi", "module"])
def model(request: pytest.FixtureRequest, cells: Cells):
    if request.param == "scvi":
        return scvi.fit(cells, epochs=2, n_latent=3, n_hidden=8)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(20, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 4))
    return ModuleModel(net, cells.genes.index, {"out": "2"})


@pytest.mark.parametrize("how", CONTROLS)
def test_a_control_is_the_same_network_with_other_weights_and_follows_the_seed(model, cells: Cells, how: str) -> None:
    before = {name: x.detach().clone() for name, x in tensors_of(model).items()}
    site = next(iter(model.sites))
    control, again, other = (control_of(model, how, seed) for seed in (1, 1, 2))
    mine, real = (m.activations(cells, [site])[site] for m in (control, model))
    assert mine.shape == real.shape
    assert torch.isfinite(mine).all()
    assert (mine - real).abs().max() > 1e-3
    for name, x in tensors_of(model).items():
        assert torch.equal(x, before[name])
        found = tensors_of(control)[name]
        assert torch.equal(found, tensors_of(again)[name])
        if how == "shuffled" and x.is_floating_point():
            assert torch.equal(found.flatten().sort().values, x.flatten().sort().values)
    assert not all(torch.equal(tensors_of(control)[n], tensors_of(other)[n]) for n in before)


def test_layers_without_a_rule_of_their_own_begin_near_zero() -> None:
    class Scale(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = torch.nn.Parameter(torch.full((4,), 7.0)), torch.nn.Parameter(torch.ones(4))
            self.matrix = torch.nn.Parameter(torch.ones(40, 40))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weight + self.bias

    model = ModuleModel(Scale(), ["a", "b", "c", "d"], {"out": ""})
    net = control_of(model, "untrained").net
    assert net.weight.tolist() == [1.0] * 4
    assert net.bias.tolist() == [0.0] * 4
    assert net.matrix.detach().std() == pytest.approx(0.02, rel=0.1)


def test_an_embedding_has_no_control(cells: Cells) -> None:
    with pytest.raises(InputError, match="has no weights"):
        control_of(EmbeddingModel.of(cells, ["X"]), "shuffled")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["scgpt", "geneformer", "cell2sentence"])
@pytest.mark.parametrize("how", ["untrained", "shuffled"])
def test_a_transformer_can_be_its_own_control(kind: str, how: str) -> None:
    cells = demo_cells()[:60]
    model = registry.fit(kind, cells, FitConfig(epochs=0, layers=2, width=32)).for_cells(cells)
    control = control_of(model, how, 0)
    before, after, again = (
        one.activations(cells, ["cell"])["cell"] for one in (model, control, control_of(model, how, 0))
    )
    assert torch.isfinite(after).all()
    assert (before - after).abs().mean() > 0.05
    assert torch.equal(after, again)
    assert control.fingerprint() != model.fingerprint()

"""A network of one's own: its sites equal plain calls of its parts, and swaps and gradients come through."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cellglass import models
from cellglass.errors import InputError
from cellglass.models.edits import edited_cells
from cellglass.models.module import ModuleModel
from cellglass.models.transformer.hooks import Point


class Net(nn.Module):
    """An encoder with dropout, two inputs."""

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_genes, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 6))
        self.head = nn.Linear(6, 3)
        self.spare = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x) * depth)


def inputs(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    depth = counts.sum(1, keepdim=True).clamp_min(1)
    return torch.log1p(counts / depth * 1e4), torch.log(depth)


@pytest.fixture
def net(cells) -> Net:
    torch.manual_seed(0)
    return Net(cells.n_genes)


@pytest.fixture
def model(net, cells) -> ModuleModel:
    sites = {"z": "encoder", "hidden": "encoder.2", "half": Point("head", "in", slice(0, 3))}
    return ModuleModel(net, list(cells.genes.index), sites, inputs)


@torch.no_grad()
def test_sites_are_what_the_parts_give(model, net, cells, monkeypatch):
    monkeypatch.setattr("cellglass.models.module._CELLS", 7)
    x, depth = inputs(torch.from_numpy(cells.counts.toarray()))
    found = model.activations(cells, ["half", "z", "hidden"])
    z = net.encoder(x)
    torch.testing.assert_close(found["z"], z)
    torch.testing.assert_close(found["hidden"], net.encoder[:3](x))
    torch.testing.assert_close(found["half"], (z * depth)[:, :3])
    assert {name: site.width for name, site in model.sites.items()} == {"z": 6, "hidden": 16, "half": 3}
    # Genes in another order are put right.
    order = np.random.default_rng(0).permutation(cells.n_genes)
    torch.testing.assert_close(model.activations(cells.select_genes(order), ["z"])["z"], z)


def test_swaps_and_gradients_come_through(model, cells):
    cell, gene, count = np.array([0, 3]), np.array([2, 5]), np.array([9, 0], dtype=np.float32)
    found = model.perturbed_activations(cells, "z", cell, gene, count)
    torch.testing.assert_close(found, model.activations(edited_cells(cells, cell, gene, count), ["z"])["z"])
    assert model.lacks("path", "z") is None
    log = torch.log1p(torch.from_numpy(cells.counts[:3].toarray())).requires_grad_()
    z = model.path_gradient("z", log, cells[:3])
    torch.testing.assert_close(z.detach(), model.activations(cells[:3], ["z"])["z"], atol=1e-5, rtol=1e-4)
    slope = torch.autograd.grad(z[:, 0].sum(), log)[0]
    moved = log.detach().clone()
    moved[1, 4] += 1e-2
    with torch.no_grad():
        risen = (model.path_gradient("z", moved, cells[:3]) - z)[1, 0] / 1e-2
    assert abs(float(risen - slope[1, 4])) < 0.05 * float(slope.abs().max())


def test_inputs_without_gradient_have_no_path_effects(net, cells):
    def ranks(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return counts.argsort(dim=1).float(), torch.ones(len(counts), 1)

    model = ModuleModel(net, list(cells.genes.index), {"z": "encoder"}, ranks)
    with pytest.raises(InputError, match="no gradient"):
        model.path_gradient("z", torch.zeros(2, cells.n_genes), cells[:2])
    assert "no gradient" in model.lacks("path", "z")
    assert model.lacks("counterfactual", "z") is None


def test_wrong_sites_are_refused(net, cells):
    genes = list(cells.genes.index)
    for sites, message in (
        ({"z": "encode"}, "no submodule 'encode'; it has: encoder, encoder.0"),
        ({}, "at least one site"),
        ({"z": "spare"}, "'spare' is not run"),
    ):
        with pytest.raises(InputError, match=message):
            ModuleModel(net, genes, sites, inputs)

    class Summing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.total = nn.Flatten(0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.total(x)

    with pytest.raises(InputError, match=r"site 'all' is \(50,\) for 2 cells"):
        ModuleModel(Summing(), genes, {"all": "total"})


def test_the_folder_tells_that_the_code_is_elsewhere(model, tmp_path):
    model.save(tmp_path / "own")
    assert model.fingerprint() == model.fingerprint()
    with pytest.raises(InputError, match="and not its code"):
        models.load(tmp_path / "own")
    assert not models.is_read_back("module")
    assert models.is_read_back("scgpt")

"""Residual latents learn what the core leaves, and nothing that it has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass.dictionaries import BatchTopKConfig, TrainConfig, train
from cellglass.dictionaries.consensus.readout import Readout
from cellglass.dictionaries.consensus.residual import Core, Residual


@pytest.fixture
def core() -> Core:
    """Two concepts in five dimensions."""
    encoder = np.zeros((2, 5))
    encoder[0, 0], encoder[1, 1] = 1, 0.5
    readout = Readout(encoder, np.array([0.1, -0.2]), np.array([0.3, 0.0]), np.ones(2))
    decoder = torch.tensor([[2.0, 0, 0, 0, 0], [0, 1.0, 0, 0, 0]])
    return Core(readout, decoder, torch.tensor([0.5, 0, 0, 0, 0]))


def test_activations_and_reconstructions_equal_a_loop(core) -> None:
    u = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    found, made = core.activations(u), core.reconstruct(u)
    for i in range(40):
        p = [float(u[i, 0]) + 0.1, 0.5 * float(u[i, 1]) - 0.2]
        f = [p[0] if p[0] > 0.3 else 0, max(p[1], 0)]
        assert found[i].tolist() == pytest.approx(f, abs=1e-6)
        assert made[i].tolist() == pytest.approx([2 * f[0] + 0.5, f[1], 0, 0, 0], abs=1e-6)


def test_what_is_wanted_is_what_the_core_leaves(core) -> None:
    u = torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
    residual = Residual(BatchTopKConfig(5, 8, 2), core)
    assert torch.allclose(residual.wanted(u), u - core.reconstruct(u))


def test_the_core_goes_where_the_dictionary_goes_and_is_not_saved_with_it(core) -> None:
    residual = Residual(BatchTopKConfig(5, 8, 2), core)
    assert not [name for name in residual.state_dict() if name.startswith("core")]
    away = residual.to("meta")
    assert {value.device.type for value in away.core.buffers()} == {"meta"}
    assert away.wanted(torch.zeros(3, 5, device="meta")).device.type == "meta"


def test_it_learns_directions_that_the_core_does_not_have(planted) -> None:
    """A dimension that is on or off, and large, is reconstructed by the core: what is trained writes the rest alone."""
    n, d = planted.x.shape
    on = (torch.rand(n, 1, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    x = torch.cat([5 * on, planted.x], dim=1)
    centre, scale = x.mean(0), x.var(0, unbiased=False).mean().sqrt()
    low, high = (float((value - centre[0]) / scale) for value in (0.0, 5.0))
    encoder, decoder, bias = np.zeros((1, d + 1)), torch.zeros(1, d + 1), torch.zeros(d + 1)
    encoder[0, 0], decoder[0, 0], bias[0] = 1 / (high - low), high - low, low
    core = Core(Readout(encoder, np.array([-low / (high - low)]), np.array([0.5]), np.ones(1)), decoder, bias)
    training = TrainConfig(steps=200, batch_size=256, learning_rate=1.2e-2, dead_after=4000, patience=1000)
    made = train(Residual(BatchTopKConfig(d + 1, 36, 2), core), x, training, seed=0)
    used = made.decoder[torch.from_numpy(made.encode(x).to_csr().getnnz(axis=0) > 0)]
    assert float(used[:, 0].abs().max()) < 0.1
    cosine = (planted.directions @ made.decoder[:, 1:].T).max(dim=1).values
    assert float(cosine.mean()) > 0.93

"""A consensus dictionary encodes and decodes as its parts do; it says of each latent what was found, and is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass import dictionaries
from cellglass.dictionaries import Consensus, ConsensusConfig, TrainConfig, train
from cellglass.dictionaries.consensus import fit as module
from cellglass.errors import InputError


@pytest.fixture
def parts(crossed, monkeypatch):
    """A fitted dictionary, and the core and the residual latents that it was joined from, as they were."""
    kept = {}
    real = module._assembled

    def assembled(config, core, residual, *rest):
        kept["core"], kept["residual"] = core, residual
        return real(config, core, residual, *rest)

    monkeypatch.setattr(module, "_assembled", assembled)
    training = TrainConfig(steps=40, batch_size=64, check_every=10, dead_after=500)
    config = ConsensusConfig(4, 40, 6, pairs=2)
    made = dictionaries.fit("consensus", crossed.x, config=config, training=training, seed=1)
    return made, kept["core"], kept["residual"]


def test_it_computes_what_core_and_residual_latents_compute(parts, crossed) -> None:
    made, core, residual = parts
    u = (crossed.x - made.centre) / made.scale
    ours, n = torch.from_numpy(made.encode(crossed.x).to_csr().toarray()), made.config.n_core
    first = core.activations(u) * core.decoder.norm(dim=1)
    p = (u - residual.bias) @ residual.encoder.T + residual.encoder_bias
    rest = torch.where(p > residual.threshold, p, 0.0)
    assert 0 < n < 40
    np.testing.assert_allclose(ours[:, :n], first, atol=2e-4)
    np.testing.assert_allclose(ours[:, n:], rest, atol=2e-4)
    together = core.reconstruct(u) + rest @ residual.decoder + residual.bias
    expected = made.centre + made.scale * together
    np.testing.assert_allclose(made.decode(made.encode(crossed.x)), expected, atol=2e-3)
    assert torch.allclose(made.decoder.norm(dim=1), torch.ones(40), atol=1e-4)


def test_what_is_trained_beside_the_core_reconstructs_more(parts, crossed) -> None:
    made, core, _ = parts
    u = (crossed.x - made.centre) / made.scale
    alone = crossed.x - (made.centre + made.scale * core.reconstruct(u))
    assert float((crossed.x - made.decode(made.encode(crossed.x))).square().sum()) < float(alone.square().sum())


def test_every_activation_is_above_the_latents_own_threshold(shared_state, crossed) -> None:
    codes = shared_state.encode(crossed.x).to_csr().tocsc()
    p, bar = shared_state.preactivations(crossed.x).numpy(), shared_state.bar().numpy()
    assert len(set(np.round(bar[: shared_state.config.n_core], 4))) > 3
    for latent in range(64):
        values = codes[:, latent].toarray().ravel()
        clear = np.abs(p[:, latent] - bar[latent]) > 1e-5
        expected = np.where(p[:, latent] > bar[latent], p[:, latent], 0)
        np.testing.assert_allclose(values[clear], expected[clear], atol=1e-4)
    per_cell = np.diff(codes.tocsr().indptr)
    assert per_cell.min() < per_cell.max()  # as many as there are, not k


def test_saved_and_loaded_is_the_same_with_all_that_was_found(shared_state, crossed, tmp_path) -> None:
    shared_state.save(tmp_path / "d")
    again = dictionaries.load(tmp_path / "d")
    assert isinstance(again, Consensus)
    assert again.config == shared_state.config
    for name in ("reproducibility", "cluster_correlation", "agreement", "threshold", "encoder", "decoder"):
        assert torch.equal(getattr(again, name).nan_to_num(-1), getattr(shared_state, name).nan_to_num(-1))
    assert again.n_findings == shared_state.n_findings == shared_state.config.n_concepts > 0
    assert abs(again.encode(crossed.x).to_csr() - shared_state.encode(crossed.x).to_csr()).max() < 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_out": 3}, "writes the site that it reads"),
        ({"d_out": 4, "skip": True}, "writes the site that it reads"),
        ({"pairs": 0}, "pairs is 0; it must be at least 1"),
        ({"n_core": 3, "n_concepts": 4}, "4 concepts among 3 core latents of 8"),
        ({"n_core": 9}, "0 concepts among 9 core latents of 8"),
        ({"k": 9}, "k is 9"),
    ],
)
def test_a_config_that_cannot_be_is_named(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ConsensusConfig(**{"d_in": 4, "n_latents": 8, "k": 2, **options})


def test_it_is_no_transcoder_and_is_not_trained_by_gradient(crossed) -> None:
    with pytest.raises(InputError, match="leave out d_out"):
        dictionaries.fit("consensus", crossed.x, target=crossed.x[:, :2])
    with pytest.raises(InputError, match=r'not trained by gradient alone; call fit\("consensus", x\)'):
        train(Consensus(ConsensusConfig(4, 8, 2)), crossed.x)

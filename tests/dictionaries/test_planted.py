"""Kinds that are trained by gradient find a planted truth: directions, the rows that hold them, what they write."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cellglass.dictionaries import CrossLayerConfig, TrainConfig, default_config, default_training, train
from cellglass.dictionaries.registry import KINDS, trained

TRAINING = TrainConfig(steps=200, batch_size=256, learning_rate=1.2e-2, dead_after=4000, patience=1000)
BY_GRADIENT = [kind for kind in trained() if KINDS[kind].learn is None]
WIDTH, PLANTED, ACTIVE, WRITTEN, LATENTS = 20, 24, 2, 14, 36


def directions(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def explained(found: torch.Tensor, truth: torch.Tensor) -> float:
    return 1 - float((found - truth).square().sum() / (truth - truth.mean(0)).square().sum())


def recovered(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """For each planted direction the cosine of the direction that is nearest to it."""
    unit = torch.nn.functional.normalize
    return (unit(found, dim=1) @ unit(truth, dim=1).T).max(dim=0).values


def best_f1(codes: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """For each planted feature the F1 of the latent whose rows are most like its rows."""
    found, there = (codes > 0).float(), (truth > 0).float()
    size = found.sum(0)[:, None] + there.sum(0)
    return (2 * (found.T @ there) / size.clamp_min(1)).max(dim=0).values


def dense(codes) -> torch.Tensor:
    return torch.from_numpy(codes.to_csr().toarray())


@pytest.mark.slow
@pytest.mark.parametrize("kind", BY_GRADIENT)
def test_an_autoencoder_finds_directions_and_rows(kind: str, planted, small_config) -> None:
    config = small_config(kind, WIDTH, LATENTS, ACTIVE)
    dictionary = train(KINDS[kind].cls(config), planted.x, TRAINING, seed=0)
    codes = dictionary.encode(planted.x)
    cosine = recovered(dictionary.directions, planted.directions)
    assert float(cosine.mean()) > 0.93
    assert float((cosine > 0.9).float().mean()) >= 0.9
    assert float(best_f1(dense(codes), planted.codes).mean()) > 0.88
    assert explained(dictionary.decode(codes), planted.x) > 0.93
    assert dense(codes).count_nonzero() / len(planted.x) == pytest.approx(ACTIVE, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BY_GRADIENT)
def test_a_transcoder_finds_what_is_written(kind: str, planted, small_config) -> None:
    written = directions(PLANTED, WRITTEN, 9)
    y = planted.codes @ written - 3
    config = small_config(kind, WIDTH, LATENTS, ACTIVE, d_out=WRITTEN)
    dictionary = train(KINDS[kind].cls(config), planted.x, TRAINING, target=y, seed=0)
    codes = dictionary.encode(planted.x)
    assert float(recovered(dictionary.directions, written).mean()) > 0.93
    assert float(best_f1(dense(codes), planted.codes).mean()) > 0.88
    assert explained(dictionary.decode(codes), y) > 0.93


@pytest.mark.slow
@pytest.mark.parametrize("kind", BY_GRADIENT)
def test_a_skip_takes_the_linear_part_and_latents_the_rest(kind: str, planted, small_config) -> None:
    # What latents and the skip write cannot be told apart (rows are sums of the planted directions), their sum can.
    written, line = directions(PLANTED, WRITTEN, 9), 0.1 * directions(WIDTH, WRITTEN, 10) * WRITTEN**0.5
    y = planted.codes @ written + planted.x @ line - 3
    config = small_config(kind, WIDTH, LATENTS, ACTIVE, d_out=WRITTEN, skip=True)
    dictionary = train(KINDS[kind].cls(config), planted.x, replace(TRAINING, steps=150), target=y, seed=0)

    def answer(x: torch.Tensor) -> torch.Tensor:
        return dictionary.decode(dictionary.encode(x), x)

    assert explained(answer(planted.x), y) > 0.97
    ones = torch.cat([planted.x, torch.ones(len(y), 1)], dim=1).double()
    linear = ones @ (torch.linalg.pinv(ones) @ y.double())
    assert explained(linear, y) < 0.85
    some = planted.x[:200]
    effect = torch.stack([(answer(some + 1.5 * d) - answer(some)).mean(0) for d in planted.directions])
    wanted = written + planted.directions @ line
    assert float(torch.nn.functional.cosine_similarity(effect, wanted).mean()) > 0.93


def test_a_cross_layer_transcoder_finds_which_layers_a_latent_writes_to() -> None:
    n, layers, d, m, latents = 4000, 3, 16, 20, 30
    noise = torch.Generator().manual_seed(2)
    read = [directions(m, d, 20 + layer) for layer in range(layers)]
    # Latents of layer 0 write to layers 1 and 2, those of layer 1 to layer 1, those of layer 2 to layer 2.
    written = [torch.zeros(m, layers * d) for _ in range(layers)]
    for layer, block in ((0, slice(d, 3 * d)), (1, slice(d, 2 * d)), (2, slice(2 * d, 3 * d))):
        written[layer][:, block] = directions(m, block.stop - block.start, 30 + layer)
    codes = []
    for _ in range(layers):
        chosen = torch.rand(n, m, generator=noise).topk(ACTIVE, dim=1).indices
        codes.append(torch.zeros(n, m).scatter(1, chosen, 1 + torch.rand(n, ACTIVE, generator=noise)))
    x = torch.cat([f @ r for f, r in zip(codes, read, strict=True)], dim=1) + 2
    y = sum(f @ w for f, w in zip(codes, written, strict=True)) - 1
    x, y = (rows + 0.01 * torch.randn(rows.shape, generator=noise) for rows in (x, y))
    config = CrossLayerConfig(layers * d, layers * latents, ACTIVE, n_layers=layers, d_out=layers * d)
    dictionary = train(KINDS["crosslayer"].cls(config), x, TRAINING, target=y, seed=0)
    found = dictionary.encode(x)
    assert explained(dictionary.decode(found), y) > 0.95
    for layer in range(layers):
        own = slice(latents * layer, latents * (layer + 1))
        rows = dictionary.directions[own]
        assert float(recovered(rows, written[layer]).mean()) > 0.9
        assert float(best_f1(dense(found)[:, own], codes[layer]).mean()) > 0.88
        used = rows[dense(found)[:, own].any(0)]
        share = used.view(-1, layers, d).square().sum(dim=(0, 2)) / used.square().sum()
        writes = written[layer].view(m, layers, d).square().sum(dim=(0, 2)) > 0
        assert float(share[~writes].sum()) < 0.05
        assert not bool(rows[:, : layer * d].any())


@pytest.mark.parametrize("kind", sorted(set(BY_GRADIENT) - {"topk", "matryoshka", "archetypal"}))
@pytest.mark.parametrize(
    ("n_latents", "k", "quick"), [(48, 8, True), pytest.param(None, None, False, marks=pytest.mark.slow)]
)
def test_the_mean_number_of_active_latents_comes_to_k(kind: str, n_latents, k, quick) -> None:
    noise = torch.Generator().manual_seed(5)
    x = torch.randn(4000, 24, generator=noise) * torch.linspace(2, 0.3, 24)
    config = default_config(24, len(x), kind=kind, n_latents=n_latents, k=k)
    training = default_training(config.n_latents)
    if quick:
        training = replace(training, steps=200, batch_size=256)
    dictionary = train(KINDS[kind].cls(config), x, training, seed=0)
    new = torch.randn(4000, 24, generator=noise) * torch.linspace(2, 0.3, 24)
    assert dictionary.encode(new).to_csr().nnz / 4000 == pytest.approx(config.k, rel=0.15)

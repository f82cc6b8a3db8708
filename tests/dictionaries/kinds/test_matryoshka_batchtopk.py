"""Matryoshka BatchTopK: one choice for all prefixes, and each prefix reconstructs by itself."""

import pytest
import torch

from cellglass.dictionaries import (
    BatchTopK,
    BatchTopKConfig,
    MatryoshkaBatchTopK,
    MatryoshkaBatchTopKConfig,
    TrainConfig,
    train,
)
from cellglass.errors import InputError

PREFIXES = (6, 12, 40)


def prefix_errors(dictionary: BatchTopK, x: torch.Tensor) -> list[float]:
    """The share of variance that each prefix of the chosen latents leaves."""
    dense = torch.from_numpy(dictionary.encode(x).to_csr().toarray())
    errors = []
    for size in PREFIXES:
        out = dictionary.centre + dictionary.scale * (dense[:, :size] @ dictionary.decoder[:size] + dictionary.bias)
        errors.append(float((out - x).square().sum() / (x - x.mean(0)).square().sum()))
    return errors


def test_early_prefixes_explain_more_than_those_of_a_plain_one(planted) -> None:
    training = TrainConfig(steps=200, batch_size=256, learning_rate=1e-2, patience=100)
    nested = train(MatryoshkaBatchTopK(MatryoshkaBatchTopKConfig(20, 40, 3, PREFIXES)), planted.x, training, seed=0)
    plain = train(BatchTopK(BatchTopKConfig(20, 40, 3)), planted.x, training, seed=0)
    ours, theirs = prefix_errors(nested, planted.x), prefix_errors(plain, planted.x)
    assert ours == sorted(ours, reverse=True)
    assert ours[0] < theirs[0] - 0.05
    assert ours[1] < theirs[1] - 0.05
    assert ours[2] < 0.15


def test_the_loss_is_the_mean_over_prefixes_of_one_choice() -> None:
    noise = torch.Generator().manual_seed(0)
    dictionary = MatryoshkaBatchTopK(MatryoshkaBatchTopKConfig(5, 40, 3, PREFIXES))
    with torch.no_grad():
        for weight in dictionary.parameters():
            weight.copy_(torch.randn(weight.shape, generator=noise))
    u = torch.randn(50, 5, generator=noise)
    chosen = dictionary.choose(u, dictionary.training_rules(50))
    assert len(chosen) == 1
    losses = dictionary.training_loss(u, u, chosen)
    f = chosen[0].pattern.dense(chosen[0].value)
    wanted = [(f[:, :size] @ dictionary.decoder[:size] + dictionary.bias - u).square().mean() for size in PREFIXES]
    assert torch.allclose(losses.total, torch.stack(wanted).mean(), rtol=1e-5)
    assert torch.allclose(losses.residual, f @ dictionary.decoder + dictionary.bias - u, atol=1e-4)


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [((), "sizes that grow"), ((8, 8, 32), "sizes that grow"), ((8, 16), "must be all 32 latents"), ((0, 32), "grow")],
)
def test_wrong_prefixes_are_named(prefixes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MatryoshkaBatchTopKConfig(6, 32, 4, prefixes)

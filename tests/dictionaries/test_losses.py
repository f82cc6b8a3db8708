"""The losses against loops, and what the auxiliary loss reaches."""

import pytest
import torch

from cellglass.dictionaries.losses import auxiliary_loss, reconstruction_losses
from cellglass.dictionaries.matryoshka import Matryoshka, MatryoshkaConfig


@pytest.fixture
def dictionary() -> Matryoshka:
    noise = torch.Generator().manual_seed(0)
    made = Matryoshka(MatryoshkaConfig(5, 12, 4, (3, 6, 12), (1, 2, 4)))
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape, generator=noise))
    return made


@pytest.fixture
def u() -> torch.Tensor:
    return torch.randn(30, 5, generator=torch.Generator().manual_seed(1))


def test_reconstruction_is_the_mean_over_prefixes(dictionary: Matryoshka, u: torch.Tensor) -> None:
    pre = dictionary.scaled_preactivations(u)
    errors = []
    for size, k in dictionary.levels():
        for i in range(30):
            kept = pre[i, :size].argsort(descending=True)[:k]
            x_hat = dictionary.bias + sum(pre[i, j].relu() * dictionary.decoder[j] for j in kept)
            errors.append((x_hat - u[i]).square().mean())
    losses = reconstruction_losses(dictionary, u, pre)
    assert torch.isclose(losses.reconstruction, torch.stack(errors).mean(), rtol=1e-5)
    x_hat = dictionary.decode(dictionary.encode(u))
    assert torch.allclose(losses.residual, u - x_hat, atol=1e-5)
    assert not losses.residual.requires_grad


def test_the_auxiliary_loss_equals_a_loop_and_reaches_dead_latents_alone(dictionary: Matryoshka, u) -> None:
    pre = dictionary.scaled_preactivations(u)
    residual = reconstruction_losses(dictionary, u, pre).residual
    dead = torch.tensor([2, 5, 7, 11])
    loss = auxiliary_loss(dictionary, pre, residual, dead, k=2)
    total = 0.0
    for i in range(30):
        kept = sorted(dead.tolist(), key=lambda j: pre[i, j].item())[-2:]
        guess = sum(pre[i, j].relu() * dictionary.decoder[j] for j in kept)
        total += (guess - residual[i]).square().sum().item()
    assert loss.item() == pytest.approx(total / residual.square().sum().item(), rel=1e-4)
    loss.backward()
    reached = torch.nonzero(dictionary.decoder.grad.abs().sum(1))[:, 0].tolist()
    assert set(reached) <= set(dead.tolist())
    assert reached


def test_fewer_dead_latents_than_k_are_fine(dictionary: Matryoshka, u) -> None:
    pre = dictionary.scaled_preactivations(u)
    assert torch.isfinite(auxiliary_loss(dictionary, pre, u, torch.tensor([3]), k=32))

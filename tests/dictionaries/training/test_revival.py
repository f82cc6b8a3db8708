"""The loss that revives dead latents is a share of what is left: 1 where they say nothing, 0 where they say it all."""

import pytest
import torch

from cellglass.dictionaries import TopK, TopKConfig
from cellglass.dictionaries.sparse_ops.products import Pattern
from cellglass.dictionaries.sparse_ops.selection import Chosen
from cellglass.dictionaries.training.revival import auxiliary_loss


def one_a_row(latent: list[int], width: int) -> Pattern:
    return Pattern(torch.arange(len(latent) + 1).int(), torch.tensor(latent).int(), width)


@pytest.fixture
def dictionary() -> TopK:
    made = TopK(TopKConfig(4, 6, 1))
    with torch.no_grad():
        made.decoder.copy_(torch.eye(6, 4))
        made.encoder.copy_(torch.eye(6, 4))
    return made


@pytest.mark.parametrize(("value", "share"), [(0.0, 1.0), (-3.0, 1.0), (2.0, 0.0), (1.0, 0.25), (4.0, 1.0)])
def test_the_share_that_dead_latents_leave(dictionary, value: float, share: float) -> None:
    residual = torch.zeros(3, 4)
    residual[0, 1], residual[2, 3] = -2, -2
    pattern = Pattern(torch.tensor([0, 1, 1, 2]).int(), torch.tensor([1, 3]).int(), 6)
    found = auxiliary_loss(dictionary, torch.zeros(3, 4), residual, Chosen(pattern, torch.full((2,), value)))
    assert float(found.detach()) == pytest.approx(share)


def test_nothing_left_is_no_division_by_zero(dictionary) -> None:
    dead = Chosen(one_a_row([1], 6), torch.zeros(1))
    assert float(auxiliary_loss(dictionary, torch.zeros(1, 4), torch.zeros(1, 4), dead).detach()) == 0

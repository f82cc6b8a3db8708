"""The losses of a step: their sum, and which latents were active."""

import torch

from cellglass.dictionaries.sparse_ops.losses import Losses
from cellglass.dictionaries.sparse_ops.products import Pattern


def one_a_row(latent: list[int], width: int) -> Pattern:
    return Pattern(torch.arange(len(latent) + 1).int(), torch.tensor(latent).int(), width)


def test_the_total_and_the_active_latents() -> None:
    pattern = one_a_row([4, 1, 4, 2], 6)
    losses = Losses(torch.tensor(2.0), None, torch.zeros(4, 1), pattern, torch.tensor([0.5, 0.0, 1.0, 3.0]))
    assert losses.active_latents().tolist() == [False, False, True, False, True, False]
    assert float(losses.total) == 2
    assert float(losses._replace(penalty=torch.tensor(0.5)).total) == 2.5

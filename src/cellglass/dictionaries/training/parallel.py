"""Training by several processes at once: what they average, through PyTorch's own distributed package.

Where ``torch.distributed`` is initialised (by ``torchrun``, say), each process reads its share of every batch, and
gradients, thresholds and the count of dead latents are brought together after each step, so that all processes hold
the same weights. Alone, nothing is done.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import distributed


class Parallel:
    """The processes that train together.

    Attributes
    ----------
    rank, world : int
        Number of this process, and of all.
    """

    def __init__(self) -> None:
        joined = distributed.is_available() and distributed.is_initialized()
        self.rank, self.world = (distributed.get_rank(), distributed.get_world_size()) if joined else (0, 1)

    @property
    def share(self) -> tuple[int, int]:
        """Which part of each batch is read here."""
        return self.rank, self.world

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean of `value` over all processes."""
        if self.world == 1:
            return value
        total = value.clone()
        distributed.all_reduce(total)
        return total / self.world

    def average_gradients(self, weights: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes: one message for all weights."""
        if self.world == 1:
            return
        held = [weight for weight in weights if weight.grad is not None]
        flat = torch.cat([weight.grad.reshape(-1) for weight in held if weight.grad is not None])
        distributed.all_reduce(flat)
        flat /= self.world
        for weight, piece in zip(held, torch.split(flat, [weight.numel() for weight in held]), strict=True):
            weight.grad = piece.view_as(weight)

    def any(self, mask: torch.Tensor) -> torch.Tensor:
        """Return where `mask` holds in any process."""
        if self.world == 1:
            return mask
        held = mask.to(torch.uint8)
        distributed.all_reduce(held, op=distributed.ReduceOp.MAX)
        return held.bool()

    def first(self, value: torch.Tensor) -> torch.Tensor:
        """Return what the first process holds."""
        if self.world > 1:
            distributed.broadcast(value, 0)
        return value

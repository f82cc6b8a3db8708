"""How active latents are picked from pre-activations: the k largest of a row, of a batch, or all above a threshold.

Pre-activations of a large batch would not fit a processor's cache (4,096 rows of 4,096 latents: 64 MiB), so they are
made and looked at a block of rows at a time. A `Rule` sees the blocks in turn and then says what it has `Chosen`; what
it chooses does not depend on the blocks. No gradient flows through a choice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import torch

from cellglass.compiled import compiled
from cellglass.dictionaries.base import Codes
from cellglass.dictionaries.sparse_ops import _kernels
from cellglass.dictionaries.sparse_ops.products import Pattern
from cellglass.threads import over_rows


class Chosen(NamedTuple):
    """What a rule has chosen: the entries, and the pre-activation at each, (entries,)."""

    pattern: Pattern
    value: torch.Tensor


class Rule(ABC):
    """Sees blocks of pre-activations (rows, n_latents) and chooses entries."""

    @abstractmethod
    def add(self, pre: torch.Tensor) -> None:
        """See the next rows; `pre` is overwritten afterwards."""

    @abstractmethod
    def finish(self, n_latents: int) -> Chosen | None:
        """Return what is chosen, or None if all blocks must be seen again."""


class LargestOfRow(Rule):
    """The `k` largest of each row among latents `begin` to `end`, or among the latents in `only`."""

    def __init__(self, k: int, begin: int, end: int, only: torch.Tensor | None = None) -> None:
        self.k, self.begin, self.end, self.only = k, begin, end, only
        self.values: list[torch.Tensor] = []
        self.latents: list[torch.Tensor] = []

    def add(self, pre: torch.Tensor) -> None:
        """See the next rows."""
        value, latent = largest(pre, self.k, self.begin, self.end, self.only)
        self.values.append(value)
        self.latents.append(latent)

    def finish(self, n_latents: int) -> Chosen:
        """Return what is chosen."""
        value, latent = _joined(self.values), _joined(self.latents)  # (n, k), (n, k)
        start = torch.arange(0, value.numel() + 1, self.k, dtype=torch.int32, device=value.device)  # (n + 1,)
        return Chosen(Pattern(start, latent.reshape(-1), n_latents), value.reshape(-1))


class Above(Rule):
    """All entries above `threshold`, one for each latent (m,)."""

    def __init__(self, threshold: torch.Tensor) -> None:
        self.threshold = threshold
        self.counts: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        self.latents: list[torch.Tensor] = []

    def add(self, pre: torch.Tensor) -> None:
        """See the next rows."""
        for kept, found in zip((self.counts, self.values, self.latents), above(pre, self.threshold), strict=True):
            kept.append(found)

    def finish(self, n_latents: int) -> Chosen | None:
        """Return what is chosen."""
        return Chosen(Pattern(_starts(_joined(self.counts)), _joined(self.latents), n_latents), _joined(self.values))


class LargestOfBatch(Above):
    """The n k largest positive entries of all n rows together (fewer, if fewer are positive).

    Only entries above a guess are kept; if there are too few of them, everything is seen again with a lower one. A
    good guess saves time and changes nothing. Entries equal to the least chosen one are all chosen.
    """

    def __init__(self, k: int, n_latents: int, guess: torch.Tensor) -> None:
        super().__init__(guess.expand(n_latents).contiguous())
        self.k = k

    def finish(self, n_latents: int) -> Chosen | None:
        """Return what is chosen, or None if the guess was too high."""
        found = super().finish(n_latents)
        assert found is not None, "Above sees everything once"  # noqa: S101
        wanted, there = self.k * found.pattern.n_rows, len(found.value)
        if there < wanted and float(self.threshold.max()) > 0:
            self.threshold = torch.zeros_like(self.threshold)
            self.counts, self.values, self.latents = [], [], []
            return None
        if there <= wanted:
            return found
        least = found.value.kthvalue(there - wanted + 1).values  # (): the n k-th largest, counted from the smallest
        return keep(found, found.value >= least)


def keep(chosen: Chosen, mask: torch.Tensor) -> Chosen:
    """Return the entries of `chosen` where `mask` holds."""
    pattern = chosen.pattern
    seen = torch.nn.functional.pad(mask.cumsum(0, dtype=torch.int32), (1, 0))  # (entries + 1,): kept before each
    return Chosen(Pattern(seen[pattern.start.long()], pattern.latent[mask], pattern.n_latents), chosen.value[mask])


def to_codes(chosen: Chosen, activation: torch.Tensor) -> Codes:
    """Return codes with `activation` at the entries; shorter rows are filled up with value 0."""
    pattern = chosen.pattern
    counts = pattern.start.diff()  # (n,)
    most = int(counts.max()) if len(counts) else 0
    if len(pattern.latent) == most * pattern.n_rows:
        shape = (pattern.n_rows, most)
        return Codes(pattern.latent.long().view(shape), activation.view(shape), pattern.n_latents)
    row = pattern.row.long()  # (entries,)
    column = torch.arange(len(row), device=row.device) - pattern.start.long()[row]  # (entries,): place in its row
    indices = torch.zeros(pattern.n_rows, most, dtype=torch.int64, device=row.device)
    values = activation.new_zeros(pattern.n_rows, most)
    return Codes(
        indices.index_put((row, column), pattern.latent.long()), values.index_put((row, column), activation),
        pattern.n_latents,
    )  # fmt: skip


def largest(
    pre: torch.Tensor, k: int, begin: int = 0, end: int | None = None, only: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the `k` largest of columns `begin` to `end` of each row and their columns (int32), both (n, k), no order.

    With `only`, of the columns that it names. Where two entries are equal at the k-th place, which of them is taken is
    not defined.
    """
    end = pre.shape[1] if end is None else end
    if not _on_processor(pre):
        value, place = (pre[:, begin:end] if only is None else pre[:, only]).topk(k, dim=1, sorted=False)
        return value, (place + begin if only is None else only[place]).int()
    n = len(pre)
    columns = np.empty(0, np.int32) if only is None else only.int().numpy()
    entries = pre.detach().contiguous().numpy()  # (n, m)
    values, latents = np.empty((n, k), entries.dtype), np.empty((n, k), np.int32)
    work = compiled(_kernels.top_k_rows)
    over_rows(n, n * (end - begin), lambda a, b: work(entries, begin, end, columns, k, values, latents, a, b))
    return torch.from_numpy(values), torch.from_numpy(latents)


def above(pre: torch.Tensor, threshold: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return how many entries of each row are above `threshold` (m,), their values, and their columns (int32)."""
    if not _on_processor(pre):
        mask = pre > threshold
        return mask.sum(1), pre[mask], mask.nonzero()[:, 1].int()
    n, m = pre.shape
    entries, bar = pre.detach().contiguous().numpy(), threshold.detach().to(pre.dtype).contiguous().numpy()
    count = np.empty(n, np.int64)
    counting, taking = compiled(_kernels.count_above), compiled(_kernels.take_above)
    over_rows(n, n * m, lambda a, b: counting(entries, bar, count, a, b))
    start = np.concatenate([[0], np.cumsum(count)])  # (n + 1,)
    value, latent = np.empty(int(start[-1]), entries.dtype), np.empty(int(start[-1]), np.int32)
    over_rows(n, n * m, lambda a, b: taking(entries, bar, start, value, latent, a, b))
    return torch.from_numpy(count), torch.from_numpy(value), torch.from_numpy(latent)


def _on_processor(pre: torch.Tensor) -> bool:
    return pre.device.type == "cpu" and pre.dtype in (torch.float32, torch.float64)


def _joined(pieces: list[torch.Tensor]) -> torch.Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _starts(counts: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(counts.cumsum(0), (1, 0)).int()

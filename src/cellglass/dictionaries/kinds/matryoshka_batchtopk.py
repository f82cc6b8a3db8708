"""Matryoshka BatchTopK: latents are chosen once for the whole batch, and every prefix of them must reconstruct.

Bussmann et al. 2025 (arXiv 2503.17547): the loss is the mean over prefixes of the error of what the chosen latents of
that prefix add up to. Unlike `matryoshka`, a prefix makes no choice of its own. Encoding is BatchTopK's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from cellglass.dictionaries.kind import DictionaryKind
from cellglass.dictionaries.kinds.batchtopk import BatchTopK
from cellglass.dictionaries.kinds.matryoshka import check_prefixes, default_levels
from cellglass.dictionaries.sparse import SparseConfig
from cellglass.dictionaries.sparse_ops import products
from cellglass.dictionaries.sparse_ops.losses import Losses
from cellglass.dictionaries.sparse_ops.selection import Chosen, keep


@dataclass(frozen=True)
class MatryoshkaBatchTopKConfig(SparseConfig):
    """A nested BatchTopK dictionary: `k` latents are active in a row on average.

    Attributes
    ----------
    prefixes : tuple of int
        Sizes of the prefixes, growing; the last is `n_latents`.
    """

    kind: ClassVar[str] = "matryoshka_batchtopk"

    prefixes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_prefixes(self.prefixes, self.n_latents)


class MatryoshkaBatchTopK(BatchTopK):
    """A nested BatchTopK dictionary."""

    kind: ClassVar[str] = "matryoshka_batchtopk"
    config_class: ClassVar[type[SparseConfig]] = MatryoshkaBatchTopKConfig
    config: MatryoshkaBatchTopKConfig

    def training_loss(self, u: torch.Tensor, target: torch.Tensor, chosen: Sequence[Chosen]) -> Losses:
        """Return the mean over prefixes of the mean squared error.

        Each prefix adds what the latents beyond the one before it add, so no entry is decoded twice.
        """
        (found,) = chosen
        pattern = found.pattern
        f = self.activation(self.respond(u, found), pattern.latent)
        errors, out, begin = [], self.bias.expand(len(u), -1), 0
        if self.config.skip:
            out = out + u @ self.skip.T
        for end in self.config.prefixes:
            mask = (pattern.latent >= begin) & (pattern.latent < end)
            out = out + products.decode(keep(found, mask).pattern, f[mask], self.decoder)
            errors.append(torch.nn.functional.mse_loss(out, target))
            begin = end
        return Losses(torch.stack(errors).mean(), None, (out - target).detach(), pattern, f.detach())


def _default(width: int, _rows: int, n_latents: int, k: int) -> MatryoshkaBatchTopKConfig:
    return MatryoshkaBatchTopKConfig(width, n_latents, k, tuple(size for size, _ in default_levels(n_latents, k)))


ENTRY = DictionaryKind(MatryoshkaBatchTopK, "trained", _default, selection="threshold")

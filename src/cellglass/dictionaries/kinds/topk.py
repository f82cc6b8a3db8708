"""TopK: of each row the k largest pre-activations stay, and what of them is negative becomes 0.

Makhzani & Frey 2013 (k-sparse autoencoders, arXiv 1312.5663); Gao et al. 2024 (arXiv 2406.04093) for scale and for
the loss that revives dead latents. Where two pre-activations of a row are exactly equal at the k-th place, which of
them stays is not defined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from cellglass.dictionaries.kind import DictionaryKind
from cellglass.dictionaries.sparse import SparseConfig, SparseDictionary
from cellglass.dictionaries.sparse_ops.selection import LargestOfRow, Rule

# Rows whose pre-activations are looked at together: they should stay in the processor's cache.
_FLOATS_AT_ONCE = 1 << 17


@dataclass(frozen=True)
class TopKConfig(SparseConfig):
    """A TopK dictionary: `k` latents may be active in one row."""

    kind: ClassVar[str] = "topk"


class TopK(SparseDictionary):
    """A TopK dictionary."""

    kind: ClassVar[str] = "topk"
    config_class: ClassVar[type[SparseConfig]] = TopKConfig
    config: SparseConfig

    def rules(self) -> Sequence[Rule]:
        """Keep the k largest of each row."""
        return [LargestOfRow(self.config.k, 0, self.n_latents)]

    def activations_of(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Return the activation of latent ``latent[i]`` in row i of `x` after selection, float32 (n,).

        A latent is among the k largest if fewer than k others are larger, so one comparison and one count (a product
        with ones, exact below 2^24 latents) do; nothing is sorted. Differentiable in `x`.
        """
        step = max(1, _FLOATS_AT_ONCE // self.n_latents)
        ones = x.new_ones(self.n_latents)
        pieces = zip(torch.split(x, step), torch.split(latent, step), strict=True)
        return torch.cat([self._activation_of(*piece, ones) for piece in pieces]) if len(x) else x.new_zeros(0)

    def _activation_of(self, x: torch.Tensor, latent: torch.Tensor, ones: torch.Tensor) -> torch.Tensor:
        pre = self.preactivations(x)  # (n, m)
        own = pre.gather(1, latent[:, None])  # (n, 1)
        # In place where no gradient needs the pre-activations: twice as fast as a comparison with booleans.
        larger = pre.detach().gt(own.detach()).float() if pre.requires_grad else pre.gt_(own)
        return torch.where(larger @ ones < self.config.k, own[:, 0].relu(), 0.0)  # (n, m) @ (m,): how many are larger


ENTRY = DictionaryKind(TopK, "trained", lambda width, _rows, m, k: TopKConfig(width, m, k), selection="topk")

"""BatchTopK: of a batch of n rows the n k largest pre-activations stay, so rows that need more latents get more.

Bussmann, Leask & Nanda 2024 (arXiv 2412.06410). A row's codes must not depend on the rows beside it, so training also
learns a threshold, the running mean of the least pre-activation that was kept; encoding keeps what is above it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from cellglass.dictionaries.kind import DictionaryKind
from cellglass.dictionaries.kinds.thresholds import Thresholded, threshold_for
from cellglass.dictionaries.sparse import SparseConfig, SparseDictionary
from cellglass.dictionaries.sparse_ops.losses import Losses
from cellglass.dictionaries.sparse_ops.selection import Above, Chosen, LargestOfBatch, Rule

_KEPT = 0.95
"""Share of the running mean that stays in a step."""
_GUESS = 0.7
"""Share of the threshold below which nothing is expected to be kept."""


@dataclass(frozen=True)
class BatchTopKConfig(SparseConfig):
    """A BatchTopK dictionary: `k` latents are active in a row on average."""

    kind: ClassVar[str] = "batchtopk"


class BatchTopK(Thresholded):
    """A BatchTopK dictionary; `threshold` () is that of encoding."""

    kind: ClassVar[str] = "batchtopk"
    config_class: ClassVar[type[SparseConfig]] = BatchTopKConfig
    not_learned: ClassVar[frozenset[str]] = SparseDictionary.not_learned | {"threshold"}
    config: SparseConfig

    @classmethod
    def shapes(cls, config: SparseConfig) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight and stored statistic."""
        return {**super().shapes(config), "threshold": ()}

    def rules(self) -> Sequence[Rule]:
        """Keep what is above the threshold."""
        return [Above(self.bar())]

    def training_rules(self, n_rows: int) -> Sequence[Rule]:
        """Keep the largest of the batch."""
        return [LargestOfBatch(self.config.k, self.n_latents, _GUESS * self.threshold)]

    def begin(self, u: torch.Tensor, target: torch.Tensor, seed: int) -> None:
        """Set the threshold to what keeps k latents of a row."""
        self.threshold.copy_(threshold_for(self, u, self.config.k))

    def settle(self, chosen: Sequence[Chosen], losses: Losses, mean: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Move the threshold towards the least pre-activation that was kept."""
        super().settle(chosen, losses, mean)
        kept = chosen[-1].value
        if len(kept):
            self.threshold.lerp_(mean(kept.min().clamp_min(0)), 1 - _KEPT)


ENTRY = DictionaryKind(
    BatchTopK, "trained", lambda width, _rows, m, k: BatchTopKConfig(width, m, k), selection="threshold"
)

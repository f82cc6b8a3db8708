"""Archetypal: every decoder row is a weighted mean of data points, so no concept points where there are no data.

Fel et al. 2025 (arXiv 2502.12892): D = W C with points C (n_points, d) that are means of groups of data (k-means), and
rows of W that are not negative and add up to 1: D lies in the convex hull of the data. The paper finds that directions
which are bound to the data differ less from seed to seed. Latents are chosen as in TopK. Rows of D do not have norm 1:
where a row lies says how strong its concept can be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from cellglass.dictionaries.kind import DictionaryKind
from cellglass.dictionaries.kinds.topk import TopK
from cellglass.dictionaries.sparse import SparseConfig, SparseDictionary, draw
from cellglass.dictionaries.sparse_ops.losses import Losses
from cellglass.dictionaries.sparse_ops.selection import Chosen
from cellglass.errors import InputError
from cellglass.seeds import derive


@dataclass(frozen=True)
class ArchetypalConfig(SparseConfig):
    """An archetypal dictionary: `k` latents may be active in one row.

    Attributes
    ----------
    n_points : int
        Points of which the hull is taken; at least as many as there are latents is best.
    """

    kind: ClassVar[str] = "archetypal"

    n_points: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_points < 2:
            raise InputError(f"n_points is {self.n_points}; a hull needs at least 2")


class Archetypal(TopK):
    """An archetypal dictionary; `mixing` (m, n_points) holds W, `points` (n_points, d_out) C in scaled units."""

    kind: ClassVar[str] = "archetypal"
    config_class: ClassVar[type[SparseConfig]] = ArchetypalConfig
    not_learned: ClassVar[frozenset[str]] = SparseDictionary.not_learned | {"decoder", "points"}
    config: ArchetypalConfig
    mixing: nn.Parameter
    points: torch.Tensor

    @classmethod
    def shapes(cls, config: SparseConfig) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight and stored statistic."""
        assert isinstance(config, ArchetypalConfig)  # noqa: S101
        shapes = super().shapes(config)
        out = shapes["decoder"][1]
        return {**shapes, "mixing": (config.n_latents, config.n_points), "points": (config.n_points, out)}

    def decoder_rows(self) -> torch.Tensor:
        """Return W C with the gradient of W."""
        return self.mixing @ self.points

    @torch.no_grad()
    def draw_weights(self, u: torch.Tensor, target: torch.Tensor, seed: int) -> None:
        """Find the points, start each latent at one of them, and let its encoder row answer with 1 there."""
        super().draw_weights(u, target, seed)
        self.points.copy_(centres(target, self.config.n_points, derive(seed, "points")))
        noise = torch.Generator().manual_seed(derive(seed, "first points"))
        self.mixing.zero_()
        self.mixing[torch.arange(self.n_latents), draw(self.config.n_points, self.n_latents, noise)] = 1
        self.normalise_decoder()
        if not self.is_transcoder:
            self.encoder.copy_(self.decoder / self.decoder.square().sum(1, keepdim=True).clamp_min(1e-6))

    @torch.no_grad()
    def normalise_decoder(self) -> None:
        """Bring the rows of W back to what a weighted mean has, and D up to date."""
        self.mixing.clamp_min_(0)
        self.mixing.div_(self.mixing.sum(1, keepdim=True).clamp_min(1e-12))
        self.decoder.copy_(self.mixing @ self.points)

    def project_out_parallel_gradient(self) -> None:
        """Do nothing: these rows are held in a hull, not on a sphere."""

    def settle(self, chosen: Sequence[Chosen], losses: Losses, mean: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Hold the decoder in the hull."""
        self.normalise_decoder()


def centres(x: torch.Tensor, n: int, seed: int) -> torch.Tensor:
    """Return the means of `n` groups of the rows of `x` by k-means (scikit-learn's, on small batches), (n, d).

    Means lie in the convex hull of the rows. Where there are no more than `n` rows, rows are repeated.
    """
    from sklearn.cluster import MiniBatchKMeans

    if len(x) <= n:
        return x[torch.arange(n, device=x.device) % len(x)]
    model = MiniBatchKMeans(n, random_state=seed % 2**32, n_init=1, batch_size=1024, max_iter=20)
    model.fit(x.double().cpu().numpy())
    group = torch.from_numpy(model.labels_).long().to(x.device)
    total = x.new_zeros(n, x.shape[1]).index_add_(0, group, x)
    count = torch.bincount(group, minlength=n).to(x.dtype)
    empty = count == 0
    total[empty], count[empty] = x[: int(empty.sum())], 1
    return total / count[:, None]


def _default(width: int, n_rows: int, n_latents: int, k: int) -> ArchetypalConfig:
    return ArchetypalConfig(width, n_latents, k, n_points=max(2, min(4 * n_latents, n_rows // 2)))


ENTRY = DictionaryKind(Archetypal, "trained", _default, selection="topk")

"""JumpReLU: a latent is active where its pre-activation passes a threshold of its own, which is learned.

Rajamanoharan et al. 2024 (arXiv 2407.14435): f_j = p_j H(p_j - θ_j), with H the step function. Neither f nor the count
of active latents has a gradient in θ, so both get a pseudo-derivative from a window of width ε around the threshold:

    ∂f_j/∂θ_j = -θ_j/ε [|p_j - θ_j| < ε/2],        ∂H/∂θ_j = -1/ε [|p_j - θ_j| < ε/2].

Only positive pre-activations count in the window. The paper weighs the mean number of active latents, L0; here L0
has a target, k, by the penalty λ (L0/k - 1)², so that kinds can be compared at equal k.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from cellglass.dictionaries.kind import DictionaryKind
from cellglass.dictionaries.kinds.thresholds import Thresholded, threshold_for
from cellglass.dictionaries.sparse import SparseConfig
from cellglass.dictionaries.sparse_ops.losses import Losses
from cellglass.dictionaries.sparse_ops.selection import Above, Chosen, Rule
from cellglass.errors import InputError


@dataclass(frozen=True)
class JumpReLUConfig(SparseConfig):
    """A JumpReLU dictionary: it is trained to a mean L0 (number of active latents of a row) of `k`.

    Attributes
    ----------
    bandwidth : float
        ε, in units of pre-activations (inputs have mean square 1 per dimension).
    weight : float
        λ, the weight of the penalty; the squared error per dimension is at most about 1.
    """

    kind: ClassVar[str] = "jumprelu"

    bandwidth: float = 0.3
    weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("bandwidth", "weight"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above 0")


class JumpReLU(Thresholded):
    """A JumpReLU dictionary; `threshold` (m,) holds θ."""

    kind: ClassVar[str] = "jumprelu"
    config_class: ClassVar[type[SparseConfig]] = JumpReLUConfig
    targets_l0: ClassVar[bool] = True
    config: JumpReLUConfig

    @classmethod
    def shapes(cls, config: SparseConfig) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight and stored statistic."""
        return {**super().shapes(config), "threshold": (config.n_latents,)}

    def rules(self) -> Sequence[Rule]:
        """Keep what is above its threshold."""
        return [Above(self.bar())]

    def training_rules(self, n_rows: int) -> Sequence[Rule]:
        """Keep what is above its threshold or less than half a window below it."""
        return [Above((self.bar() - self.config.bandwidth / 2).clamp_min(0))]

    def begin(self, u: torch.Tensor, target: torch.Tensor, seed: int) -> None:
        """Start all thresholds where k latents of a row are active."""
        self.threshold.copy_(threshold_for(self, u, self.config.k).expand(self.n_latents))

    def training_loss(self, u: torch.Tensor, target: torch.Tensor, chosen: Sequence[Chosen]) -> Losses:
        """Return the mean squared error, and the penalty on the number of active latents."""
        (found,) = chosen
        config, pattern = self.config, found.pattern
        p = self.respond(u, found)  # this and what follows: (entries,)
        threshold = self.threshold.index_select(0, pattern.latent)
        bar, value = threshold.detach(), p.detach()
        on = (value > bar).to(p.dtype)
        window = ((value - bar).abs() < config.bandwidth / 2).to(p.dtype) / config.bandwidth
        moved = (threshold - bar) * window  # 0, with the gradient of the window
        f = p * on - moved * bar
        active = (on - moved).sum() / len(u)  # (): L0
        error, residual = self.error(pattern, f, u, target)
        penalty = config.weight * (active / config.k - 1).square()
        return Losses(error, penalty, residual, pattern, f.detach())

    def settle(self, chosen: Sequence[Chosen], losses: Losses, mean: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Keep thresholds at 0 or above."""
        super().settle(chosen, losses, mean)
        with torch.no_grad():
            self.threshold.clamp_min_(0)


ENTRY = DictionaryKind(
    JumpReLU, "trained", lambda width, _rows, m, k: JumpReLUConfig(width, m, k), selection="threshold"
)

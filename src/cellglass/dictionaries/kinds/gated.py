"""Gated: one half of the encoder says which latents are active, the other how strongly; both share their directions.

Rajamanoharan et al. 2024 (arXiv 2404.16014). With q = (u - b) Eᵀ:

    π = q + gate_bias;      f = [π > 0] relu(exp(r) q + e)

The step has no gradient, so the gate learns from two terms of its own: the sum of relu(π), which makes it sparse, and
the error of reconstructing from relu(π) with a decoder that this term does not move. The weight of the first is not
set but follows the L0 of training, so that L0 comes to k and kinds can be compared at equal k.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from cellglass.dictionaries.kind import DictionaryKind
from cellglass.dictionaries.kinds.thresholds import threshold_for
from cellglass.dictionaries.sparse import SparseConfig, SparseDictionary
from cellglass.dictionaries.sparse_ops import products
from cellglass.dictionaries.sparse_ops.losses import Losses
from cellglass.dictionaries.sparse_ops.selection import Above, Chosen, Rule

_GAIN, _SLOW = 0.05, 0.9
_BOUNDS = (1e-6, 1e3)


@dataclass(frozen=True)
class GatedConfig(SparseConfig):
    """A gated dictionary: it is trained to a mean L0 (number of active latents of a row) of `k`."""

    kind: ClassVar[str] = "gated"


class Gated(SparseDictionary):
    """A gated dictionary; `gate_bias` and `log_magnitude` (m,) hold the gate's bias and r."""

    kind: ClassVar[str] = "gated"
    config_class: ClassVar[type[SparseConfig]] = GatedConfig
    targets_l0: ClassVar[bool] = True
    config: GatedConfig
    gate_bias: nn.Parameter
    log_magnitude: nn.Parameter
    pressure: torch.Tensor

    def __init__(self, config: GatedConfig) -> None:
        super().__init__(config)
        # How strongly sparsity is pressed for (the weight), and the running number of active latents.
        self.register_buffer("pressure", torch.tensor(self._first_pressure()), persistent=False)

    def _first_pressure(self) -> tuple[float, float]:
        """Return a weight near the final one, as large as an activation: k of them make up a row of norm √d."""
        return (self.d_out / self.config.k) ** 0.5, float(self.config.k)

    @classmethod
    def shapes(cls, config: SparseConfig) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight and stored statistic."""
        return {**super().shapes(config), "gate_bias": (config.n_latents,), "log_magnitude": (config.n_latents,)}

    def rules(self) -> Sequence[Rule]:
        """Keep what opens its gate."""
        return [Above(self.encoder_bias.new_zeros(self.n_latents))]

    def offset(self) -> torch.Tensor:
        """Return π of a row of zeros."""
        return self.gate_bias + self._zero()

    def _zero(self) -> torch.Tensor:
        """Return q of a row of zeros."""
        return torch.zeros_like(self.gate_bias) if self.is_transcoder else -(self.encoder @ self.bias)

    def activation(self, value: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Return relu(exp(r) q + e) from π."""
        return self._magnitude(value - self.gate_bias.index_select(0, latent), latent)

    def _magnitude(self, q: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        scale = self.log_magnitude.exp().index_select(0, latent)
        return (scale * q + self.encoder_bias.index_select(0, latent)).relu()

    def preactivations(self, x: torch.Tensor) -> torch.Tensor:
        """Return exp(r) q + e, float32 (n, n_latents), whether the gate is open or not; differentiable in `x`."""
        q = torch.addmm(self._zero(), self.normalise(x), self.encoder.T)
        return self.log_magnitude.exp() * q + self.encoder_bias

    def activations_of(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Return the activation of latent ``latent[i]`` in row i of `x`, float32 (n,): its own row of E is enough."""
        q = torch.linalg.vecdot(self.normalise(x), self.encoder[latent]) + self._zero()[latent]
        return torch.where(q + self.gate_bias[latent] > 0, self._magnitude(q, latent), 0.0)

    @torch.no_grad()
    def begin(self, u: torch.Tensor, target: torch.Tensor, seed: int) -> None:
        """Start both biases where k gates of a row are open."""
        self.pressure.copy_(torch.tensor(self._first_pressure()))
        bar = threshold_for(self, u, self.config.k)
        self.gate_bias.fill_(-float(bar))

    def training_loss(self, u: torch.Tensor, target: torch.Tensor, chosen: Sequence[Chosen]) -> Losses:
        """Return the mean squared error, and what the gate learns from."""
        (found,) = chosen
        pattern, latent = found.pattern, found.pattern.latent
        gate_bias = self.gate_bias.index_select(0, latent)
        q = products.encode(pattern, found.value - gate_bias.detach(), u, self.encoder, None, self.bias_before)
        f = self._magnitude(q, latent)
        error, residual = self.error(pattern, f, u, target)
        gate = (q + gate_bias).relu()
        wanted = target - u @ self.skip.detach().T if self.config.skip else target
        from_gate, _ = products.squared_error(pattern, gate, self.decoder.detach(), self.bias.detach(), wanted)
        penalty = from_gate + self.pressure[0] * gate.sum() / (len(u) * self.d_out)
        return Losses(error, penalty, residual, pattern, f.detach())

    def respond(self, u: torch.Tensor, chosen: Chosen) -> torch.Tensor:
        """Return π at the chosen entries with its gradient, (entries,)."""
        return products.encode(chosen.pattern, chosen.value, u, self.encoder, self.gate_bias, self.bias_before)

    def settle(self, chosen: Sequence[Chosen], losses: Losses, mean: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Press harder where too many latents are active, less where too few are."""
        super().settle(chosen, losses, mean)
        pattern = chosen[-1].pattern
        active = mean(self.pressure.new_tensor(len(pattern.latent) / max(1, pattern.n_rows)))
        self.pressure[1].lerp_(active, 1 - _SLOW)
        step = _GAIN * (self.pressure[1] / self.config.k - 1).clamp(-1, 1)
        self.pressure[0].mul_(step.exp()).clamp_(*_BOUNDS)


ENTRY = DictionaryKind(Gated, "trained", lambda width, _rows, m, k: GatedConfig(width, m, k), selection="gated")

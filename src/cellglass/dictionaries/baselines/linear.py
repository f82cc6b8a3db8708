"""The base of the baselines: axes through a centre, each split by sign into two latents.

    r = (x - centre) Aᵀ;   latents j and q + j carry relu(r_j) and relu(-r_j);   x̂ = centre + r S

with the analysis rows A and synthesis rows S, each (q, d). A kind is a function that finds centre, A and S. All q
axes answer in every row (by one of their two latents), so nothing is lost by the split.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.dictionaries.files import read_config, read_weights, write_dictionary
from cellglass.errors import InputError


class LinearDictionary(Dictionary):
    """Axes split by sign; see the module's docstring.

    Parameters
    ----------
    centre
        (d,)
    analysis, synthesis
        A and S, (q, d).
    """

    kind: ClassVar[str]

    def __init__(self, centre: torch.Tensor, analysis: torch.Tensor, synthesis: torch.Tensor) -> None:
        self.centre, self.analysis, self.synthesis = centre.float(), analysis.float(), synthesis.float()
        self.n_axes, self.d_in = int(analysis.shape[0]), int(analysis.shape[1])
        self.n_latents, self.d_out = 2 * self.n_axes, self.d_in

    def encode(self, x: torch.Tensor) -> Codes:
        """Return the codes: for each axis the one of its two latents that answers."""
        r = self._responses(x)
        axes = torch.arange(self.n_axes).expand_as(r)
        return Codes(torch.where(r >= 0, axes, axes + self.n_axes), r.abs(), self.n_latents)

    def decode(self, codes: Codes) -> torch.Tensor:
        """Return the reconstruction, float32 (n, d_out)."""
        sign = torch.where(codes.indices < self.n_axes, 1.0, -1.0)
        r = codes.values.new_zeros(len(codes.values), self.n_axes)
        r.scatter_add_(1, codes.indices % self.n_axes, sign * codes.values)
        return self.centre + r @ self.synthesis

    def preactivations(self, x: torch.Tensor) -> torch.Tensor:
        """Return r and -r side by side, float32 (n, n_latents); differentiable in `x`."""
        r = self._responses(x)
        return torch.cat([r, -r], dim=1)

    @property
    def directions(self) -> torch.Tensor:
        """Synthesis rows and their negatives, float32 (n_latents, d_out)."""
        return torch.cat([self.synthesis, -self.synthesis])

    def activations_of(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Return the activation of latent ``latent[i]`` in row i of `x`, float32 (n,)."""
        r = self._responses(x).gather(1, (latent % self.n_axes)[:, None])[:, 0]
        return torch.where(latent < self.n_axes, r, -r).relu()

    def save(self, folder: Path) -> None:
        """Write ``cfg.json`` and ``weights.safetensors``."""
        weights = {"centre": self.centre, "analysis": self.analysis, "synthesis": self.synthesis}
        # safetensors keeps no two names for one memory
        weights = {name: value.clone() for name, value in weights.items()}
        write_dictionary(Path(folder), self.kind, {"d_in": self.d_in, "n_axes": self.n_axes}, weights)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote."""
        config: dict[str, Any] = read_config(folder)[1]
        try:
            q, d = int(config["n_axes"]), int(config["d_in"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{folder / 'cfg.json'}: lacks n_axes or d_in; fit and save the dictionary again"
            ) from error
        weights = read_weights(folder, {"centre": (d,), "analysis": (q, d), "synthesis": (q, d)})
        return cls(weights["centre"], weights["analysis"], weights["synthesis"])

    def _responses(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.centre) @ self.analysis.T

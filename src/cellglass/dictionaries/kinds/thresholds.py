"""What kinds share whose latents are active above a threshold of their own or a common one."""

from __future__ import annotations

import torch

from cellglass.dictionaries.sparse import SparseDictionary


class Thresholded(SparseDictionary):
    """A dictionary with a `threshold` >= 0, one for all latents () or one for each (m,).

    A latent is active in a row where its pre-activation is above the threshold, whatever the other latents do.
    """

    threshold: torch.Tensor

    def bar(self) -> torch.Tensor:
        """Return the threshold of each latent, (m,), at least 0."""
        return self.threshold.detach().clamp_min(0).expand(self.n_latents)

    def activations_of(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Return the activation of latent ``latent[i]`` in row i of `x`, float32 (n,): its own row of E is enough."""
        u = self.normalise(x)
        p = torch.linalg.vecdot(u, self.encoder[latent]) + self.offset()[latent]
        return torch.where(p > self.bar()[latent], p, 0.0)


@torch.no_grad()
def threshold_for(dictionary: SparseDictionary, u: torch.Tensor, k: float) -> torch.Tensor:
    """Return the value above which rows `u` have `k` scores on average (0, if fewer are positive)."""
    rows = u[: max(1, (1 << 24) // dictionary.n_latents)]
    scores = dictionary.scores(rows).flatten()
    wanted = min(len(scores) - 1, round(k * len(rows)))
    least: torch.Tensor = scores.kthvalue(len(scores) - wanted).values
    return least.clamp_min(0)

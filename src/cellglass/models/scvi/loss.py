"""scVI's training loss (the negative ELBO of a mini-batch), with the costly terms evaluated at counted genes only.

log NB(x | mu, theta) = theta log(theta / (theta + mu))
                        + [x log(mu / (theta + mu)) + ln G(x + theta) - ln G(theta) - ln G(x + 1)]

The bracket (G is the gamma function) vanishes at x = 0, where most of a mini-batch lies, so it and its gradient are
computed at the nonzero entries. Value and gradient are those of scvi-tools' own ``VAE.loss``: the tests hold it
against that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import softplus

EPS = 1e-8  # of scvi-tools' log-likelihoods


def negative_elbo(module: Any, tensors: dict[str, torch.Tensor], kl_weight: float) -> torch.Tensor:
    """Return the mean over cells of -log p(x | z) + kl_weight KL(q(z | x) || N(0, 1)), z drawn from q.

    Parameters
    ----------
    module : scvi.module.VAE
        In training mode, with observed library sizes.
    tensors : dict of str to torch.Tensor
        The mini-batch by scvi-tools' names.
    kl_weight : float
    """
    if module.gene_likelihood not in ("zinb", "nb"):
        _, _, losses = module(tensors, loss_kwargs={"kl_weight": kl_weight})
        loss: torch.Tensor = losses.loss
        return loss
    inference, generative = module(tensors, compute_loss=False)
    q, p = inference["qz"], generative["px"]
    divergence = 0.5 * (q.variance + q.mean.square() - 1 - q.variance.log()).sum()
    theta = p.theta[:1] if module.dispersion == "gene" else p.theta
    likelihood = log_likelihood(tensors["X"], p.mu, theta, p.zi_logits if module.gene_likelihood == "zinb" else None)
    elbo: torch.Tensor = (kl_weight * divergence - likelihood) / len(tensors["X"])
    return elbo


def log_likelihood(
    x: torch.Tensor, mu: torch.Tensor, theta: torch.Tensor, dropout: torch.Tensor | None
) -> torch.Tensor:
    """Return the sum of log NB, or of log ZINB with logits `dropout`, over `x`; `theta` is (1 or n, genes)."""
    log_total = torch.log(theta + mu + EPS)
    zero = theta * (torch.log(theta + EPS) - log_total)  # log NB(0)
    where = x.flatten().nonzero().squeeze(1)
    own = where if len(theta) == len(x) else where % x.shape[1]  # positions of their dispersions
    counted, inverse = x.flatten()[where], theta.flatten().index_select(0, own)
    bracket = (
        counted * (torch.log(_at(mu, where) + EPS) - _at(log_total, where))
        + torch.lgamma(counted + inverse)
        - torch.lgamma(theta).flatten().index_select(0, own)
        - torch.lgamma(counted + 1)
    ).sum()
    if dropout is None:
        return zero.sum() + bracket
    # ZINB: softplus(zero - dropout) - softplus(-dropout) at 0, and without the first softplus elsewhere;
    # y = softplus(y) - softplus(-y) turns the one into the other where genes were counted.
    shifted = zero - dropout
    return softplus(shifted).sum() - softplus(-_at(shifted, where)).sum() - softplus(-dropout).sum() + bracket


def _at(matrix: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return matrix.flatten().index_select(0, where)

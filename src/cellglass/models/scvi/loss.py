"""Gradients of scVI's training loss, the negative ELBO of a mini-batch, without its value; and the log-likelihood.

    log NB(x | mu, theta) = theta a + [x log(mu / t) + ln G(x + theta) - ln G(theta) - ln G(x + 1)],
    a = log(theta / t),  t = theta + mu

    log ZINB(x | mu, theta, pi) = softplus(theta a - pi) - softplus(-pi)  at x = 0,  -softplus(-pi) + log NB - pi  else

The bracket (G is the gamma function) vanishes at x = 0, where most of a mini-batch lies, so its gradient is taken at
the counted genes alone. With s the sigmoid, and w = s(theta a - pi) at x = 0, 1 elsewhere and for NB:

    d/d mu    = -w theta / t + x / mu - x / t
    d/d theta = w (a + 1 - theta / t) - x / t + [psi(x + theta) - psi(theta)]
    d/d pi    = s(-pi) - w

Logarithms and divisions have scvi-tools' 1e-8 added. Gradients are those of scvi-tools' own ``VAE.loss``: the tests
hold them against that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.nn.functional import softplus

EPS = 1e-8  # of scvi-tools' log-likelihoods


def add_gradients(module: Any, tensors: dict[str, torch.Tensor], kl_weight: float) -> None:
    """Add the gradient of the loss of a mini-batch to that of each parameter of `module`.

    The loss is the mean over cells of -log p(x | z) + kl_weight KL(q(z | x) || N(0, 1)), z drawn from q.

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
        losses.loss.backward()
        return
    inference, generative = module(tensors, compute_loss=False)
    q, p = inference["qz"], generative["px"]
    divergence = 0.5 * (q.variance + q.mean.square() - 1 - q.variance.log()).sum()
    theta = p.theta[:1] if module.dispersion == "gene" else p.theta
    dropout = p.zi_logits if module.gene_likelihood == "zinb" else None
    n = len(tensors["X"])
    found = likelihood_gradients(
        tensors["X"], p.mu.detach(), theta.detach(), None if dropout is None else dropout.detach()
    )
    ends = [(divergence, torch.tensor(kl_weight / n)), (p.mu, found.mu / -n), (theta, found.theta / -n)]
    ends += [] if dropout is None or found.dropout is None else [(dropout, found.dropout / -n)]
    torch.autograd.backward([end for end, _ in ends], [gradient.to(end) for end, gradient in ends])


class Gradients(NamedTuple):
    """Of the sum of log-likelihoods over a mini-batch, by the mean, the dispersion, and the logits of dropout."""

    mu: torch.Tensor  # (n, genes)
    theta: torch.Tensor  # as theta
    dropout: torch.Tensor | None  # (n, genes)


@torch.no_grad()
def likelihood_gradients(
    x: torch.Tensor, mu: torch.Tensor, theta: torch.Tensor, dropout: torch.Tensor | None
) -> Gradients:
    """Return the gradients of the sum of log NB, or of log ZINB with logits `dropout`, over the counts `x` (n, genes).

    `theta` is (1 or n, genes).
    """
    total = theta + mu
    total += EPS
    log_ratio = torch.log(total).neg_().add_(torch.log(theta + EPS))  # a
    inverse = total.reciprocal_()  # 1 / t
    where = x.flatten().nonzero().squeeze(1)
    own = where if len(theta) == len(x) else where % x.shape[1]  # positions of their dispersions
    counted, dispersion = x.flatten()[where], theta.flatten()[own]
    kept = theta * inverse  # theta / t
    if dropout is None:
        by_theta, by_dropout = log_ratio.add_(1).sub_(kept), None
        by_mu = kept.neg_()
    else:
        weight = torch.addcmul(dropout.neg(), theta, log_ratio).sigmoid_()  # w
        weight.flatten()[where] = 1
        by_theta = log_ratio.add_(1).sub_(kept).mul_(weight)
        by_mu = kept.neg_().mul_(weight)
        by_dropout = dropout.neg().sigmoid_().sub_(weight)
    shared = counted * inverse.flatten()[where]  # x / t
    by_mu.flatten().index_add_(0, where, counted / (mu.flatten()[where] + EPS) - shared)
    risen = torch.digamma(counted + dispersion) - torch.digamma(theta).flatten()[own]
    by_theta.flatten().index_add_(0, where, risen - shared)
    return Gradients(by_mu, by_theta.sum(0, keepdim=True) if len(theta) == 1 else by_theta, by_dropout)


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

r"""Credit for what frozen patterns hide: gradients of the real model along the way from no features to all.

With w_l what stands in the place of the MLP of layer l, from w(0), every feature off, to w(1), every one on, and a the
place between, the strength of feature i at a token is what it writes times the mean gradient of the model's answer,

    sum over layers l that it writes to of  z_i w_dec_i,l . mean over a in (0, 1) of  d answer(w(a)) / dw_l

(integrated gradients, Sundararajan et al. 2017, arXiv 1703.01365, over contributions in place of inputs). Patterns,
norms and the head answer, so that a feature that makes attention look elsewhere has its part; other MLPs are held.
All strengths add up to answer(all) - answer(nothing) of the real model.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from cellglass.circuits.answers import run_copies
from cellglass.circuits.asked import Asked
from cellglass.circuits.features import explained
from cellglass.errors import InputError
from cellglass.models.transformer.hooks import Edit

Tensor = torch.Tensor
Array = np.ndarray[Any, Any]


def live_strengths(asked: Asked, steps: int = 16) -> Array:
    """Return the strength of every active node, in the order of layers, tokens and slots, float64 (nodes,).

    Parameters
    ----------
    asked
        The cell, and what is asked.
    steps
        Of the integral, taken at the middles of equal parts; one pass there and back each.
    """
    answer = asked.question.reader
    if steps < 1:
        raise InputError(f"steps is {steps}; it must be at least 1")
    made, n_layers = asked.replacement, asked.frozen.n_layers
    with torch.no_grad():
        full = made.written(asked.frozen)
        rise = [
            torch.stack([explained(one, layer) for one in made.features[: layer + 1] if layer in one.write]).sum(0)
            for layer in range(n_layers)
        ]
    gradients = [torch.zeros_like(one) for one in full]
    at = (torch.arange(steps, device=full[0].device).to(full[0]) + 0.5) / steps
    for some in torch.split(at, max(1, asked.model.batch_tokens // asked.frozen.n_tokens)):
        left = (1 - some)[:, None, None]
        for total, found in zip(gradients, _gradients(asked, answer, full, rise, left), strict=True):
            total += found / steps
    values = []
    for layer, one in enumerate(made.features):
        fall = torch.zeros_like(one.value)
        for to, rows in one.write.items():
            fall += torch.einsum("tkd,td->tk", rows[one.latent], gradients[to])
        values.append((fall * one.value)[made.features[layer].value > 0])
    return np.asarray(torch.cat(values).cpu().numpy(), dtype=np.float64)


def _gradients(
    asked: Asked, answer: Callable[[Tensor], Tensor], full: list[Tensor], rise: list[Tensor], left: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradients of the answers' sum at places on the way, by layer, (t, d); `left`, (S, 1, 1), is 1 - a."""
    with torch.enable_grad():
        written = [(a - left * b).requires_grad_() for a, b in zip(full, rise, strict=True)]
        edits: dict[str, Edit] = {f"layers.{layer}.mlp.out": partial(_put, one) for layer, one in enumerate(written)}
        last = run_copies(asked.model, asked.question, len(left), asked.question.point, edits)
        return tuple(one.sum(0) for one in torch.autograd.grad(answer(last).sum(), written, materialize_grads=True))


def _put(value: Tensor, _written: Tensor) -> Tensor:
    return value

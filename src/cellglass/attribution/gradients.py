"""Integrated gradients from a partner to its prototype: how the whole difference in a concept divides over the genes.

    effect_g = (x_g - x'_g) * integral over t in [0, 1] of df/dx_g (x' + t (x - x')) / f(x)

x, x' are the log1p counts of prototype and partner, f reads one latent: the positive part of its pre-activation
(``activation``: what it would be without selection, which has no gradient) or the pre-activation itself. The effects
of a pair add up to (f(x) - f(x')) / f(x): Sundararajan et al. 2017 (completeness), and what the steps miss is
reported as gap. Only counts move: where the two cells differ in covariates (batch), the whole path keeps those of the
prototype.

The partner's counts are first brought to the prototype's depth (``match_depth``): cells of a type may simply hold more
RNA, or be sequenced deeper, and a path from a shallow to a deep cell credits every abundant gene with that. x' is then
log1p(c' N / N'), with N and N' the total counts of the two cells.

Where the model has a linear front (h = W x + b), gradients are averaged over the steps at h and multiplied by W once.

Where it reads a cell as tokens, bins and ranks have no gradient, and the line runs through the vectors that the first
layer is given (`cellglass.models.line`): with u_j how far token j is on its way from partner (0) to prototype (1),

    effect_g = sum over tokens j of g of integral over t in [0, 1] of df/du_j (t, ..., t) / f(x)

A token of one cell alone comes or goes by its weight in attention. The ends are the two cells, so effects add up to
(f(x) - f(x')) / f(x) again; what is of no gene (<cls>, a prompt around the sentence, and where it stands) is the
prototype's all the way. Depth needs no match: bins and ranks are the same at any.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from cellglass.attribution.token_paths import along_tokens, reads_tokens
from cellglass.attribution.work import Subject
from cellglass.cells.cells import Cells
from cellglass.dictionaries.base import Dictionary
from cellglass.errors import InputError

Array = np.ndarray[Any, Any]
Rule = Literal["midpoint", "gauss", "end"]
# Rows of the hidden layer that one backward pass holds, and numbers that one dense block of log counts may hold.
_ROWS = 4096
_PLAIN_ROWS = 512  # the same for whole cells, where there is no linear front
_DENSE = 1 << 22


class PathEffects(NamedTuple):
    """Effects along the paths of n pairs.

    Attributes
    ----------
    effects : float32, shape (n, n_genes)
        Shares of the prototype's readout f(x); exactly 0 where counts (of transformers: tokens) do not differ.
    readout : float32, shape (n,)
        f(x).
    difference : float32, shape (n,)
        f(x) - f(x'); NaN through tokens with the rule ``end``.
    change : float32, shape (n, n_genes)
        x - x', by how much the log counts differ.
    gap : float32, shape (n,)
        |sum of effects * f(x) - difference| / |difference|; NaN where the difference is 0 or NaN.
    """

    effects: Array
    change: Array
    readout: Array
    difference: Array
    gap: Array


def steps_of(rule: Rule, steps: int) -> tuple[Array, Array]:
    """Return positions in (0, 1] and weights (they sum to 1) of a rule.

    Midpoints of equal steps, Gauss-Legendre, or the prototype alone, at the end of the path.
    """
    if steps < 1:
        raise InputError(f"path effects: steps is {steps}; it must be at least 1")
    if rule == "midpoint":
        return (np.arange(steps) + 0.5) / steps, np.full(steps, 1.0 / steps)
    if rule == "gauss":
        position, weight = np.polynomial.legendre.leggauss(steps)
        return (position + 1) / 2, weight / 2
    if rule == "end":
        return np.ones(1), np.ones(1)
    raise InputError(f"path effects: the rule is {rule!r}; give 'midpoint', 'gauss' or 'end'")


def path_effects(
    subject: Subject,
    prototype: Array,
    partner: Array,
    concept: Array,
    *,
    on: str = "activation",
    steps: int = 32,
    rule: Rule = "midpoint",
    match_depth: bool = True,
) -> PathEffects:
    """Return the path effects of pairs; the result is dense, so call it with the pairs of a concept at a time.

    Parameters
    ----------
    subject : Subject
        Its model has a `line`, a `linear_front` or at least a `path_gradient`; its dictionary gives pre-activations.
    prototype, partner, concept : int64, shape (n,)
        Positions of cells, and the latent that each pair is read at.
    on : {"activation", "preactivation"}
        The readout f.
    steps : int
        Points on the path.
    rule : {"midpoint", "gauss", "end"}
        Where they lie; ``end`` has one, the prototype. On networks of rectifiers the others err by kinks, and
        neither is better by much.
    match_depth : bool
        Bring the partner's counts to the prototype's total first.

    Raises
    ------
    InputError
        If the model has no gradient with respect to counts.
    """
    positions, weights = steps_of(rule, steps)
    at, weight = torch.from_numpy(positions.astype(np.float32)), torch.from_numpy(weights.astype(np.float32))
    walk = None if reads_tokens(subject.model) else _front_walk(subject) or _plain_walk(subject)
    pieces, cells = [], subject.cells
    size = max(1, min(_DENSE // cells.n_genes, len(prototype)))
    for start in range(0, len(prototype), size):
        piece = slice(start, start + size)
        x, x0 = log_counts(cells, prototype[piece], partner[piece], match_depth)  # (n, n_genes) each
        read = _Readout(subject.dictionary, torch.from_numpy(np.asarray(concept[piece], dtype=np.int64)), on)
        if walk is None:
            effects, ends = along_tokens(subject, prototype[piece], partner[piece], read, at, weight)
        else:
            gradient, ends = walk(x, x0, prototype[piece], read, at, weight)  # (n, n_genes), (2, n)
            effects = gradient * (x - x0)
        pieces.append(_finish(effects, x - x0, ends))
    return PathEffects(*(np.concatenate(parts) for parts in zip(*pieces, strict=True))) if pieces else _nothing(cells)


def log_counts(cells: Cells, prototype: Array, partner: Array, match_depth: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log1p counts of prototypes and partners, float32 (n, n_genes), the partners' at the prototypes' depth."""
    x, x0 = (torch.from_numpy(cells.counts[rows].toarray()) for rows in (prototype, partner))
    if match_depth:
        x0 = x0 * (x.sum(dim=1, keepdim=True) / x0.sum(dim=1, keepdim=True).clamp_min(1))
    return torch.log1p(x), torch.log1p(x0)


class _Readout(NamedTuple):
    """f of site activations: row i is read at ``latent[i]``."""

    dictionary: Dictionary
    latent: torch.Tensor
    on: str

    def __call__(self, x: torch.Tensor, pair: torch.Tensor, /) -> torch.Tensor:
        value = self.dictionary.preactivations(x).gather(1, self.latent[pair][:, None])[:, 0]
        return torch.relu(value) if self.on == "activation" else value


def _finish(effects: torch.Tensor, change: torch.Tensor, ends: torch.Tensor) -> tuple[Array, ...]:
    readout, difference = ends[1], ends[1] - ends[0]
    total = effects.sum(dim=1, dtype=torch.float64)
    gap = torch.where(difference != 0, (total - difference).abs() / difference.abs(), torch.nan)
    shares = effects / readout[:, None]
    return shares.numpy(), change.numpy(), readout.numpy(), difference.numpy(), gap.float().numpy()


def _front_walk(subject: Subject) -> Any:
    front, cells = subject.model.linear_front(subject.site), subject.cells
    if front is None:
        return None
    weight_in = front.weight.detach()  # (k, n_genes)

    def walk(
        x: torch.Tensor, x0: torch.Tensor, cell: Array, read: _Readout, at: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        unique, which = np.unique(cell, return_inverse=True)
        end = front.front(cells[unique]).detach()[torch.from_numpy(which)]  # (n, k)
        way = (x - x0) @ weight_in.T  # (n, k)
        gradient = torch.empty_like(end)
        n = max(1, _ROWS // len(at))
        for start in range(0, len(x), n):
            pair = torch.arange(start, min(start + n, len(x)))
            h = end[pair][:, None] - (1 - at)[None, :, None] * way[pair][:, None]  # (pairs, steps, k)
            slope = _slopes(lambda h, pair=pair: read(front.rest(h), pair.repeat_interleave(len(at))), h.flatten(0, 1))
            gradient[pair] = torch.einsum("psh,s->ph", slope.view(h.shape), weight)
        pairs = torch.arange(len(x))
        with torch.no_grad():
            ends = torch.stack([read(front.rest(h), pairs) for h in (end - way, end)])
        return gradient @ weight_in, ends

    return walk


def _plain_walk(subject: Subject) -> Any:
    model, cells, site = subject.model, subject.cells, subject.site

    def walk(
        x: torch.Tensor, x0: torch.Tensor, cell: Array, read: _Readout, at: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        gradient = torch.empty_like(x)
        ends = torch.empty(2, len(x))
        n = max(1, _PLAIN_ROWS // len(at))
        for start in range(0, len(x), n):
            pair = torch.arange(start, min(start + n, len(x)))
            steps = pair.repeat_interleave(len(at))
            kept = cells[cell[steps.numpy()]]
            way = x0[pair][:, None] + at[None, :, None] * (x - x0)[pair][:, None]  # (pairs, steps, n_genes)
            slope = _slopes(
                lambda y, steps=steps, kept=kept: read(model.path_gradient(site, y, kept), steps), way.flatten(0, 1)
            )
            gradient[pair] = torch.einsum("psg,s->pg", slope.view(way.shape), weight)
            with torch.no_grad():
                for end, y in enumerate((x0, x)):
                    ends[end, pair] = read(model.path_gradient(site, y[pair], cells[cell[pair.numpy()]]), pair)
        return gradient, ends

    return walk


def _slopes(f: Any, x: torch.Tensor) -> torch.Tensor:
    """Return df_i/dx_i for each row i (rows do not mix)."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(f(x).sum(), x)[0]


def _nothing(cells: Cells) -> PathEffects:
    none = np.empty(0, dtype=np.float32)
    wide = np.empty((0, cells.n_genes), dtype=np.float32)
    return PathEffects(wide, wide, none, none, none)

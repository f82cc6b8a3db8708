"""The tokens of two cells laid side by side, so that a network can be read anywhere on the way between them.

For a pair, the tokens are those of the prototype and of the partner together. A token that both have, by a key of the
model's (its gene; where order counts, its place and word), is one: it moves from the partner's vector e' to the
prototype's e. A token of one cell alone stays as it is, and comes or goes:

    e_j(u) = e'_j + u_j (e_j - e'_j),    w_j(u) = w'_j + u_j (w_j - w'_j),    w in {0, 1} at the ends

log w_j is added to the logits of attention to token j, and means weigh token j by w_j: at u = 0 and at u = 1 nothing
else is left of tokens that are not there. Tokens of no gene (<cls>, a prompt) are the prototype's all the way, as
covariates are. Knows no network.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from cellglass.models.transformer.tokens import Ints, Padded, TokenLists

TINY = 1e-12
"""What is left of a token that is not there: its weight has a gradient still, and nothing reads it."""


class Laid(NamedTuple):
    """The tokens of n pairs, t wide: where each is among its cell's tokens, -1 where it is not.

    Attributes
    ----------
    prototype, partner : numpy.ndarray of int64, (n, t)
    frame : numpy.ndarray of bool, (n, t)
        Tokens of no gene, which the prototype has, all the way.
    """

    prototype: Ints
    partner: Ints
    frame: np.ndarray[Any, np.dtype[np.bool_]]


def lay(prototype: TokenLists, partner: TokenLists, keys: tuple[Ints, Ints]) -> Laid:
    """Lay the tokens of pairs side by side: what stands before the prototype's genes, genes by key, and what follows.

    Parameters
    ----------
    prototype, partner : TokenLists
        Of n cells each.
    keys : tuple of two numpy.ndarray of int64
        For each token of both lists what makes it the same token in the other cell, -1 where it is of no gene. A cell
        has each key once.
    """
    rows = []
    for i in range(len(prototype)):
        mine, other = (
            key[tokens.start[i] : tokens.start[i + 1]] for key, tokens in zip(keys, (prototype, partner), strict=True)
        )
        rows.append(_lay_one(mine, other))
    wide = max((len(row[0]) for row in rows), default=0)
    filled = np.full((2, len(rows), wide), -1, dtype=np.int64)
    frame = np.zeros((len(rows), wide), dtype=bool)
    for i, (ours, theirs, framed) in enumerate(rows):
        filled[0, i, : len(ours)], filled[1, i, : len(ours)], frame[i, : len(ours)] = ours, theirs, framed
    return Laid(filled[0], filled[1], frame)


def _lay_one(mine: Ints, other: Ints) -> tuple[Ints, Ints, Any]:
    of_gene = np.flatnonzero(mine >= 0)
    first, stop = (int(of_gene[0]), int(of_gene[-1]) + 1) if len(of_gene) else (len(mine), len(mine))
    keys = np.union1d(mine[mine >= 0], other[other >= 0])
    ours, theirs = np.full((2, len(keys)), -1, dtype=np.int64)
    for found, key in ((ours, mine), (theirs, other)):
        place = np.flatnonzero(key >= 0)
        found[np.searchsorted(keys, key[place])] = place
    around = np.arange(first), np.arange(stop, len(mine))
    ours = np.concatenate([around[0], ours, around[1]])
    theirs = np.concatenate([np.full(first, -1), theirs, np.full(len(mine) - stop, -1)])
    framed = np.ones(len(ours), dtype=bool)
    framed[first : first + len(keys)] = False
    return ours, theirs, framed


@dataclass(frozen=True)
class Ways:
    """What the network is given of n pairs, t tokens wide, and what changes along the way.

    Attributes
    ----------
    batch : Padded
        The tokens of both cells of each pair; ``cells`` numbers the pairs.
    place : torch.Tensor, int64, (n, t)
        Where each token stands in its own cell.
    frame : torch.Tensor, bool, (n, t)
        Tokens of no gene, which stay.
    start, end : torch.Tensor, (n, t, width)
        Input vectors at the partner and at the prototype.
    before, after : torch.Tensor, (n, t)
        1 where a token is there, at the partner and at the prototype; else 0.
    """

    batch: Padded
    place: torch.Tensor
    frame: torch.Tensor
    start: torch.Tensor
    end: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor

    @classmethod
    def of(cls, laid: Laid, batches: tuple[Padded, Padded], vectors: tuple[torch.Tensor, torch.Tensor]) -> Ways:
        """Gather from the padded tokens of prototypes and of partners, and their input vectors, (n, t', width) each."""
        device = vectors[0].device
        ours, theirs = (torch.from_numpy(places).to(device) for places in (laid.prototype, laid.partner))
        frame = torch.from_numpy(laid.frame).to(device)
        has, other = ours >= 0, theirs >= 0

        def both(parts: Iterable[torch.Tensor]) -> torch.Tensor:
            """Return the prototype's where it has the token, else the partner's."""
            mine, yours = parts
            return torch.where(has, _at(mine, ours), _at(yours, theirs))

        ids, gene = both(batch.ids for batch in batches), both(batch.gene for batch in batches)
        mask = has | other
        value = None
        if batches[0].value is not None:
            value = both(batch.value for batch in batches if batch.value is not None)
        mine, yours = _at(vectors[0], ours), _at(vectors[1], theirs)
        start = torch.where(other[..., None], yours, mine)
        end = torch.where(has[..., None], mine, yours)
        gene = torch.where(mask & ~frame, gene, -1)
        return cls(
            Padded(ids, value, mask, gene, np.arange(len(ids))),
            torch.where(has, ours, theirs),
            frame,
            start,
            end,
            (other | frame).to(start.dtype),
            has.to(start.dtype),
        )

    @staticmethod
    def flags(laid: Laid, prototype: tuple[TokenLists, Any], partner: tuple[TokenLists, Any]) -> torch.Tensor:
        """Return what is said of each token, bool (tokens,) of both lists, as (n, t): its own cell's word."""
        found = np.zeros(laid.frame.shape, dtype=bool)
        for places, (tokens, said) in ((laid.partner, partner), (laid.prototype, prototype)):
            pair, column = np.nonzero(places >= 0)
            found[pair, column] = said[tokens.start[pair] + places[pair, column]]
        return torch.from_numpy(found)

    def vectors(self, u: torch.Tensor) -> torch.Tensor:
        """Return the input vectors, (n, t, width), with token j of pair i ``u[i, j]`` on its way."""
        return self.start + u[..., None] * (self.end - self.start)

    def there(self, u: torch.Tensor) -> torch.Tensor:
        """Return how far each token is there, (n, t)."""
        return self.before + u * (self.after - self.before)

    def logits(self, u: torch.Tensor) -> torch.Tensor:
        """Return what is added to the logits of attention to each token, (n, t): log w, -inf at padding."""
        weight = TINY + (1 - TINY) * self.there(u)
        return weight.log().masked_fill(~self.batch.mask, -torch.inf)


def _at(values: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Return ``values[i, place[i, j]]``; anything where `place` is -1."""
    row = torch.arange(len(values), device=values.device)[:, None]
    found: torch.Tensor = values[row, place.clamp_min(0)]
    return found

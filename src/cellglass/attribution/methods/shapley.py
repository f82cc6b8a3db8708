"""Shapley values along the swap: a gene's share of the whole difference, over all orders in which genes are swapped.

For a pair, v(S) is the readout of the prototype with the partner's counts of all genes that differ but those in S:

    effect_g = mean over orders of [v(genes up to and with g) - v(genes before g)] / f(x)

(Shapley 1953; by drawn orders: Castro, Gomez and Tejada 2009), x' the prototype with all of the partner's counts. A
swap changes one gene where all others stay, so genes that stand in for each other have small swaps, and their shares
here; what genes do together is divided among them. The effects of a pair add up to (f(x) - f(x')) / f(x) exactly,
whatever the orders. Each order is run with its reverse (antithetic), so that what two genes do together is divided
evenly; `Shapley.error` says what error is left, and the standard error over pairs, which is reported, holds it. q as
for swaps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cellglass.attribution import statistics, tables
from cellglass.attribution.method import Method, needs
from cellglass.attribution.work import Block, Subject, columns
from cellglass.errors import InputError
from cellglass.seeds import generator
from cellglass.vocabulary import TITLES

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]
_ROWS = 2048


class Shapley(NamedTuple):
    """Shapley values of n pairs.

    Attributes
    ----------
    effects : float32, shape (n, n_genes)
        Shares of the prototype's readout; 0 where counts do not differ.
    error : float32, shape (n, n_genes)
        Standard error of the drawing of orders; NaN with fewer than two pairs of orders.
    differs : bool, shape (n, n_genes)
        Where the counts differ.
    """

    effects: Array
    error: Array
    differs: Array


def shapley_values(
    subject: Subject,
    prototype: Array,
    partner: Array,
    concept: Array,
    *,
    on: str = "activation",
    orders: int = 8,
    seed: int = 0,
) -> Shapley:
    """Return Shapley values of pairs, from `orders` drawn orders and their reverses.

    Parameters
    ----------
    subject : Subject
    prototype, partner, concept : int64, shape (n,)
        Positions of cells, and the latent that each pair is read at.
    on : {"activation", "preactivation"}
        The readout.
    orders : int
        Orders of each pair; each is run forwards and backwards. A gene that differs costs two runs for each.
    seed : int
        The orders of a pair depend on it, on the two cells and on the concept, and on no other pair.

    Raises
    ------
    InputError
        If `orders` is below 1.
    """
    if orders < 1:
        raise InputError(f"Shapley values: orders is {orders}; it must be at least 1")
    shape = (len(prototype), subject.cells.n_genes)
    effects, error = np.zeros(shape, dtype=np.float32), np.full(shape, np.nan, dtype=np.float32)
    differs = np.zeros(shape, dtype=bool)
    for i, (cell, other, latent) in enumerate(zip(prototype, partner, concept, strict=True)):
        ours, theirs = (subject.cells.counts[row].toarray()[0] for row in (cell, other))
        genes = np.flatnonzero(ours != theirs)
        differs[i, genes] = True
        if not len(genes):
            continue
        rng = generator(seed, "shapley", int(latent), int(cell), int(other))
        drawn = np.stack([rng.permutation(len(genes)) for _ in range(orders)])
        both = np.concatenate([drawn, drawn[:, ::-1]])  # (2 orders, genes)
        values = _walks(subject, int(cell), theirs, genes, both, int(latent), on)  # (2 orders, genes + 1)
        share = np.empty((2 * orders, len(genes)))
        np.put_along_axis(share, both, np.diff(values, axis=1) / values[0, -1], axis=1)
        pairs = (share[:orders] + share[orders:]) / 2
        effects[i, genes] = pairs.mean(axis=0)
        if orders > 1:
            error[i, genes] = pairs.std(axis=0, ddof=1) / np.sqrt(orders)
    return Shapley(effects, error, differs)


def _walks(subject: Subject, cell: int, theirs: Array, genes: Array, orders: Array, concept: int, on: str) -> Array:
    """Return the readout along each order, float64 (n_orders, len(genes) + 1), from no gene to all of them."""
    import torch

    from cellglass.attribution.effects import read

    n = len(genes)
    place = np.empty_like(orders)
    np.put_along_axis(place, orders, np.broadcast_to(np.arange(n), orders.shape), axis=1)  # when a gene comes
    found = np.empty((len(orders), n + 1))
    front = subject.model.linear_front(subject.site)
    ours = subject.cells.counts[cell].toarray()[0]
    with torch.no_grad():
        if front is not None:
            step = torch.from_numpy(np.log1p(ours[genes]) - np.log1p(theirs[genes]))
            moves = front.weight[:, torch.from_numpy(genes)].T * step[:, None]  # (genes, k)
            start = front.front(subject.cells[[cell]])[0] - moves.sum(dim=0)
            for i, order in enumerate(orders):
                path = torch.cat([start[None], start + moves[torch.from_numpy(order.copy())].cumsum(dim=0)])
                found[i] = _readout(subject, front.rest(path), concept, on, read)
            return found
        for i in range(len(orders)):
            for first in range(0, n + 1, _ROWS):
                many = np.arange(first, min(first + _ROWS, n + 1))
                counts = np.repeat(ours[None], len(many), axis=0)
                counts[:, genes] = np.where(place[i] < many[:, None], ours[genes], theirs[genes])
                x = subject.model.activations(_like(subject, cell, counts), [subject.site])[subject.site]
                found[i, many] = _readout(subject, x, concept, on, read)
    return found


def _like(subject: Subject, cell: int, counts: Array) -> Any:
    """Return cells with the covariates of one, and counts of their own."""
    import scipy.sparse as sp

    return subject.cells[np.full(len(counts), cell)].with_counts(sp.csr_matrix(counts))


def _readout(subject: Subject, x: Any, concept: int, on: str, read: Any) -> Array:
    rows = np.arange(len(x))
    values: Array = read(subject.dictionary, x, rows, np.full(len(rows), concept), (on,))[on]
    return values


def rows(block: Block, on: str) -> pd.DataFrame:
    """Return the genes that differ in a real pair; ``n`` counts such pairs."""
    from cellglass.attribution.pairs import at_real_distance

    work, frames = block.work, []
    for concept, pairs in block.each():
        null = (pairs["kind"] == "null").to_numpy()  # (m,)
        prototype, partner, latent = columns(pairs, "prototype", "partner", "concept")
        found = shapley_values(work, prototype, partner, latent, on=on, orders=work.config.orders, seed=work.seed)
        n = np.count_nonzero(found.differs[~null], axis=0)  # (n_genes,)
        effects = at_real_distance(work, pairs, found.effects)
        result = statistics.paired(effects, prototype, partner, null, n > 0)
        frames.append(tables.statistics_rows(concept, work.genes, result, n, work.change(pairs[~null])))
    return tables.joined(frames, tables.MEASURED)


ENTRY = Method(
    name="shapley",
    title=TITLES["shapley"],
    cost="Two runs of the model for each order and each gene that differs within a pair; behind a linear first layer, "
    "of what follows it.",
    readouts=("activation", "preactivation"),
    rows=rows,
    possible=needs("counterfactual"),
    without="no Shapley values",
    counterfactual=True,
    ranking="activation",
    preference=3,
)

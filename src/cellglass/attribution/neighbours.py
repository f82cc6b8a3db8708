"""Nearest allowed cells of a few cells, exactly, in the space of a site, and cells as far off as others are.

A float32 product finds a shortlist, float64 differences order it, and equal distances go to the lower cell position:
two cells with equal activations are a tie whatever the rounding of the product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from cellglass.errors import InputError
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]
# Relative rounding error that the product may have; the shortlist is that much longer than asked for.
_SLACK = 1e-5


class Reader(Protocol):
    """A store of activations on disk."""

    def read(self, site: str, rows: Array) -> torch.Tensor:
        """Return the activations of `rows` at `site`, float32 (len(rows), width)."""


Activations = Array | torch.Tensor | Reader


def read_rows(activations: Activations, site: str, rows: Array) -> Array:
    """Return rows of a matrix or of a store, float32 (len(rows), width)."""
    if isinstance(activations, np.ndarray):
        return np.asarray(activations[rows], dtype=np.float32)
    if isinstance(activations, torch.Tensor):
        return activations[torch.from_numpy(np.ascontiguousarray(rows))].detach().to("cpu", torch.float32).numpy()
    return activations.read(site, rows).detach().to("cpu", torch.float32).numpy()


@dataclass(frozen=True, eq=False)
class Pool:
    """The cells among which partners are looked for.

    Attributes
    ----------
    rows : int64, shape (n,)
        Their positions, ascending.
    vectors : float32, shape (n, width)
        Their activations, less the mean of the pool (distances stay, rounding shrinks).
    mean : float32, shape (width,)
        What was taken off.
    """

    rows: Array
    vectors: Array
    mean: Array

    @classmethod
    def read(cls, activations: Activations, site: str, n_cells: int, *, at_most: int, seed: int) -> Pool:
        """Read all cells, or a seeded sample of `at_most`: it depends on the seed alone, not on a concept."""
        if at_most < 1:
            raise InputError(f"attribution: the candidates for partners must be at least 1, not {at_most}")
        rows = np.arange(n_cells)
        if n_cells > at_most:
            rows = np.sort(generator(seed, "attribution", "pool").choice(n_cells, size=at_most, replace=False))
        vectors = read_rows(activations, site, rows)
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        return cls(rows, vectors - mean, mean)


def nearest(pool: Pool, queries: Array, allowed: Array, k: int) -> list[Array]:
    """Return, for each query, the positions of its `k` nearest allowed cells, nearest first, ties by position.

    Parameters
    ----------
    pool : Pool
        Where to look.
    queries : float32, shape (m, width)
        Activations.
    allowed : bool, shape (m, n)
        Which cells of the pool each query may have.
    k : int
        How many; fewer come back where fewer are allowed.

    Returns
    -------
    list of int64 arrays
        Cell positions (of ``pool.rows``).
    """
    centred = queries - pool.mean
    norms = np.einsum("ij,ij->i", pool.vectors, pool.vectors)
    rough = norms[None, :] - 2.0 * (centred @ pool.vectors.T)
    rough[~allowed] = np.inf
    largest = float(norms.max(initial=0.0))
    found = []
    for i, query in enumerate(centred):
        n = min(k, int(allowed[i].sum()))
        if n == 0:
            found.append(np.empty(0, dtype=np.int64))
            continue
        edge = np.partition(rough[i], n - 1)[n - 1] + _SLACK * (largest + float(query @ query))
        short = np.flatnonzero(rough[i] <= edge)
        distance = np.square(pool.vectors[short].astype(np.float64) - query).sum(axis=1)
        found.append(pool.rows[short[np.argsort(distance, kind="stable")[:n]]])
    return found


def distances(pool: Pool, query: Array) -> Array:
    """Return the distance of each cell of the pool from `query` (width,), float64 (n,)."""
    centred = query - pool.mean
    square = np.einsum("ij,ij->i", pool.vectors, pool.vectors) - 2.0 * (pool.vectors @ centred) + centred @ centred
    return np.asarray(np.sqrt(np.maximum(square.astype(np.float64), 0.0)))


def matched(distance: Array, depth: Array, allowed: Array, wanted: Array) -> Array:
    """Return, for each wanted cell, an allowed cell that is about as far and about as deep; each is taken once.

    Taken is, for one wanted cell after the other, what makes this least:

        log(distance / distance wanted)^2 + log(depth / depth wanted)^2

    Parameters
    ----------
    distance, depth : float, shape (n,)
        How far each cell of a pool is from some cell, and its total count.
    allowed : bool, shape (n,)
        Which may be taken.
    wanted : int, shape (k,)
        Places of cells in the pool.

    Returns
    -------
    int64, shape (at most k,)
        Places in the pool, in the order of `wanted`; fewer where fewer are allowed.
    """
    least = 1e-6 * distance.max(initial=0.0) or 1.0
    far, deep = np.log(np.maximum(distance, least)), np.log(np.maximum(depth, 1.0))
    places = np.flatnonzero(allowed)
    found: list[int] = []
    for cell in wanted[: len(places)]:
        cost = np.square(far[places] - far[cell]) + np.square(deep[places] - deep[cell])
        best = int(cost.argmin())
        found.append(int(places[best]))
        places = np.delete(places, best)
    return np.asarray(found, dtype=np.int64)


def spread_out(candidates: list[Array], k: int, at_most: int) -> list[Array]:
    """Return the first `k` candidates of each list, but no cell in more than `at_most` lists.

    All lists take their first cell, then their second, and so on: each the earliest of its candidates that is not yet
    taken so often; where all are, the one that is least so.

    Parameters
    ----------
    candidates : list of int64 arrays
        For each of n cells others, the best first. To hold, they must be n k / `at_most` + k long.
    k, at_most : int
    """
    found: list[list[int]] = [[] for _ in candidates]
    taken: dict[int, int] = {}
    for _ in range(k):
        for mine, list_of in zip(found, candidates, strict=True):
            free = [int(cell) for cell in list_of if cell not in mine]
            if free:
                cell = next((c for c in free if taken.get(c, 0) < at_most), min(free, key=lambda c: taken.get(c, 0)))
                mine.append(cell)
                taken[cell] = taken.get(cell, 0) + 1
    return [np.asarray(mine, dtype=np.int64) for mine in found]

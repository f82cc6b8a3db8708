"""Cells with planted gene programs, so that what explains them can be compared with the truth.

For cell c of type t and batch b, gene g and program p:

    W[g, p] ~ LogNormal(log effect, 0.3)   if g is a member of p, else 0             loadings (log fold changes)
    A[c, p] ~ Bernoulli(q[t, p]) * Gamma(shape 4, mean 1)                            activity, 0 in most cells
    eta[c, g] = log base[g] + sum_p A[c, p] W[g, p] + log m[b, g],     base ~ LogNormal(0, 1),  m ~ LogNormal(0, s_b)
    mu[c, g] = L[c] exp(eta[c, g]) / sum_g' exp(eta[c, g']),           L ~ LogNormal(log depth, 0.3)
    counts[c, g] ~ NegativeBinomial(mean mu, variance mu + dispersion mu^2)

Half of the programs belong to types, in turn: such a program is on with probability 0.9 in its type and 0.03 elsewhere.
The other half are on in 0.15 of the cells, whatever their type. Batch 0 has m = 1. Programs form a ring, and each takes
a share `overlap` of its genes from the fresh genes of the one before it, so that no gene is in more than two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.cells.cells import Cells
from cellglass.cells.store import mapped_csr
from cellglass.errors import InputError
from cellglass.seeds import generator

_IN_TYPE, _ELSEWHERE, _FREE = 0.9, 0.03, 0.15
_BLOCK = 1000

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, eq=False)
class Simulated:
    """Simulated cells and the truth about them.

    Attributes
    ----------
    cells : Cells
        ``obs`` has ``cell_type`` and ``batch``.
    programs : pandas.DataFrame of float, shape (n_genes, n_programs)
        Loadings W: by how much the log expression of a gene rises with the activity of a program.
    membership : pandas.DataFrame of bool, shape (n_genes, n_programs)
        Which genes are in which program.
    activity : numpy.ndarray of float32, shape (n_cells, n_programs)
        A, 0 where a program is off.
    """

    cells: Cells
    programs: pd.DataFrame
    membership: pd.DataFrame
    activity: Floats


def simulate(
    n_cells: int = 2000,
    n_genes: int = 1000,
    n_programs: int = 20,
    genes_per_program: int = 30,
    overlap: float = 0.2,
    n_types: int = 6,
    n_batches: int = 1,
    depth: float = 2000.0,
    dispersion: float = 0.1,
    effect: float = 1.0,
    batch_spread: float = 0.3,
    seed: int = 0,
) -> Simulated:
    """Draw cells with planted gene programs; the module's docstring has the formulas.

    Parameters
    ----------
    n_cells, n_genes, n_programs, genes_per_program, n_types, n_batches : int
        Sizes.
    overlap : float
        Share of the genes of a program that it has in common with the program before it; at most 0.5.
    depth : float
        Median counts of a cell.
    dispersion : float
        Of the negative binomial; 0 gives Poisson.
    effect : float
        Median loading of a member gene: its log fold change at activity 1.
    batch_spread : float
        Standard deviation of the log multiplier of a gene in a batch.
    seed : int
        Everything follows from it.
    """
    _check(n_cells, n_genes, n_programs, genes_per_program, overlap, n_types, n_batches, depth, dispersion)
    gene_names = pd.Index([f"GENE{i:05d}" for i in range(n_genes)], dtype=object)
    program_names = [f"program_{p}" for p in range(n_programs)]
    members = _members(n_genes, n_programs, genes_per_program, overlap, generator(seed, "simulate", "members"))
    rng = generator(seed, "simulate", "loadings")
    loadings = np.where(members, effect * np.exp(rng.normal(0, 0.3, members.shape)), 0.0)
    types = generator(seed, "simulate", "types").integers(n_types, size=n_cells)
    batches = generator(seed, "simulate", "batches").integers(n_batches, size=n_cells)
    activity = _activity(types, n_types, n_programs, generator(seed, "simulate", "activity"))
    log_base = generator(seed, "simulate", "base").normal(0, 1, n_genes)
    log_batch = generator(seed, "simulate", "batch effects").normal(0, batch_spread, (n_batches, n_genes))
    log_batch[0] = 0
    blocks = []
    for start in range(0, n_cells, _BLOCK):
        rows = slice(start, start + _BLOCK)
        eta = log_base + activity[rows] @ loadings.T + log_batch[batches[rows]]
        blocks.append(_draw(eta, depth, dispersion, generator(seed, "simulate", "counts", start)))
    counts = sp.vstack(blocks, format="csr")
    obs = pd.DataFrame(
        {
            "cell_type": _categorical(types, [f"type_{t}" for t in range(n_types)]),
            "batch": _categorical(batches, [f"batch_{b}" for b in range(n_batches)]),
        },
        index=pd.Index([f"cell_{i}" for i in range(n_cells)], dtype=object),
    )
    genes = pd.DataFrame({"symbol": gene_names.to_numpy()}, index=gene_names)
    counts = mapped_csr(counts.data, counts.indices, counts.indptr, counts.shape)
    return Simulated(
        cells=Cells(counts, genes, obs, source=f"simulated, seed {seed}"),
        programs=pd.DataFrame(loadings, index=gene_names, columns=program_names),
        membership=pd.DataFrame(members, index=gene_names, columns=program_names),
        activity=activity,
    )


def _categorical(codes: np.ndarray[Any, Any], names: list[str]) -> pd.Categorical:
    return pd.Categorical([names[code] for code in codes], categories=names)


def _draw(eta: np.ndarray[Any, Any], depth: float, dispersion: float, rng: np.random.Generator) -> sp.csr_matrix:
    """Draw the counts of some cells from their log rates."""
    rate = np.exp(eta - eta.max(axis=1, keepdims=True))
    size = np.exp(rng.normal(np.log(depth), 0.3, len(eta)))
    mean = size[:, None] * rate / rate.sum(axis=1, keepdims=True)
    if dispersion > 0:
        mean = rng.gamma(1 / dispersion, mean * dispersion)
    return sp.csr_matrix(rng.poisson(mean).astype(np.float32))


def _members(
    n_genes: int, n_programs: int, size: int, overlap: float, rng: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    shared = round(overlap * size) if n_programs > 1 else 0
    fresh = size - shared
    order = rng.permutation(n_genes)
    members = np.zeros((n_genes, n_programs), dtype=bool)
    for p in range(n_programs):
        before = (p - 1) % n_programs
        members[order[p * fresh : (p + 1) * fresh], p] = True
        members[order[before * fresh : before * fresh + shared], p] = True
    return members


def _activity(types: np.ndarray[Any, Any], n_types: int, n_programs: int, rng: np.random.Generator) -> Floats:
    chance = np.full((n_types, n_programs), _FREE)
    of_types = np.arange((n_programs + 1) // 2)
    chance[:, of_types] = _ELSEWHERE
    chance[of_types % n_types, of_types] = _IN_TYPE
    on = rng.random((len(types), n_programs)) < chance[types]
    strength = rng.gamma(4.0, 0.25, on.shape)
    return np.where(on, strength, 0.0).astype(np.float32)


def _check(
    n_cells: int,
    n_genes: int,
    n_programs: int,
    size: int,
    overlap: float,
    n_types: int,
    n_batches: int,
    depth: float,
    dispersion: float,
) -> None:
    if min(n_cells, n_genes, n_programs, size, n_types, n_batches) < 1:
        raise InputError(
            "simulate: cells, genes, programs, genes per program, types and batches must be at least 1 each"
        )
    if not 0 <= overlap <= 0.5:
        raise InputError(f"simulate: overlap is {overlap}; a gene is in two programs at most, so it must lie in 0..0.5")
    if not (depth > 0 and dispersion >= 0):
        raise InputError(f"simulate: depth must be above 0 and dispersion at least 0, not {depth} and {dispersion}")
    needed = n_programs * (size - (round(overlap * size) if n_programs > 1 else 0))
    if needed > n_genes:
        raise InputError(f"simulate: {n_programs} programs need {needed} genes, but n_genes is {n_genes}; raise it")

"""Which measured gene is in which set, as one sparse matrix: what every test reads. No test is done here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from cellglass.enrichment.genesets import GeneSets, restrict
from cellglass.errors import InputError

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Members:
    """Terms and their measured genes.

    Attributes
    ----------
    terms : tuple of str
        Names, in the order of the columns of `matrix`.
    matrix : scipy.sparse.csc_matrix of float64, shape (n_genes, n_terms)
        1 where a gene belongs to a term.
    """

    terms: tuple[str, ...]
    matrix: sp.csc_matrix

    @property
    def n_genes(self) -> int:
        """Number of measured genes, in a set or not: the background of every test."""
        return int(self.matrix.shape[0])

    @property
    def sizes(self) -> Array:
        """Number of measured genes of each term, int64."""
        return np.asarray(np.diff(self.matrix.indptr), dtype=np.int64)

    def take(self, columns: Array | slice) -> Members:
        """Return some of the terms."""
        chosen = np.arange(len(self.terms))[columns]
        return Members(tuple(self.terms[i] for i in chosen), self.matrix[:, chosen].tocsc())

    def genes_of(self, term: int) -> Array:
        """Return the positions of the genes of term number `term`."""
        return np.asarray(self.matrix.indices[self.matrix.indptr[term] : self.matrix.indptr[term + 1]])


def members(sets: GeneSets, symbols: Sequence[str], *, min_size: int = 5, max_size: int = 500) -> Members:
    """Match sets with measured genes; terms come in order of size, then of the source.

    Parameters
    ----------
    sets : GeneSets
        One source.
    symbols : sequence of str
        Symbol of each measured gene; unique, but for the empty ones, which belong to no set.
    min_size, max_size : int
        Sets with fewer or more measured genes are left out.

    Raises
    ------
    InputError
        If symbols repeat or no set is left.
    """
    position = {symbol: i for i, symbol in enumerate(symbols) if symbol}
    if len(position) != sum(1 for symbol in symbols if symbol):
        raise InputError("gene sets: gene symbols repeat; keep one gene of each symbol (see one_gene_per_symbol)")
    kept = restrict(sets, position, min_size=min_size, max_size=max_size).sets
    terms = sorted(kept, key=lambda term: len(kept[term]))
    indices = [np.sort(np.array([position[gene] for gene in kept[term]], dtype=np.int32)) for term in terms]
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in indices])]).astype(np.int32)
    data = np.ones(indptr[-1], dtype=np.float64)
    matrix = sp.csc_matrix((data, np.concatenate(indices), indptr), shape=(len(symbols), len(terms)))
    return Members(tuple(terms), matrix)


def one_gene_per_symbol(symbols: Sequence[str], mean_expression: Array) -> Array:
    """Return the positions of the genes to test: the most expressed one of those that share a symbol.

    Among equals the first. Genes without a symbol stay: they belong to no set, but to the background.
    """
    best: dict[str, int] = {}
    for i, symbol in enumerate(symbols):
        if symbol and (symbol not in best or mean_expression[i] > mean_expression[best[symbol]]):
            best[symbol] = i
    keep = [i for i, symbol in enumerate(symbols) if not symbol or best[symbol] == i]
    return np.array(keep, dtype=np.int64)

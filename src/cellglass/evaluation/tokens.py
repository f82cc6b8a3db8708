"""Concepts of gene tokens: how cells are seen through them, and how far each is no more than the gene of its token.

For a concept with activations a(t) over tokens t, each of a gene g(t), N tokens of G genes:

    between = sum over genes of n_g (mean of a over g's tokens)^2 - N (mean of a)^2
    total   = sum over tokens of a^2 - N (mean of a)^2
    share   = 1 - (1 - between / total) (N - 1) / (N - G)        (epsilon squared, Kelley 1935)

The share of the variance that the gene's own mean explains, corrected for what G means explain by chance: 1 for a
feature that says which gene the token is, 0 where genes do not matter. Sums are kept batch by batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from cellglass.activations.store import Store
from cellglass.attribution.pooled import max_pooled
from cellglass.dictionaries.base import Dictionary
from cellglass.evaluation.metric import Metric

Array = np.ndarray[Any, Any]
_CELLS = 256


class TokenCells:
    """The cells of a store, seen through the sample of gene tokens that it keeps of each; a `CellView`.

    Parameters
    ----------
    store : Store
    site : str
        With one row for each gene of a cell.
    """

    def __init__(self, store: Store, site: str) -> None:
        self.rows = store.rows(site)
        self.n_cells = store.n_cells
        self.start = np.searchsorted(self.rows.cells(), np.arange(self.n_cells + 1))

    def tokens(self, cells: Array) -> tuple[Array, Array]:
        """Return the rows of `cells`, and for each of them which of `cells` it belongs to, by position."""
        lengths = self.start[cells + 1] - self.start[cells]
        which = np.repeat(np.arange(len(cells)), lengths)
        first = np.cumsum(lengths) - lengths
        return self.start[cells][which] + np.arange(len(which)) - first[which], which

    def codes(self, dictionary: Dictionary, cells: Array) -> sp.csc_matrix:
        """Return activations max-pooled over the kept tokens of each cell, CSC (n, n_latents)."""
        pieces = []
        with torch.no_grad():
            for start in range(0, len(cells), _CELLS):
                some = cells[start : start + _CELLS]
                rows, which = self.tokens(some)
                codes = dictionary.encode(self.rows.read(rows)).to_csr()
                pieces.append(max_pooled(codes, which, len(some)))
        return sp.vstack(pieces, format="csc")

    def site(self, cells: Array) -> torch.Tensor:
        """Return the mean over the kept tokens of each cell, (n, width); 0 for a cell without any."""
        out = torch.zeros(len(cells), self.rows.width)
        for start in range(0, len(cells), _CELLS):
            some = cells[start : start + _CELLS]
            rows, which = self.tokens(some)
            sums = torch.zeros(len(some), self.rows.width).index_add_(0, torch.from_numpy(which), self.rows.read(rows))
            number = torch.from_numpy(np.bincount(which, minlength=len(some))).clamp_min(1)
            out[start : start + _CELLS] = sums / number[:, None]
        return out


def identity_metric(shares: Array, null: Array | None, n: int) -> list[Metric]:
    """Return ``tokens.gene_identity``, the median over concepts of `shares`; `null` holds those of the neurons."""
    known = shares[~np.isnan(shares)]
    if not len(known):
        return []
    definition = (
        "Median over concepts of the share of the variance of a concept's activations over gene tokens that the mean "
        "of each gene explains (epsilon squared): 1 says which gene a token is, 0 does not depend on the gene. "
        "Null: the same of the site's own axes. n: tokens."
    )
    by_chance = np.zeros(0) if null is None else null[~np.isnan(null)]
    against = float(np.median(by_chance)) if len(by_chance) else None
    return [Metric("tokens.gene_identity", float(np.median(known)), None, against, n, definition)]


class GeneSums:
    """Sums over tokens, added up batch by batch: sparse, a number for each concept and gene on which it was active.

    Parameters
    ----------
    n_latents, n_genes : int
    """

    def __init__(self, n_latents: int, n_genes: int) -> None:
        self.n_latents, self.n_genes = n_latents, n_genes
        self.total = sp.csr_matrix((n_latents, n_genes), dtype=np.float64)
        self.active = sp.csr_matrix((n_latents, n_genes), dtype=np.float64)
        self.squares = np.zeros(n_latents)
        self.tokens = np.zeros(n_genes, dtype=np.int64)

    def add(self, codes: sp.csr_matrix, gene: Array) -> None:
        """Add the tokens of a batch.

        Parameters
        ----------
        codes : csr_matrix, shape (tokens, n_latents)
            Activations without stored zeros.
        gene : int, shape (tokens,)
        """
        which = sp.csr_matrix(
            (np.ones(len(gene)), (np.arange(len(gene)), gene)), shape=(len(gene), self.n_genes), dtype=np.float64
        )
        by_latent = codes.T.tocsr().astype(np.float64)
        self.total = self.total + by_latent @ which
        self.active = self.active + (by_latent > 0).astype(np.float64) @ which
        self.squares += np.asarray(by_latent.multiply(by_latent).sum(axis=1)).ravel()
        self.tokens += np.bincount(gene, minlength=self.n_genes)

    def merge(self, other: GeneSums) -> None:
        """Add the tokens that `other` has seen."""
        self.total, self.active = self.total + other.total, self.active + other.active
        self.squares += other.squares
        self.tokens += other.tokens

    def save(self, path: Path) -> None:
        """Write the sums as plain arrays."""
        arrays: dict[str, Any] = {"squares": self.squares, "tokens": self.tokens}
        for name in ("total", "active"):
            matrix = getattr(self, name)
            arrays |= {f"{name}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
        with path.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> GeneSums:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as kept:
            sums = cls(len(kept["squares"]), len(kept["tokens"]))
            sums.squares, sums.tokens = kept["squares"], kept["tokens"]
            for name in ("total", "active"):
                parts = tuple(kept[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
                setattr(sums, name, sp.csr_matrix(parts, shape=(sums.n_latents, sums.n_genes)))
        return sums

    def identity(self) -> Array:
        """Return, for each latent, the share of variance that gene identity explains; NaN where it never varies."""
        n, seen = int(self.tokens.sum()), self.tokens > 0
        groups = int(seen.sum())
        sums = np.asarray(self.total.sum(axis=1)).ravel()
        weights = np.divide(1.0, self.tokens, out=np.zeros(self.n_genes), where=seen)
        centre = np.square(sums) / max(n, 1)
        between = np.asarray(self.total.multiply(self.total) @ weights).ravel() - centre
        total = self.squares - centre
        if n <= groups:
            return np.full(self.n_latents, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = 1 - (1 - between / total) * (n - 1) / (n - groups)
        return np.where(total > 1e-12 * np.maximum(self.squares, 1e-300), np.clip(share, 0, 1), np.nan)

    def table(self) -> pd.DataFrame:
        """Return one row for each concept and gene on whose tokens it is active.

        Returns
        -------
        pandas.DataFrame
            ``concept``, ``gene`` (positions); ``mean``, its mean activation over the gene's tokens; ``active``, the
            share of them on which it is active; ``part``, the gene's share of all the concept's activation; ``n``, the
            gene's tokens. Sorted by concept and falling `part`.
        """
        found = self.total.tocoo()
        concept, gene = found.row.astype(np.int32), found.col.astype(np.int64)
        n = self.tokens[gene]
        sums = np.asarray(self.total.sum(axis=1)).ravel()
        active = np.asarray(self.active[concept, gene]).ravel()
        table = pd.DataFrame({
            "concept": concept,
            "gene": gene,
            "mean": (found.data / n).astype(np.float32),
            "active": (active / n).astype(np.float32),
            "part": (found.data / sums[concept]).astype(np.float32),
            "n": n.astype(np.int32),
        })  # fmt: skip
        return table.sort_values(["concept", "part", "gene"], ascending=[True, False, True], ignore_index=True)

"""What every part of cellglass means by *cells*: raw counts, gene ids, metadata. Knows nothing of models.

Counts are CSR float32 with sorted indices, non-negative integers, no stored zeros; their arrays may lie in memory or be
memory-mapped from disk (see ``store.py``), so that a large file does not have to fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.cells.obs import safe_name
from cellglass.errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData

_ENTRIES = 1 << 22


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells with their raw counts.

    Attributes
    ----------
    counts : scipy.sparse.csr_matrix of float32, shape (n_cells, n_genes)
        Raw counts (UMIs or reads): integers >= 0.
    genes : pandas.DataFrame
        One row for each column of `counts`; the index holds unique gene ids (symbols, or Ensembl ids without
        version), the column ``symbol`` the symbol to show and to match with gene sets.
    obs : pandas.DataFrame
        One row for each cell; the index holds unique cell names.
    obsm : mapping of str to numpy.ndarray
        Matrices with one row for each cell, such as an embedding.
    source : str
        Where the counts came from, such as ``"my.h5ad, layers['counts']"``.
    """

    counts: sp.csr_matrix
    genes: pd.DataFrame
    obs: pd.DataFrame
    obsm: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    source: str = "memory"

    def __post_init__(self) -> None:
        if self.counts.shape != (len(self.obs), len(self.genes)):
            raise InputError(
                f"{self.source}: counts have shape {self.counts.shape}, but there are {len(self.obs)} cells in obs "
                f"and {len(self.genes)} genes"
            )
        if "symbol" not in self.genes:
            raise InputError(f"{self.source}: the genes table has no column 'symbol'; add one (it may equal the index)")

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.counts.shape[0])

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return int(self.counts.shape[1])

    @property
    def has_counts(self) -> bool:
        """Whether there are raw counts: an embedding is explained without, and then there are no genes either."""
        return self.n_genes > 0

    @property
    def symbols(self) -> np.ndarray[Any, Any]:
        """Gene symbols in the order of the columns."""
        return self.genes["symbol"].to_numpy(dtype=object)

    @cached_property
    def totals(self) -> np.ndarray[Any, Any]:
        """The total count of each cell, float64 (n_cells,)."""
        return np.asarray(self.counts.sum(axis=1), dtype=np.float64).ravel()

    @cached_property
    def gene_means(self) -> np.ndarray[Any, Any]:
        """The mean count of each gene, float64 (n_genes,); taken block by block, since counts may lie on disk."""
        sums, counts = np.zeros(self.n_genes), self.counts
        for start in range(0, len(counts.indices), _ENTRIES):
            part = slice(start, start + _ENTRIES)
            sums += np.bincount(counts.indices[part], weights=counts.data[part], minlength=self.n_genes)
        return sums / max(1, self.n_cells)

    def __len__(self) -> int:
        return self.n_cells

    def __getitem__(self, rows: slice | Sequence[int] | np.ndarray[Any, Any]) -> Cells:
        """Return the given cells (positions, mask or slice), copied into memory."""
        if isinstance(rows, int | np.integer):
            raise TypeError("cells take a slice, positions or a mask; for one cell write cells[i : i + 1]")
        rows = rows if isinstance(rows, slice) else np.asarray(rows)
        return replace(
            self,
            counts=self.counts[rows],
            obs=self.obs.iloc[rows],
            obsm={key: value[rows] for key, value in self.obsm.items()},
        )

    def select_genes(self, positions: Sequence[int] | np.ndarray[Any, Any]) -> Cells:
        """Return the same cells with only the genes at `positions`, in that order."""
        positions = np.asarray(positions)
        counts = self.counts[:, positions].tocsr()
        counts.sort_indices()
        return replace(self, counts=counts, genes=self.genes.iloc[positions])

    def with_counts(self, counts: sp.csr_matrix) -> Cells:
        """Return the same cells with other counts, such as after a swap."""
        return replace(self, counts=counts)

    def column(self, name: str) -> pd.Series[Any]:
        """Return a column of `obs` by its name, or by the one that a folder can hold (`cellglass.cells.obs.safe_name`).

        InputError names the columns that there are.
        """
        if name not in self.obs and safe_name(name) in self.obs:
            name = safe_name(name)
        if name not in self.obs:
            held = ", ".join(map(str, self.obs)) or "none"
            raise InputError(f"{self.source}: there is no obs column {name!r}; the columns are: {held}")
        return self.obs[name]

    def to_anndata(self) -> AnnData:
        """Return an AnnData with the counts in ``X``."""
        from anndata import AnnData

        return AnnData(X=self.counts.copy(), obs=self.obs.copy(), var=self.genes.copy(), obsm=dict(self.obsm))

    def __repr__(self) -> str:
        return f"Cells({self.n_cells} cells x {self.n_genes} genes from {self.source})"


CellsLike: TypeAlias = "Cells | AnnData"
"""What may be given wherever cells are; `cellglass.cells.as_cells` reads it."""

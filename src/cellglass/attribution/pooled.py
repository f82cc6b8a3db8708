"""Activations of gene tokens, max-pooled over the tokens of each cell, and the dictionary that reads them.

A dictionary on a site with one row for each gene of a cell has an activation for each (cell, gene). That of the cell is
their maximum: a(cell) = max over the genes g of the cell of a(cell, g), 0 for a cell without tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import scipy.sparse as sp
import torch

from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.errors import InputError

Array = np.ndarray[Any, Any]


def max_pooled(codes: sp.csr_matrix, cell: Array, n_cells: int) -> sp.csr_matrix:
    """Max-pool the activations of each latent over the tokens of each cell, CSR (n_cells, n_latents).

    Parameters
    ----------
    codes : csr_matrix, shape (tokens, n_latents)
        Activations, >= 0.
    cell : int, shape (tokens,)
        The cell of each token.
    n_cells : int
    """
    found = codes.tocoo()
    order = np.lexsort((found.data, found.col, cell[found.row]))
    row, col, value = cell[found.row][order], found.col[order], found.data[order]
    last = np.ones(len(row), dtype=bool)
    last[:-1] = (row[1:] != row[:-1]) | (col[1:] != col[:-1])
    return sp.csr_matrix((value[last], (row[last], col[last])), shape=(n_cells, codes.shape[1]), dtype=np.float32)


class Pooled(Dictionary):
    """The dictionary of the max-pooled site of `TokenConcepts`: each axis is a latent.

    Parameters
    ----------
    n_latents : int
    """

    kind: ClassVar[str] = "pooled"

    def __init__(self, n_latents: int) -> None:
        self.n_latents = self.d_in = self.d_out = n_latents

    def encode(self, x: torch.Tensor) -> Codes:
        """Return every activation."""
        return Codes(torch.arange(self.n_latents).expand(len(x), -1), x, self.n_latents)

    def decode(self, codes: Codes) -> torch.Tensor:
        """Return the activations again, float32 (n, n_latents)."""
        return torch.zeros(len(codes.values), self.n_latents).scatter_add_(1, codes.indices, codes.values)

    def preactivations(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activations: what they were before selection, max-pooling does not tell."""
        return x

    @property
    def directions(self) -> torch.Tensor:
        """The axes."""
        return torch.eye(self.n_latents)

    def activations_of(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Return ``x[i, latent[i]]``, float32 (n,)."""
        return x.gather(1, latent[:, None])[:, 0]

    def save(self, folder: Path) -> NoReturn:
        """Raise InputError: there is nothing to save."""
        raise InputError(f"{folder}: the dictionary of a max-pooled site holds nothing to save")

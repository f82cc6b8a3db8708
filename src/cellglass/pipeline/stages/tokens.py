"""What stages do otherwise where the site has one row for each gene of a cell. Writes nothing.

The dictionary learns from a sample of each cell's gene tokens. Its concepts are then read on all tokens of all cells,
batch by batch: of each cell the largest and the mean activation are kept, of each gene sums over its tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cellglass.progress import Progress

if TYPE_CHECKING:
    from cellglass.cells import Cells
    from cellglass.dictionaries.base import Dictionary
    from cellglass.evaluation.tokens import GeneSums
    from cellglass.models.base import CellModel

_CELLS = 256


class TokenCodes(NamedTuple):
    """The codes of some cells' gene tokens.

    Attributes
    ----------
    largest, means : scipy.sparse.csc_matrix, (n_cells, n_latents)
        Largest and mean activation of each latent over the tokens of each cell.
    sums : GeneSums
        Sums over the tokens of each gene.
    """

    largest: sp.csc_matrix
    means: sp.csc_matrix
    sums: GeneSums


def encode_tokens(
    model: CellModel, cells: Cells, site: str, dictionary: Dictionary, which: range, progress: Progress
) -> TokenCodes:
    """Return the codes of the cells at the positions `which`, which follow each other."""
    import torch

    from cellglass.attribution.pooled import max_pooled
    from cellglass.evaluation.tokens import GeneSums

    sums = GeneSums(dictionary.n_latents, len(model.genes))
    largest, means = [], []
    with torch.no_grad():
        for start in range(which.start, which.stop, _CELLS):
            progress("encode gene tokens", start, cells.n_cells)
            some = model.align(cells[start : min(start + _CELLS, which.stop)])
            rows = model.token_activations(some, [site])[site]
            codes = dictionary.encode(rows.values).to_csr()
            sums.add(codes, rows.gene)
            largest.append(max_pooled(codes, rows.cell, some.n_cells))
            means.append(_mean_of_cells(codes, rows.cell, some.n_cells))
    progress("encode gene tokens", which.stop, cells.n_cells)
    most, mean = (sp.vstack(parts, format="csc", dtype=np.float32) for parts in (largest, means))
    return TokenCodes(most, mean, sums)


def _mean_of_cells(codes: sp.csr_matrix, cell: np.ndarray[Any, Any], n_cells: int) -> sp.csr_matrix:
    """Return the mean activation of each latent over the tokens of each cell, CSR (n_cells, n_latents)."""
    tokens = np.bincount(cell, minlength=n_cells)
    weight = 1.0 / tokens[cell]
    gather = sp.csr_matrix((weight, (cell, np.arange(len(cell)))), shape=(n_cells, len(cell)))
    return sp.csr_matrix(gather @ codes, dtype=np.float32)


def upper_half(codes: sp.csc_matrix) -> sp.csc_matrix:
    """Return `codes` without what does not exceed the concept's median over all cells.

    Among a cell's hundreds of tokens most concepts find one that they answer to, so that no cell would be without: a
    cell counts as having the concept if it has more of it than half of the cells, or, of a rarer one, any.
    """
    kept = codes.copy()
    n_cells = codes.shape[0]
    for latent in range(codes.shape[1]):
        column = slice(kept.indptr[latent], kept.indptr[latent + 1])
        values = kept.data[column]
        if 2 * len(values) > n_cells:
            rest = np.zeros(n_cells - len(values), dtype=values.dtype)
            values[values <= np.median(np.concatenate([rest, values]))] = 0
    kept.eliminate_zeros()
    return kept

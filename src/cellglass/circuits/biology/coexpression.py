"""The rival that knows no model: how far two genes rise and fall together over cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from cellglass.cells.cells import Cells
from cellglass.errors import InputError

Array = np.ndarray[Any, Any]

METHODS = ("spearman", "pearson")


def coexpression(cells: Cells, genes: Sequence[str], method: str = "spearman") -> pd.DataFrame:
    """Return the correlation between genes over cells, of log(1 + 10^4 count / all counts of the cell).

    Memory is cells times `genes`.

    Parameters
    ----------
    cells
        With raw counts, three at least.
    genes
        Symbols; of a symbol that stands for several genes the counts are added up.
    method
        ``"spearman"`` or ``"pearson"``.

    Returns
    -------
    pandas.DataFrame
        Genes by genes. NaN of a gene that does not vary, or that the cells do not have.
    """
    if method not in METHODS:
        raise InputError(f"co-expression is not measured by {method!r}; choose of {', '.join(METHODS)}")
    if cells.n_cells < 3:
        raise InputError(f"{cells.source}: co-expression needs three cells at least; {cells.n_cells} were given")
    total = np.maximum(cells.totals, 1)
    place = {gene: i for i, gene in enumerate(genes)}
    values = np.zeros((cells.n_cells, len(genes)))
    columns = [(i, place[symbol]) for i, symbol in enumerate(cells.symbols.tolist()) if symbol in place]
    if columns:
        own, to = (np.array(part) for part in zip(*columns, strict=True))
        np.add.at(values.T, to, cells.counts[:, own].toarray().T)
    values = np.log1p(1e4 * values / total[:, None])
    if method == "spearman":
        values = rankdata(values, axis=0)
    values -= values.mean(axis=0)
    size = np.linalg.norm(values, axis=0)
    values /= np.where(size > 1e-12, size, np.nan)
    return pd.DataFrame(np.clip(values.T @ values, -1, 1), index=list(genes), columns=list(genes))

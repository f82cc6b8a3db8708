"""Genes of cells in a vocabulary of symbols: which is which, how many are unknown, and the counts in its order.

The vocabulary may hold 60,000 genes and the cells 700: nothing here is dense, and nothing is looked up gene by gene of
the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.cells.cells import Cells
from cellglass.cells.genes import GeneMap
from cellglass.errors import InputError
from cellglass.models.coverage import GeneCoverage
from cellglass.models.transformer.tokens import Ints


class GeneMatch(NamedTuple):
    """How the genes of some cells meet a model's.

    Attributes
    ----------
    target : numpy.ndarray of int64, (n_cell_genes,)
        The model's gene for each gene of the cells, -1 where it has none.
    coverage : GeneCoverage
    """

    target: Ints
    coverage: GeneCoverage


def genes_of(vocab: Mapping[str, int]) -> list[str]:
    """Return the tokens that are genes, in the order of the vocabulary: all but those like ``<cls>``."""
    return [token for token in vocab if not (token.startswith("<") and token.endswith(">"))]


def match_genes(cells: Cells, genes: pd.Index[Any]) -> GeneMatch:
    """Say which of `genes` each gene of `cells` is: by its id, else by its symbol.

    A symbol counts only where no other gene of the cells has it as its id. Several genes may have one target.
    """
    target = genes.get_indexer(cells.genes.index).astype(np.int64)
    by_symbol = genes.get_indexer(pd.Index(cells.symbols)).astype(np.int64)
    by_symbol[np.isin(by_symbol, target)] = -1
    target = np.where(target < 0, by_symbol, target)
    found = len(np.unique(target[target >= 0]))
    return GeneMatch(target, GeneCoverage(found, len(genes) - found, int((target < 0).sum())))


def check_known(cells: Cells, found: GeneMatch) -> None:
    """Raise InputError if the model knows none of the genes of `cells`."""
    if not found.coverage.found:
        shown = ", ".join(repr(str(gene)) for gene in cells.genes.index[:2])
        raise InputError(
            f"{cells.source}: none of the {cells.n_genes} genes (such as {shown}) is in the model's vocabulary of "
            "symbols; read the cells so that their genes have symbols"
        )


def in_order(cells: Cells, found: GeneMatch, table: pd.DataFrame) -> Cells:
    """Return `cells` with the genes of `table`; genes with one target are summed, unknown ones left out.

    Raises
    ------
    InputError
        If all are unknown.
    """
    check_known(cells, found)
    counts = GeneMap(found.target, table).apply(cells.counts)
    return Cells(counts, table, cells.obs, cells.obsm, cells.source)

"""How the genes of some cells meet a model's: counted for every model, warned about, and refused below a floor.

A model with a fixed input (scVI, a module of one's own) reads each gene that the cells lack as count 0, so all of its
genes are expected. A transformer reads the genes that are there; its vocabulary may hold 60,000, most of which no
protocol counts, so of those `MOST_EXPECTED` are expected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from cellglass.errors import InputError, listed

if TYPE_CHECKING:
    from cellglass.cells.cells import Cells
    from cellglass.models.base import CellModel

MOST_EXPECTED = 20_000
"""About the protein-coding genes of man and mouse: of a larger vocabulary this many genes are expected in the cells."""
WARNED = 0.8
"""Share of the expected genes, or of a vocabulary's share of the cells' counts, below which a line says so."""
FLOOR, ENOUGH = 0.05, 200
"""Fewer than this share of the expected genes are refused, unless there are `ENOUGH`, the genes that the usual quality
control asks of one cell. Measured on scVI: the latents correlate with those from all genes at 0.98 with four genes in
five and at 0.57 with one in twenty, where less than a third of their variance is what the model means (docs/models.md).
"""


class GeneCoverage(NamedTuple):
    """How the genes of some cells meet the model's.

    Attributes
    ----------
    found : int
        Genes of the model that the cells have.
    missing : int
        Genes of the model that the cells lack: they count 0.
    unknown : int
        Genes of the cells that the model does not know: they are not read.
    """

    found: int
    missing: int
    unknown: int


def coverage_of(cells: Cells, n_genes: int, align: Callable[[Cells], Cells]) -> GeneCoverage:
    """Count how the genes of `cells` meet the `n_genes` that `align` puts them into, by adding columns up.

    One cell that counts 1 in each gene is aligned: a gene of the model that some gene of the cells went to counts
    something, and the sum is how many went anywhere.
    """
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

    from cellglass.cells.cells import Cells

    ones = sp.csr_matrix(np.ones((1, cells.n_genes), np.float32))
    came = align(Cells(ones, cells.genes, pd.DataFrame(index=["all"]), source=cells.source)).counts.data
    return GeneCoverage(len(came), n_genes - len(came), cells.n_genes - int(came.sum()))


def expected(model: CellModel) -> int:
    """Return how many of the model's genes usual cells should have."""
    return min(len(model.genes), MOST_EXPECTED) if model.vocabulary else len(model.genes)


def refuse_few(model: CellModel, cells: Cells, found: GeneCoverage) -> None:
    """Raise InputError where so few of the model's genes are found that it sees next to nothing of the cells."""
    wanted = expected(model)
    floor = min(FLOOR * wanted, ENOUGH)
    if found.found < floor:
        raise InputError(
            f"{cells.source}: only {found.found:,} of the {model.kind} model's {len(model.genes):,} genes "
            f"({_such_as(model.genes)}) are among the {cells.n_genes:,} of the cells ({_such_as(cells.genes.index)}), "
            f"and at least {floor:,.0f} are needed; is it another species or another kind of id (--gene-ids COLUMN)?"
        )


def concern(model: CellModel, found: GeneCoverage, counts: float) -> str | None:
    """Return in a line what is little, of the model's genes or of the cells' counts; None where nothing is.

    Parameters
    ----------
    model : CellModel
    found : GeneCoverage
    counts : float
        Share of the cells' counts that lie in the model's genes.
    """
    share = found.found / max(1, expected(model))
    if share < WARNED:
        absent = "are not read" if model.vocabulary else "count 0"
        return (
            f"only {found.found:,} of the {model.kind} model's {len(model.genes):,} genes are in the cells, the others "
            f"{absent}: concepts may describe what is missing"
        )
    if model.vocabulary and counts < WARNED:
        return (
            f"only {counts:.0%} of the cells' counts lie in genes that the {model.kind} model knows; "
            f"{found.unknown:,} genes of the cells are not read"
        )
    return None


def _such_as(genes: Any) -> str:
    return f"such as {listed([str(gene) for gene in genes[:2]])}"

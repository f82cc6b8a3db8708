"""What a method of attribution is to the runner: its facts, and what it is asked for. Imports neither torch nor pandas.

A method gets a `Block`, a few concepts with their pairs of cells, and returns a table with one row for each concept and
gene that it measured. That is all that a method of another package needs:

    def rows(block, on):
        for concept, pairs in block.each():
            ...
        return pandas.DataFrame(...)  # concept, gene, effect, se, q, n, score

    ENTRY = Method("mine", "My method", "One gradient a pair.", ("activation",), rows, needs("path"))

One that changes counts of single genes names the changes (`Method.edits`) and finds their effects in `Block.changed`:
the changes of all such methods share their runs of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

    from cellglass.attribution.config import AttributionConfig
    from cellglass.attribution.edits import Edits
    from cellglass.attribution.work import Block
    from cellglass.cells.cells import Cells
    from cellglass.models.base import Capability, CellModel


def any_model(_model: CellModel, _cells: Cells, _site: str) -> None:
    """Say that any model can do it."""


def needs(what: Capability) -> Callable[[CellModel, Cells, str], str | None]:
    """Return the function that says why a model lacks `what`; see `CellModel.lacks`."""

    def possible(model: CellModel, _cells: Cells, site: str) -> str | None:
        return model.lacks(what, site)

    return possible


@dataclass(frozen=True)
class Method:
    """A method that finds the genes behind concepts.

    Attributes
    ----------
    name : str
        As in ``genes.parquet`` and in the configuration.
    title : str
        As people read it.
    cost : str
        What it costs, in one sentence.
    readouts : tuple of str
        What it can be read on: ``activation`` (after the dictionary's selection), ``preactivation`` (before it); or
        ``expression`` alone, for a method that does not ask the model.
    rows : callable, (Block, readout) -> pandas.DataFrame
        Columns ``concept``; ``gene`` (id); ``effect``; ``se`` and ``q``, NaN where there is none; ``n``, of how many
        pairs or cells; and ``score``, by which genes are ranked, largest first. A gene without a row was not measured.
    possible : callable, (CellModel, Cells, site) -> str or None
        Why the model cannot do it, in words; None where it can (see `needs`). By default any model can.
    without : str
        What is missing where it cannot, as a note says it: ``no path effects``. By default ``no TITLE``.
    counterfactual : bool
        Whether it runs the model on changed counts.
    edits : callable, Block -> (pandas.DataFrame, Edits), optional
        The single changes of counts that it asks for, and the rows (with columns of `Block.pairs`, sorted by concept)
        that ask.
    ranking : str, optional
        The readout on which its scores are shown as a ranking of genes and tested for pathways; None: on none.
    preference : int
        Where several methods rank genes, the one with the smallest number is shown.
    scale : {"normal", "raw"}
        How scores enter tests of gene sets: as normal scores of their ranks, or as they are (the t of a test).
    """

    name: str
    title: str
    cost: str
    readouts: tuple[str, ...]
    rows: Callable[[Block, str], pd.DataFrame]
    possible: Callable[[CellModel, Cells, str], str | None] = any_model
    without: str = ""
    counterfactual: bool = False
    edits: Callable[[Block], tuple[pd.DataFrame, Edits]] | None = None
    ranking: str | None = None
    preference: int = 5
    scale: Literal["normal", "raw"] = "normal"

    @property
    def asks_model(self) -> bool:
        """Whether it reads the model, and not the cells alone."""
        return self.readouts != ("expression",)

    def reads(self, config: AttributionConfig) -> tuple[str, ...]:
        """Return the readouts that it is run on: those asked for that it can be read on, or all of its own."""
        asked = config.on if self.counterfactual else config.path_on
        return tuple(on for on in dict.fromkeys(asked) if on in self.readouts) or self.readouts

    def impossible(self, model: CellModel, cells: Cells, site: str) -> str | None:
        """Return the note that says what is missing and why; None where the model can do it."""
        reason = self.possible(model, cells, site)
        return None if reason is None else f"{self.without or f'no {self.title}'}: {reason}"

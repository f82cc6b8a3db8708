"""One cell as it is asked about: model, question, the linear map on this input and what stands in the MLPs' place."""

from __future__ import annotations

from typing import NamedTuple

from cellglass.cells.cells import Cells
from cellglass.circuits.answers import Question, Target, frozen_cell, question
from cellglass.circuits.build import Answers
from cellglass.circuits.directions import placed
from cellglass.circuits.features import Replacement, StandIns, replace_mlps
from cellglass.circuits.linear_map import Frozen
from cellglass.models.transformer.model import TransformerModel
from cellglass.models.transformer.tokens import Ints


class Asked(NamedTuple):
    """What a circuit is found in, and tested on.

    Attributes
    ----------
    model : TransformerModel
    cell : Cells
        One, aligned to the model.
    question : Question
    frozen : Frozen
    replacement : Replacement
    answers : Answers
        What the frozen model is asked: one answer.
    target, against : str or Direction, and the same or None
        The question's words, in which it is asked of other cells.
    """

    model: TransformerModel
    cell: Cells
    question: Question
    frozen: Frozen
    replacement: Replacement
    answers: Answers
    target: Target
    against: Target | None


def ask(
    model: TransformerModel,
    cell: Cells,
    transcoders: StandIns,
    target: Target,
    against: Target | None = None,
    *,
    ties: Ints | None = None,
    scores: bool = False,
) -> Asked:
    """Return a cell with what is asked of it.

    Parameters
    ----------
    model
    cell
        One cell.
    transcoders
        One for each layer, or a cross-layer one.
    target, against, ties
        As of `cellglass.circuits.answers.question`.
    scores
        Keep queries and keys too, through which linear patterns pass.
    """
    cell = model.align(cell)
    target, against = _at_gene(model, cell, target), None if against is None else _at_gene(model, cell, against)
    made = question(model, cell, target, against, ties=ties)
    frozen = frozen_cell(model, made.tokens, scores=scores)
    return Asked(model, cell, made, frozen, replace_mlps(frozen, transcoders), made.ask(frozen), target, against)


def _at_gene(model: TransformerModel, cell: Cells, target: Target) -> Target:
    """Return what is asked with the place where it is asked, so that other cells are asked the same."""
    return target if isinstance(target, str) else placed(model, cell, target)

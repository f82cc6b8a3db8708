r"""What a change does to an answer of the real model: features scaled, counts set, and the same at random beside it.

    change = answer(changed) - answer(as it is)

Features are scaled while the model runs (``scaling.py``): attention, norms, later MLPs and the head answer. So a factor
of 0 takes a feature out, and 1 changes nothing. A count is set in the raw counts, and the cell is read anew.

Control. Of features: as much is added at every token, in random directions. Of a count: another gene is given that
count, one of the genes of nearest mean log(1 + count) in the cells that are tried. A draw is the same in all cells, so
that means over cells have a null too. Where random directions change the answer as much, the features mattered by the
size of what they write; `cellglass.circuits.ablate_group` compares with other features instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from cellglass.cells.cells import Cells
from cellglass.circuits.answers import Question, Target, each_states, gene_of, question
from cellglass.circuits.features import StandIns
from cellglass.circuits.scaling import ScaleFeatures, Scaling, answers_of, scaled_answers, turned_answers
from cellglass.errors import InputError, one_line
from cellglass.models.edits import edited_cells
from cellglass.models.transformer.model import TransformerModel
from cellglass.progress import Progress, silent
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

DRAWS = 20
_CELLS = 256  # whose counts are added up at once
_POOL = 2  # genes of like count to draw from, for each draw


@dataclass(frozen=True)
class SetCount:
    """A gene whose raw count is set.

    Attributes
    ----------
    gene : str
        Symbol or id, as the model has it.
    count : int
        0 takes it out; of a gene without a count, another number adds it.
    """

    gene: str
    count: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.count) and self.count >= 0 and self.count == int(self.count)):
            raise InputError(f"{self.gene}: a raw count is a whole number from 0 on, not {self.count}")


Change = ScaleFeatures | SetCount
"""What can be tried."""


class Tried(NamedTuple):
    """What a change does in one cell.

    Attributes
    ----------
    cell : str
        Its name.
    before, after : float
        The model's answer: the target, or the difference of target and what it is held against.
    control : numpy.ndarray of float64, (draws,)
        The answer with the same change at random; NaN where it cannot be asked.
    words : tuple of str
        What the model gives a probability to; see `cellglass.circuits.Question`.
    chances : numpy.ndarray of float64, (2 + draws, words)
        Their probabilities before, after and in each draw.
    touched : int
        Activations of features that are scaled, and counts that are changed; 0 where there was nothing to change.
    norm : float
        Length of all that was added to what MLPs write, in all layers and tokens; 0 of counts.
    """

    cell: str
    before: float
    after: float
    control: Array
    words: tuple[str, ...]
    chances: Array
    touched: int
    norm: float

    @property
    def change(self) -> float:
        """The answer after less before."""
        return self.after - self.before

    @property
    def share(self) -> float:
        """The share of draws whose change is at least as large, without sign; NaN without any."""
        return _share(self.change, self.control - self.before)


class TriedCells(NamedTuple):
    """What a change does in many cells.

    Attributes
    ----------
    n, touched : int
        Cells, and those of them in which there was something to change.
    before, after, change : float
        Means over cells.
    sd : float
        Of the change over cells; NaN of one.
    control : numpy.ndarray of float64, (draws,)
        The mean change in each draw.
    share : float
        The share of draws whose mean change is at least as large, without sign.
    words : tuple of str
    chances : numpy.ndarray of float64, (2 + draws, words)
        Mean probabilities before, after and in each draw.
    left_out : dict of str to str
        Cells that cannot be asked, and why.
    """

    n: int
    touched: int
    before: float
    after: float
    change: float
    sd: float
    control: Array
    share: float
    words: tuple[str, ...]
    chances: Array
    left_out: dict[str, str]


class LeftOut(NamedTuple):
    """A cell that cannot be asked, and why."""

    cell: str
    reason: str


def try_changes(
    model: TransformerModel,
    cell: Cells,
    transcoders: StandIns | None,
    target: Target,
    against: Target | None = None,
    *,
    changes: Sequence[Change],
    draws: int = DRAWS,
    seed: int = 0,
) -> Tried:
    """Return what a change does to the real model's answer about one cell.

    Parameters
    ----------
    model
    cell
        One cell, raw counts.
    transcoders
        One for each layer, or a cross-layer one; None where counts alone are set.
    target, against
        What is asked; see `cellglass.circuits.question`.
    changes
        Made together. Where two scale the same feature, both factors count.
    draws
        Of the control.
    seed
        Of the control.

    Raises
    ------
    InputError
        A feature or a gene that is not there, or a question that cannot be asked, of the cell or of the changed one.
    """
    if cell.n_cells != 1:
        raise InputError(f"one cell is tried at a time; {cell.n_cells} were given: use try_in_cells")
    (found,) = each_tried(model, cell, transcoders, target, against, changes=changes, draws=draws, seed=seed)
    if isinstance(found, LeftOut):
        raise InputError(found.reason)
    return found


def try_in_cells(
    model: TransformerModel,
    cells: Cells,
    transcoders: StandIns | None,
    target: Target,
    against: Target | None = None,
    *,
    changes: Sequence[Change],
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress = silent,
) -> TriedCells:
    """Return what a change does to the real model's answer over many cells, such as those of a class.

    Parameters
    ----------
    model, transcoders, target, against, changes, draws, seed
        As of `try_changes`.
    cells
        Raw counts; they may lie on disk.
    progress
        Told the cells that are done.

    Raises
    ------
    InputError
        A feature or a gene that is not there, or no cell that can be asked.
    """
    found = []
    for one in each_tried(model, cells, transcoders, target, against, changes=changes, draws=draws, seed=seed):
        found.append(one)
        progress("try in cells", len(found), cells.n_cells)
    return summed(found)


def each_tried(
    model: TransformerModel,
    cells: Cells,
    transcoders: StandIns | None,
    target: Target,
    against: Target | None = None,
    *,
    changes: Sequence[Change],
    draws: int = DRAWS,
    seed: int = 0,
) -> Iterator[Tried | LeftOut]:
    """Yield what `try_changes` says of each cell, with draws that are the same in all; whoever stops asking stops it.

    A cell that cannot be asked is left out with the reason. What is wrong with the changes is an InputError at the
    first cell.
    """
    if draws < 0:
        raise InputError(f"draws is {draws}; it must be at least 0")
    if not changes:
        raise InputError("nothing is changed; name a feature to scale or a count to set")
    counts = [one for one in changes if isinstance(one, SetCount)]
    scaling = Scaling.of(model, transcoders, [one for one in changes if isinstance(one, ScaleFeatures)])
    genes = np.array([gene_of(model, one.gene) for one in counts], dtype=np.int64)
    wanted = np.array([one.count for one in counts], dtype=np.float32)
    others = other_genes(model, cells, genes, draws, seed)
    for i in range(cells.n_cells):
        cell = model.align(cells[i : i + 1])
        name = str(cell.obs.index[0])
        try:
            own = question(model, cell, target, against)
            changed = question(model, _counted(cell, genes, wanted), target, against) if counts else own
        except InputError as error:
            yield LeftOut(name, one_line(error, 500))
            continue
        drawn: list[Question | None] = []
        for which in others:
            try:
                drawn.append(question(model, _counted(cell, which, wanted), target, against))
            except InputError:  # the gene that is asked about is the one that went
                drawn.append(None)
        answers, touched, norm = _answers(model, own, changed, drawn, scaling, draws, seed)
        touched += int((_counts_of(cell, genes) != wanted).sum())
        before, after = answers[:2, 0].tolist()
        yield Tried(name, before, after, answers[2:, 0], own.words, answers[:, 1:], touched, norm)


def _answers(
    model: TransformerModel, own: Question, changed: Question, drawn: Sequence[Question | None], scaling: Scaling,
    draws: int, seed: int,
) -> tuple[Array, int, float]:  # fmt: skip
    """Return answers and chances before, after and in each draw, (2 + draws, 1 + words); how many features; length.

    `drawn` are the cell with other genes' counts set, for each draw, where counts are set.
    """
    there = [number for number, one in enumerate(drawn) if one is not None]
    asked = [own, changed, *(one for one in drawn if one is not None)]
    values = np.full((2 + draws, 1 + len(own.words)), np.nan)
    if not scaling.scales:
        values[[0, 1, *(2 + number for number in there)]] = _together(model, asked)
        return values, 0, 0.0
    values[0] = _together(model, [own])
    values[1], added, touched = scaled_answers(model, changed, scaling)
    if not drawn:
        values[2:] = turned_answers(model, own, scaling, added, range(draws), seed)
    for number, one in zip(there, asked[2:], strict=True):
        values[2 + number] = turned_answers(model, one, scaling, scaled_answers(model, one, scaling)[1], [number], seed)
    return values, touched, float(np.sqrt(sum(float(one.double().square().sum()) for one in added.values())))


def _together(model: TransformerModel, asked: Sequence[Question]) -> Array:
    """Return answers and chances, (n, 1 + words); those that the model reads as the same tokens share one run."""
    first: dict[bytes, int] = {}
    alike: dict[int, list[int]] = {}
    for i, one in enumerate(asked):
        alike.setdefault(first.setdefault(_bytes_of(one), i), []).append(i)
    own, values = list(alike), np.empty((len(asked), 1 + len(asked[0].words)))
    for place, states in each_states(model, [asked[i] for i in own]):
        for i in alike[own[place]]:
            values[i] = answers_of(asked[i], states[None])
    return values


def _bytes_of(asked: Question) -> bytes:
    value = asked.tokens.value
    return np.asarray(asked.tokens.ids).tobytes() + (b"" if value is None else np.asarray(value).tobytes())


def summed(found: Iterable[Tried | LeftOut]) -> TriedCells:
    """Return means over cells; InputError where none could be asked."""
    found = list(found)
    left_out = {one.cell: one.reason for one in found if isinstance(one, LeftOut)}
    tried = [one for one in found if isinstance(one, Tried)]
    if not tried:
        first = next(iter(left_out.values()), "there are none")
        raise InputError(f"none of {len(found)} cells can be asked; of the first: {first}")
    changes = np.array([one.change for one in tried])
    control = _mean_of([one.control - one.before for one in tried])
    return TriedCells(
        len(tried),
        sum(one.touched > 0 for one in tried),
        float(np.mean([one.before for one in tried])),
        float(np.mean([one.after for one in tried])),
        float(changes.mean()),
        float(changes.std(ddof=1)) if len(changes) > 1 else float("nan"),
        control,
        _share(float(changes.mean()), control),
        tried[0].words,
        _mean_of([one.chances for one in tried]),
        left_out,
    )


def _mean_of(values: Sequence[Array]) -> Array:
    """Return the mean over cells, of those that are numbers; NaN where none is."""
    stacked = np.stack(values)
    there = np.isfinite(stacked)
    n = there.sum(0)
    total = np.where(there, stacked, 0).sum(0)
    return np.asarray(np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0))


def _share(change: float, control: Array) -> float:
    drawn = np.abs(control[np.isfinite(control)])
    return float((drawn >= abs(change)).mean()) if len(drawn) else float("nan")


# -- counts ------------------------------------------------------------------------------------------------------------


def _counted(cell: Cells, genes: Array, counts: Array) -> Cells:
    """Return one cell, under its name, with the counts of some genes set."""
    obs = cell.obs
    for gene, count in zip(genes.tolist(), counts.tolist(), strict=True):
        cell = edited_cells(cell, np.zeros(1, dtype=np.int64), np.array([gene]), np.array([count]))
    return replace(cell, obs=obs)


def _counts_of(cell: Cells, genes: Array) -> Array:
    return np.asarray(cell.counts[:, genes].toarray())[0] if len(genes) else np.zeros(0)


def other_genes(model: TransformerModel, cells: Cells, genes: Array, draws: int, seed: int) -> Array:
    """Return for each draw a gene in the place of each of `genes`, int64 (draws, genes); none where none is changed.

    They are drawn from the `_POOL` x `draws` genes of nearest mean log(1 + count), and those that are as near as the
    last; no gene stands for two.
    """
    if not len(genes):
        return np.empty((0, 0), dtype=np.int64)
    total = np.zeros(len(model.genes))
    for first in range(0, cells.n_cells, _CELLS):
        total += np.asarray(model.align(cells[first : first + _CELLS]).counts.log1p().sum(axis=0)).ravel()
    mean = total / max(cells.n_cells, 1)
    free = np.ones(len(mean), dtype=bool)
    free[genes] = False
    found = []
    for number, gene in enumerate(genes.tolist()):
        away = np.where(free, np.abs(mean - mean[gene]), np.inf)
        near = np.sort(away)[min(_POOL * draws, int(free.sum())) - 1] if draws and free.any() else np.inf
        pool = np.flatnonzero((away <= near) & free)
        if not len(pool):
            raise InputError("so many counts are changed that no gene is left to compare with; change fewer")
        drawn = generator(seed, "genes of like count", number).choice(pool, draws, replace=len(pool) < draws)
        free[drawn] = False
        found.append(drawn)
    return np.stack(found, axis=1).astype(np.int64)

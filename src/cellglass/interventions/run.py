"""Steering: some cells moved towards others by concepts, decoded to genes, beside the controls and the real change.

Both groups are halved. From one half of each come the shifts of the concepts, the choice of concepts, the mean
differences and the principal components; cells of the other half of the first group are moved, and scored against how
the other half of the second group differs from them. So no cell is used for choice and for score. The model and the
dictionary may have seen them all: they were trained on cells, without labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.activations.rows import Ints, Rows
from cellglass.cells.cells import Cells
from cellglass.dictionaries.base import Dictionary
from cellglass.dictionaries.baselines.pca import fit_pca
from cellglass.errors import InputError
from cellglass.interventions.apply import check_decodes, decoded_changes, real_change
from cellglass.interventions.contrast import Contrast
from cellglass.interventions.controls import ways
from cellglass.interventions.edits import Edit
from cellglass.interventions.scores import Scores, score
from cellglass.models.base import CellModel
from cellglass.progress import Progress, silent
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

DOSES = (0.0, 0.25, 0.5, 1.0, 2.0)
FEWEST_CELLS = 10
"""Cells that a group needs."""


class Subject(NamedTuple):
    """What is steered.

    Attributes
    ----------
    model : CellModel
        Decodes from `site`.
    site : str
        With one row for each cell.
    rows : Rows
        Activations at the site, row i of cell i.
    dictionary : Dictionary
        Of the site.
    cells : Cells
        Aligned to the model.
    """

    model: CellModel
    site: str
    rows: Rows
    dictionary: Dictionary
    cells: Cells


class Halves(NamedTuple):
    """Cells by position: those that are learnt from and those that are scored, of the first group and the second."""

    learn_from: Ints
    learn_to: Ints
    score_from: Ints
    score_to: Ints


def halves(a: Ints, b: Ints, seed: int) -> Halves:
    """Return two groups of cells, each halved at random.

    Raises
    ------
    InputError
        If a group has fewer than 10 cells, or they share cells.
    """
    if min(len(a), len(b)) < FEWEST_CELLS:
        raise InputError(f"the groups have {len(a)} and {len(b)} cells; each needs {FEWEST_CELLS}")
    both = np.intersect1d(a, b)
    if len(both):
        raise InputError(f"{len(both)} cells are in both groups; name groups that share none")
    drawn = [generator(seed, "halves", side).permutation(part) for side, part in enumerate((a, b))]
    cut = [len(part) // 2 for part in drawn]
    learn, rest = zip(*((np.sort(p[:n]), np.sort(p[n:])) for p, n in zip(drawn, cut, strict=True)), strict=True)
    return Halves(learn[0], learn[1], rest[0], rest[1])


def predicted(
    subject: Subject,
    chosen: Ints,
    edits: Sequence[Edit],
    found: Contrast | None,
    learnt: Ints,
    *,
    doses: Sequence[float] = DOSES,
    draws: int = 10,
    seed: int = 0,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Return the predicted change of every gene in every way and at every dose.

    Parameters
    ----------
    subject : Subject
    chosen : int64, (n,)
        Cells that are moved.
    edits : sequence of Edit
    found : Contrast or None
        Its difference is moved along as a control.
    learnt : int64, (m,)
        Cells that the principal components are fitted to: as many as concepts are edited, at most half of the width
        of the site.
    doses : sequence of float
        At least 0; 1 is the edits as they are.
    draws : int
        Of random concepts and of random directions.
    seed : int

    Returns
    -------
    pandas.DataFrame
        One row for each way, draw and dose: ``way``, ``draw``, ``dose``, ``moved`` (mean length of what is added to a
        cell), and ``change``, float64 (n_genes,), of the mean expression; see `cellglass.interventions.apply`.

    Raises
    ------
    InputError
        If the model does not decode from the site, or a dose, a number of draws or an edit cannot be.
    """
    doses = list(dict.fromkeys(float(dose) for dose in doses))
    if not doses or min(doses) < 0 or not np.isfinite(doses).all():
        raise InputError(f"doses are {doses}; give numbers of 0 or more, such as 0.5, 1 and 2")
    if draws < 1:
        raise InputError(f"draws is {draws}; it must be at least 1")
    check_decodes(subject.model, subject.site)
    components = None if found is None else _components(subject, learnt, sum(len(one.latents) for one in edits))
    every = list(ways(subject.dictionary, edits, found, components, draws=draws, seed=seed))
    change, moved = decoded_changes(
        subject.model, subject.site, subject.rows, subject.cells, chosen, every, doses, progress=progress
    )
    rows = [
        (way.name, way.draw, dose, moved[i, j], change[i, j])
        for i, way in enumerate(every)
        for j, dose in enumerate(doses)
        if way.name != "none" or j == len(doses) - 1
    ]
    return pd.DataFrame(rows, columns=["way", "draw", "dose", "moved", "change"])


def with_expression(table: pd.DataFrame, subject: Subject, a: Ints, b: Ints) -> pd.DataFrame:
    """Return the table of `predicted` with one more way: the change of expression from cells `a` to cells `b`.

    It needs no model, and is the rival that a model has to beat. Where a and b are of the kind that is scored, it is
    also the ceiling: how far two halves of the cells agree.
    """
    row = {"way": "expression", "draw": 0, "dose": 1.0, "moved": np.nan, "change": real_change(subject.cells, a, b)}
    return pd.concat([table, pd.DataFrame([row])], ignore_index=True)


def scored(table: pd.DataFrame, real: Array) -> pd.DataFrame:
    """Return the scores of each way and dose: mean over draws, and their standard deviation (``pearson_sd``)."""
    found = [Scores(*score(change, real)) for change in table["change"]]
    scores = pd.DataFrame(found, columns=list(Scores._fields))
    each = pd.concat([table[["way", "dose", "moved"]], scores], axis=1)
    by = each.groupby(["way", "dose"], sort=False)
    return by.mean().assign(pearson_sd=by["pearson"].std(), draws=by.size()).reset_index()


def genes_table(table: pd.DataFrame, subject: Subject, real: Array | None) -> pd.DataFrame:
    """Return one row for each way, dose and gene: ``predicted`` (mean over draws), ``sd`` over draws, ``real``.

    The genes that change most by concepts at dose 1 (or the largest dose) come first.
    """
    order = _order(table)
    genes, symbols = subject.cells.genes.index.to_numpy(dtype=object), subject.cells.symbols
    frames = []
    for way, dose, mean, sd in _averages(table):
        frame = {"way": way, "dose": dose, "gene": genes[order], "symbol": symbols[order], "predicted": mean[order]}
        frames.append(
            pd.DataFrame(
                {**frame, "sd": sd[order], "real": np.full(len(order), np.nan) if real is None else real[order]}
            )
        )
    return pd.concat(frames, ignore_index=True)


def _averages(table: pd.DataFrame) -> Iterator[tuple[str, float, Array, Array]]:
    for way, dose in table[["way", "dose"]].drop_duplicates().itertuples(index=False, name=None):
        values = np.stack(list(table.loc[(table["way"] == way) & (table["dose"] == dose), "change"]))
        sd = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)
        yield str(way), float(dose), values.mean(axis=0), sd


def _order(table: pd.DataFrame) -> Array:
    own = table[table["way"] == "concepts"]
    at = own[own["dose"] == 1.0] if (own["dose"] == 1.0).any() else own[own["dose"] == own["dose"].max()]
    order: Array = np.argsort(-np.abs(at["change"].iloc[0]), kind="stable")
    return order


def _components(subject: Subject, learnt: Ints, count: int) -> Array:
    """Return the first principal components of the site in some cells, each of length 1, (k, d)."""
    k = max(1, min(count, subject.rows.width // 2))
    axes: Array = fit_pca(subject.rows, np.sort(learnt), k).analysis.double().numpy()
    return axes

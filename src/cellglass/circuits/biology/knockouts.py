r"""What genes do to an answer, beside knock-outs: in the model, and real ones where the cells have them.

    effect     mean over cells of the total effect of the gene's tokens on the answer
    deletion   mean over the same cells of answer(cell) - answer(cell whose count of the gene is 0), in the model
    observed   mean answer of control cells - mean answer of the cells in which the gene was perturbed

All are positive where the gene speaks for the answer. Where cells are perturbed, effects and deletions are of control
cells, and the mean answer of control is of other control cells, so that no noise is shared. Agreement is Spearman's
correlation over genes, with a one-sided p over permutations of genes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.cells.cells import Cells
from cellglass.circuits.answers import model_symbols, question, real_values
from cellglass.circuits.asked import ask
from cellglass.circuits.biology.match import DRAWS
from cellglass.circuits.biology.nulls import agreement, check_draws
from cellglass.circuits.features import StandIns
from cellglass.circuits.genes import rank_genes
from cellglass.errors import InputError, listed
from cellglass.models.transformer.model import TransformerModel
from cellglass.progress import Progress, silent
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

CONTROLS = (
    "control",
    "ctrl",
    "non-targeting",
    "non_targeting",
    "nontargeting",
    "nt",
    "unperturbed",
    "negative control",
)
"""What control cells are called, in any case."""
_AT_ONCE = 64


class Knockouts(NamedTuple):
    """Effects of genes on an answer beside knock-outs.

    Attributes
    ----------
    genes : pandas.DataFrame
        Index ``gene``; ``effect``, ``deletion``, ``n`` (cells that they are means of), and where cells are perturbed
        ``observed`` and ``perturbed`` (cells). By falling size of effect.
    scores : pandas.DataFrame
        Index ``of``: ``effect and deletion``, ``effect and observed``, ``deletion and observed``; ``spearman``, ``p``,
        ``genes``. Blank of fewer than three genes.
    left_out : list of str
        Perturbations that are of no gene of the model, such as of two genes at once.
    """

    genes: pd.DataFrame
    scores: pd.DataFrame
    left_out: list[str]


def against_knockouts(
    model: TransformerModel,
    cells: Cells,
    transcoders: StandIns,
    target: str,
    against: str | None = None,
    *,
    perturbation: str | None = None,
    control: str | None = None,
    n_cells: int = 5,
    n_perturbed: int = 50,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress = silent,
) -> Knockouts:
    """Return what genes do to an answer, beside what the answer loses without them.

    Parameters
    ----------
    model, transcoders
        As of `gene_edges`.
    cells
        With raw counts.
    target, against
        What is asked; see `cellglass.circuits.question`.
    perturbation
        Column of obs with the gene that was perturbed in each cell, or what control cells are called.
    control
        What they are called; without it, one of the usual names.
    n_cells
        That effects and deletions are means of; every gene that the model reads costs a pass for each.
    n_perturbed
        Most cells of one perturbation, and of control, that are asked.
    draws
        Permutations.
    seed
    progress
        Told the cells, and the perturbations, that are done.

    Raises
    ------
    InputError
        A question that no cell can be asked, no such column, no control cell, or fewer than two of them.
    """
    check_draws(draws)
    for name, number in (("n_cells", n_cells), ("n_perturbed", n_perturbed)):
        if number < 1:
            raise InputError(f"{name} is {number}; it must be at least 1")
    rng = generator(seed, "knock-outs")
    own = rng.permutation(cells.n_cells)
    sets: dict[str, Array] = {}
    left_out: list[str] = []
    if perturbation is not None:
        own, sets, left_out = _perturbed(model, cells, perturbation, control, rng)
        n_cells = min(n_cells, len(own) // 2)
    table = _effects(model, cells, own[:n_cells], transcoders, target, against, progress)
    columns = [("effect", "deletion")]
    if perturbation is not None:
        base = _answers(model, cells, own[n_cells:][:n_perturbed], target, against)
        if not len(base):
            raise InputError(f"{cells.source}: no control cell beside the first can be asked {target!r}; ask another")
        means = {}
        for done, (gene, where) in enumerate(sets.items(), 1):
            values = _answers(model, cells, where[:n_perturbed], target, against)
            means[gene] = (base.mean() - values.mean() if len(values) else np.nan, len(values))
            progress("ask perturbed cells", done, len(sets))
        more = pd.DataFrame.from_dict(means, orient="index", columns=["observed", "perturbed"])
        table = table.join(more)
        table["perturbed"] = table["perturbed"].fillna(0).astype(int)
        columns += [("effect", "observed"), ("deletion", "observed")]
    rows = {
        f"{a} and {b}": agreement(table[a].to_numpy(), table[b].to_numpy(), draws, generator(seed, "permuted genes"))
        for a, b in columns
    }
    scores = pd.DataFrame.from_dict(rows, orient="index", columns=["spearman", "p", "genes"]).rename_axis("of")
    return Knockouts(table, scores, left_out)


def _effects(
    model: TransformerModel, cells: Cells, where: Iterable[int], transcoders: StandIns, target: str,
    against: str | None, progress: Progress,
) -> pd.DataFrame:  # fmt: skip
    """Return means of effects and deletions over cells, by falling size of effect."""
    where, found, reason = list(where), [], ""
    for done, i in enumerate(where, 1):
        try:
            one = ask(model, cells[[i]], transcoders, target, against)
        except InputError as error:
            reason = reason or str(error)
            continue
        found.append(rank_genes(one, columns=("total", "deletion")).effects)
        progress("delete genes", done, len(where))
    if not found:
        raise InputError(f"none of {len(where)} cells can be asked; of the first: {reason}")
    both = pd.concat(found).groupby(level="gene", sort=False)
    table = both.mean().rename(columns={"total": "effect"}).assign(n=both.size())
    return table.iloc[np.argsort(-table["effect"].abs().to_numpy(), kind="stable")]


def _answers(model: TransformerModel, cells: Cells, where: Array, target: str, against: str | None) -> Array:
    """Return what the model answers of cells; those that cannot be asked are left out."""
    found = []
    for start in range(0, len(where), _AT_ONCE):
        questions = []
        for i in where[start : start + _AT_ONCE]:
            try:
                questions.append(question(model, model.align(cells[[int(i)]]), target, against))
            except InputError:  # the gene that is asked about is not read in this cell
                continue
        found.append(real_values(model, questions))
    return np.concatenate(found) if found else np.zeros(0)


def _perturbed(
    model: TransformerModel, cells: Cells, column: str, control: str | None, rng: np.random.Generator
) -> tuple[Array, dict[str, Array], list[str]]:
    """Return control cells, the cells of each perturbed gene, all in drawn order, and values that are no gene."""
    values = cells.column(column)
    words = values.astype(str).where(values.notna(), "").to_numpy(dtype=object)
    known = sorted(set(words.tolist()) - {""})
    named = [word for word in known if (word.lower() in CONTROLS if control is None else word == control)]
    if len(named) != 1:
        what = f"{len(named)} of its values are names of controls" if control is None else f"no cell has {control!r}"
        raise InputError(
            f"{cells.source}: column {column!r}: {what}; say what control cells are called, of: {listed(known)}"
        )
    symbols = {symbol.upper(): symbol for symbol in reversed(model_symbols(model))}
    sets, left_out = {}, []
    for word in known:
        if word == named[0]:
            continue
        if word.upper() in symbols:
            sets[symbols[word.upper()]] = rng.permutation(np.flatnonzero(words == word))
        else:
            left_out.append(word)
    own = rng.permutation(np.flatnonzero(words == named[0]))
    if len(own) < 2:
        raise InputError(
            f"{cells.source}: column {column!r}: there is {len(own)} control cell; two at least are needed"
        )
    return own, sets, left_out

r"""Partners under suspicion: whether the genes of a concept depend on which cells its prototypes are compared with.

A partner is the nearest cell without the concept, so it may differ in more than the concept: donor, batch, depth. Here
the first genes by path effects are found again with partners that equal their prototype in given obs columns, or that
are the nearest in depth, and compared with those of the usual partners:

    jaccard    |A and B| / |A or B|, A and B the 20 genes with the largest scores

Another choice of partners changes the list by itself. So the same number of partners is drawn at random, ``draws``
times, from the cells that are as near as the matched ones reach, matched or not; the genes of a concept are called
*suspect* if the matched partners agree with the usual ones less than 19 in 20 of these draws do. One more draw stands
in for a matching as the control: of such, one in twenty is called suspect by construction.

    partner variance    of the 20 first genes: the variance of effects between partners of one prototype, as a share of
                        that between all pairs, median

Formulas of effects and scores are in ``gradients.py`` and ``tables.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.attribution.gradients import PathEffects, path_effects
from cellglass.attribution.neighbours import nearest, read_rows, spread_out
from cellglass.attribution.pairs import MIN_ACTIVE, REUSED, choose_prototypes
from cellglass.attribution.work import Work
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

FIRST = 20
"""Genes that are compared."""
NEAR, REACH = 15, 60
"""Cells without the concept that partners are drawn from, and how many of the nearest those may be."""
DEPTH, CONTROL = "depth", "control"
LEVEL = 0.05


class _Choice(NamedTuple):
    """Partners of each prototype, and the cells that as many are drawn from."""

    partners: list[Array]
    pool: list[Array]


def suspect_partners(work: Work, concept: int, matchings: Sequence[str], *, draws: int = 40) -> pd.DataFrame:
    """Return how the first genes of a concept change with the matching of its partners.

    Parameters
    ----------
    work : Work
        Its model has a gradient with respect to counts.
    concept : int
    matchings : sequence of str
        Columns of obs that partners must equal their prototype in, one at a time, or ``depth``.
    draws : int
        Draws of partners that a matching is held against.

    Returns
    -------
    pandas.DataFrame
        One row for each matching and one for the ``control``: ``concept``, ``matching``, ``jaccard``, ``resampled``
        (mean over draws), ``resampled_low`` (their 5 % quantile), ``suspect``, ``kept`` (share of the prototypes that
        have as many matched partners as were asked for), ``partner_variance``, ``lost`` and ``new`` (genes, joined by
        ``;``). No rows for a concept without pairs.
    """
    prototypes, near = _candidates(work, concept)
    if not len(prototypes):
        return pd.DataFrame(columns=_COLUMNS)
    usual = spread_out(near, work.config.partners, REUSED)
    choices = dict(_choices(work, concept, prototypes, near, matchings))
    every = [np.unique(np.concatenate(lists)) for lists in zip(usual, *_lists(choices), strict=True)]
    owner = np.repeat(np.arange(len(prototypes)), [len(cells) for cells in every])
    cells = np.concatenate(every)
    found = path_effects(
        work, prototypes[owner], cells, np.full(len(cells), concept), steps=work.config.steps,
        match_depth=work.config.match_depth,
    )  # fmt: skip
    place = {(int(p), int(cell)): i for i, (p, cell) in enumerate(zip(owner, cells, strict=True))}

    def rows(partners: Sequence[Array]) -> Array:
        return np.array([place[p, int(cell)] for p, mine in enumerate(partners) for cell in mine], dtype=np.int64)

    first = _first(found, rows(usual))
    variance = partner_variance(found.effects[rows([cells[:NEAR] for cells in near])][:, first],
                                np.repeat(np.arange(len(near)), [len(cells[:NEAR]) for cells in near]))  # fmt: skip
    table = []
    for name, choice in choices.items():
        rng = generator(work.seed, "partners", concept, name)
        by_chance = np.array([jaccard(first, _first(found, rows(_drawn(choice, rng)))) for _ in range(draws)])
        mine = _first(found, rows(choice.partners))
        low = float(np.quantile(by_chance, LEVEL))
        agree = jaccard(first, mine)
        kept = float(np.mean([len(cells) >= work.config.partners for cells in choice.partners]))
        table.append((concept, name, agree, float(by_chance.mean()), low, agree < low, kept, variance,
                      _names(work, np.setdiff1d(first, mine)), _names(work, np.setdiff1d(mine, first))))  # fmt: skip
    return pd.DataFrame(table, columns=_COLUMNS)


_COLUMNS = ["concept", "matching", "jaccard", "resampled", "resampled_low", "suspect", "kept", "partner_variance",
            "lost", "new"]  # fmt: skip


def jaccard(a: Array, b: Array) -> float:
    """Return how many of the different values of two arrays are in both, as a share of those in either; 1 of none."""
    either = len(np.union1d(a, b))
    return len(np.intersect1d(a, b)) / either if either else 1.0


def partner_variance(effects: Array, prototype: Array) -> float:
    """Return the share of the variance that lies between partners of one prototype: median over columns.

    Parameters
    ----------
    effects : float, shape (n_pairs, n_genes)
    prototype : int, shape (n_pairs,)
        0, 1, ... without a gap.
    """
    values = effects.astype(np.float64)
    total = np.square(values - values.mean(axis=0)).sum(axis=0)
    sums = np.zeros((prototype.max(initial=0) + 1, values.shape[1]))
    np.add.at(sums, prototype, values)
    means = sums / np.bincount(prototype)[:, None]
    within = np.square(values - means[prototype]).sum(axis=0)
    varies = total > 0
    return float(np.median(within[varies] / total[varies])) if varies.any() else float("nan")


def _candidates(work: Work, concept: int) -> tuple[Array, list[Array]]:
    """Return prototypes, and for each the nearest cells without the concept; none where there are too few cells."""
    active, value = work.active(concept)
    inactive = _inactive(work, concept)
    if len(active) < MIN_ACTIVE or inactive.sum() < NEAR:
        return np.empty(0, dtype=np.int64), []
    n = min(work.config.prototypes, len(active) // 2)
    prototypes = choose_prototypes(value, active, n, work.config.choose)
    vectors = read_rows(work.activations, work.site, prototypes)
    most = max(REACH, -(-n * work.config.partners // REUSED) + work.config.partners)
    return prototypes, nearest(work.pool, vectors, np.tile(inactive, (n, 1)), most)


def _inactive(work: Work, concept: int) -> Array:
    """Return which cells of the pool lack the concept, bool (pool,)."""
    return ~np.isin(work.pool.rows, work.active(concept)[0])


def _choices(
    work: Work, concept: int, prototypes: Array, near: list[Array], matchings: Sequence[str]
) -> Iterator[tuple[str, _Choice]]:
    """Yield the partners of each matching, and of the control."""
    k, nearby = work.config.partners, [cells[:NEAR] for cells in near]
    rng = generator(work.seed, "partners", concept, "pools")
    for name in matchings:
        if name == DEPTH:
            deep = [_log_depth(work, cells) for cells in (prototypes, *nearby)]
            order = [np.argsort(np.abs(mine - deep[0][i]), kind="stable") for i, mine in enumerate(deep[1:])]
            yield name, _Choice([cells[o[:k]] for cells, o in zip(nearby, order, strict=True)], nearby)
            continue
        groups = replace(work, config=replace(work.config, match=(name,))).groups
        same = groups[prototypes][:, None] == groups[work.pool.rows][None, :]
        vectors = read_rows(work.activations, work.site, prototypes)
        alike = nearest(work.pool, vectors, same & _inactive(work, concept)[None, :], k)
        yield name, _Choice(alike, [_as_near(rng, cells, mine) for cells, mine in zip(near, alike, strict=True)])
    drawn = [rng.choice(cells, min(k, len(cells)), replace=False) for cells in nearby]
    yield CONTROL, _Choice(drawn, nearby)


def _log_depth(work: Work, cells: Array) -> Array:
    """Return the log of the total count of some cells."""
    total = np.asarray(work.cells.counts[cells].sum(axis=1), dtype=np.float64).ravel()
    return np.asarray(np.log(np.maximum(total, 1.0)))


def _as_near(rng: np.random.Generator, near: Array, matched: Array) -> Array:
    """Return at most `NEAR` of the nearest cells, drawn from as many as the matched ones reach to."""
    places = np.flatnonzero(np.isin(near, matched))
    reach = len(near) if len(places) < len(matched) else int(places.max(initial=0)) + 1
    reach = max(reach, min(NEAR, len(near)))
    return np.asarray(near[np.sort(rng.choice(reach, min(NEAR, reach), replace=False))])


def _drawn(choice: _Choice, rng: np.random.Generator) -> list[Array]:
    """Return as many partners of each prototype as are matched, drawn at random."""
    both = zip(choice.partners, choice.pool, strict=True)
    return [rng.choice(pool, min(len(mine), len(pool)), replace=False) for mine, pool in both]


def _lists(choices: Mapping[str, _Choice]) -> list[list[Array]]:
    return [part for choice in choices.values() for part in choice]


def _first(found: PathEffects, rows: Array) -> Array:
    """Return the genes with the largest scores over some pairs, at most `FIRST`, of those that score above 0."""
    if not len(rows):
        return np.empty(0, dtype=np.int64)
    effect, change = found.effects[rows].mean(axis=0), found.change[rows].mean(axis=0)
    score = np.where(change < 0, -effect, effect)
    order = np.argsort(-score, kind="stable")[:FIRST]
    return np.asarray(order[score[order] > 0])


def _names(work: Work, genes: Array) -> str:
    return ";".join(str(name) for name in work.cells.symbols[genes])

"""Which cells are compared for each concept: prototypes, their partners, and null partners. Runs no model.

A prototype activates the concept. A real partner is one of the nearest cells in the site's space among those with
activation exactly 0; one cell is a partner of two prototypes at most, if there are others. In a null partner the
concept is strong (`Work.strong`), it is no prototype, and by default it lies as far from the prototype as a real
partner, with as many counts (`matched`): so the two kinds are alike but for the concept. The nearest such cells would
not do: they lie nearer than real partners, differ in less, and whatever grows with distance would pass for the concept.
Nor would cells with a trace of it, which far ones often are: they have lost it too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.attribution.neighbours import distances, matched, nearest, read_rows, spread_out
from cellglass.attribution.work import Work
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]
MIN_ACTIVE = 6
"""A concept that fewer cells activate is reported and left out."""
REUSED = 2
"""Prototypes of a concept that one cell is a partner of, if there are others: a few hubs would be few replicates."""
_log = logging.getLogger(__name__)


class Pairs(NamedTuple):
    """Pairs of cells, and what became of each concept.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a pair: ``concept`` (int32), ``prototype`` and ``partner`` (int64, positions of cells), ``kind`` (real
        or null). Sorted by concept, prototype rank, kind (real first) and partner rank.
    concepts : pandas.DataFrame
        One row a concept: ``concept``, ``n_active``, ``n_prototypes``, ``n_real``, ``n_null`` (pairs),
        ``n_partner_cells`` (different cells among the real partners: a few hubs are fewer replicates than pairs),
        ``real_distance`` and ``null_distance`` (means over pairs, in the site's space; NaN without pairs) and ``note``
        (empty, or why there is less than was asked for).
    """

    table: pd.DataFrame
    concepts: pd.DataFrame


def choose_prototypes(activation: Array, position: Array, n: int, how: str) -> Array:
    """Return the positions of `n` prototypes, highest activation first, ties by position.

    With ``quantiles`` the i-th is at rank floor((i + 1/2) / n * n_active) of the active cells.
    """
    order = np.lexsort((position, -activation))
    if how == "quantiles":
        order = order[((np.arange(n) + 0.5) / n * len(order)).astype(np.int64)]
    return np.asarray(position[order[:n]])


def choose_pairs(work: Work, concepts: Sequence[int]) -> Pairs:
    """Choose the pairs of `concepts` as ``work.config`` says; what is chosen for one concept depends on no other."""
    tables, reports = [], []
    for concept in concepts:
        active, value = work.active(concept)
        table, note = _pairs_of_one(work, concept, active, value)
        real = table["kind"] == "real"
        far = pd.Series(distances_of(work, table), index=table.index)
        reports.append(
            {
                "concept": concept,
                "n_active": len(active),
                "n_prototypes": table["prototype"].nunique(),
                "n_real": int(real.sum()),
                "n_null": int((~real).sum()),
                "n_partner_cells": table.loc[real, "partner"].nunique(),
                "real_distance": far[real].mean(),
                "null_distance": far[~real].mean(),
                "note": note,
            }
        )
        tables.append(table)
        if note:
            _log.info("concept %d: %s", concept, note)
    table = pd.concat(tables, ignore_index=True) if tables else _table([], [], [], 0)
    return Pairs(table, pd.DataFrame(reports, columns=_REPORT).astype({"concept": np.int32}))


_REPORT = ["concept", "n_active", "n_prototypes", "n_real", "n_null", "n_partner_cells", "real_distance",
           "null_distance", "note"]  # fmt: skip


def distances_of(work: Work, table: pd.DataFrame) -> Array:
    """Return how far prototype and partner of each pair are from each other, in the site's space; float64 (pairs,)."""
    ends = (read_rows(work.activations, work.site, table[name].to_numpy()) for name in ("prototype", "partner"))
    return np.asarray(np.linalg.norm(np.subtract(*ends), axis=1), dtype=np.float64)


def at_real_distance(work: Work, pairs: pd.DataFrame, effects: Array) -> Array:
    """Return `effects` of the pairs of one concept with those of null pairs as they would be at the real distance.

    Where no active cells lie as far off as the real partners (a type of its own, far from all others), null pairs
    differ in less. Effects grow with distance about in proportion, so those of null pairs are multiplied by

        max(1, mean distance of real pairs / mean distance of null pairs)

    Parameters
    ----------
    work : Work
    pairs : pandas.DataFrame, m rows
        Of one concept.
    effects : float32, shape (m, n_genes)
    """
    null, far = (pairs["kind"] == "null").to_numpy(), distances_of(work, pairs)
    if null.all() or not far[null].any() or far[~null].mean() <= far[null].mean():
        return effects
    stretch = far[~null].mean() / far[null].mean()
    return np.where(null[:, None], effects * np.float32(stretch), effects)


def _pairs_of_one(work: Work, concept: int, active: Array, value: Array) -> tuple[pd.DataFrame, str]:
    config, pool, groups = work.config, work.pool, work.groups
    if len(active) < MIN_ACTIVE:
        return _table([], [], [], concept), f"only {len(active)} active cells"
    inactive = np.ones(len(groups), dtype=bool)  # (n_cells,)
    inactive[active] = False
    inactive = inactive[pool.rows]  # (pool,)
    if not inactive.any():
        return _table([], [], [], concept), "no inactive cells to take partners from"
    n = min(config.prototypes, len(active) // 2)
    prototypes = choose_prototypes(value, active, n, config.choose)  # (n,)
    vectors = read_rows(work.activations, work.site, prototypes)  # (n, width)
    same = groups[prototypes][:, None] == groups[pool.rows][None, :]  # (n, pool)
    enough = -(-n * config.partners // REUSED) + config.partners
    candidates = nearest(pool, vectors, inactive[None, :] & same, enough)
    real = spread_out(candidates, config.partners, REUSED)  # n of <= partners
    away = [distances(pool, vector) for vector in vectors]  # n of (pool,)
    null = _null_partners(work, concept, prototypes, real, away, ~inactive)
    lacking = sum(len(partners) < config.partners for partners in real)
    # A prototype without a real partner measures nothing, nor do its null partners.
    null = [partners if len(r) else partners[:0] for r, partners in zip(real, null, strict=True)]
    note = f"{lacking} of {n} prototypes have fewer than {config.partners} partners" if lacking else ""
    return _table(list(prototypes), real, null, concept), note


def _null_partners(
    work: Work, concept: int, prototypes: Array, real: list[Array], away: list[Array], active: Array
) -> list[Array]:
    """Return, for each prototype, as many null partners as it was to have real ones.

    Parameters
    ----------
    work : Work
    concept : int
    prototypes : int64, shape (n,)
    real : list of n int64 arrays
        The partners that they are to be like.
    away : list of n float64 arrays, shape (pool,)
        How far the cells of the pool are from each prototype.
    active : bool, shape (pool,)
        Which of them activate the concept; those in which it is not on are taken where too few others are.
    """
    config, pool, groups = work.config, work.pool, work.groups
    others = active & ~np.isin(pool.rows, prototypes)  # (pool,)
    on = others & np.isin(pool.rows, work.strong(concept))
    others = on if on.sum() >= 2 * config.partners else others
    rng = generator(work.seed, "attribution", "null partners", concept)
    most = max(REUSED, -(-len(prototypes) * config.partners // max(int(others.sum()), 1)))
    used = np.zeros(len(pool.rows), dtype=np.int64)
    null = []
    for cell, partners, distance in zip(prototypes, real, away, strict=True):
        chosen = np.empty(0, dtype=np.int64)
        if config.null == "matched":
            mine = others & (groups[pool.rows] == groups[cell]) & ~np.isin(pool.rows, partners)
            mine &= used < most
            places = matched(distance, work.depth, mine, np.searchsorted(pool.rows, partners))
            used[places] += 1
            chosen = pool.rows[places]
        cells = work.active(concept)[0]
        null.append(_filled(rng, chosen, cell, prototypes, cells[groups[cells] == groups[cell]], config.partners))
    return null


def _filled(rng: np.random.Generator, chosen: Array, cell: int, prototypes: Array, matching: Array, n: int) -> Array:
    """Fill `chosen` up to `n` null partners: a draw from matching active cells, prototypes only for want of others."""
    if len(chosen) >= n:
        return chosen
    matching = np.setdiff1d(matching, np.append(chosen, cell))
    is_prototype = np.isin(matching, prototypes)
    for candidates in (matching[~is_prototype], matching[is_prototype]):
        size = min(n - len(chosen), len(candidates))
        chosen = np.concatenate([chosen, rng.choice(candidates, size=size, replace=False)])
    return chosen


def _table(prototypes: list[int], real: list[Array], null: list[Array], concept: int) -> pd.DataFrame:
    prototype, partner, kind = [], [], []
    for cell, reals, nulls in zip(prototypes, real, null, strict=True):
        prototype += [cell] * (len(reals) + len(nulls))
        partner += [*reals.tolist(), *nulls.tolist()]
        kind += ["real"] * len(reals) + ["null"] * len(nulls)
    return pd.DataFrame(
        {
            "concept": np.full(len(kind), concept, dtype=np.int32),
            "prototype": np.array(prototype, dtype=np.int64),
            "partner": np.array(partner, dtype=np.int64),
            "kind": np.array(kind, dtype=object),
        }
    )

"""Which cells are compared for each concept: prototypes, their partners, and null partners. Runs no model.

A prototype activates the concept. A real partner is one of the nearest cells in the site's space among those with
activation exactly 0. A null partner activates the concept too, and by default is chosen by the same rule: nearest
among the active cells that are no prototypes. So the two kinds are chosen alike but for the concept. Null partners
drawn at random lie farther off than real ones and make nearness look like the concept: with pairs of active cells in
place of real ones, a random null called 4 % of genes significant at q < 0.05, the nearest one fewer than 1 in 10,000
(PBMCs, scVI).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.attribution.neighbours import nearest, read_rows
from cellglass.attribution.work import Work
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]
MIN_ACTIVE = 6
"""A concept that fewer cells activate is reported and left out."""
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
        ``n_partner_cells`` (different cells among the real partners: a few hubs are fewer replicates than pairs) and
        ``note`` (empty, or why there is less than was asked for).
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
        reports.append(
            {
                "concept": concept,
                "n_active": len(active),
                "n_prototypes": table["prototype"].nunique(),
                "n_real": int(real.sum()),
                "n_null": int((~real).sum()),
                "n_partner_cells": table.loc[real, "partner"].nunique(),
                "note": note,
            }
        )
        tables.append(table)
        if note:
            _log.info("concept %d: %s", concept, note)
    table = pd.concat(tables, ignore_index=True) if tables else _table([], [], [], 0)
    return Pairs(table, pd.DataFrame(reports, columns=_REPORT).astype({"concept": np.int32}))


_REPORT = ["concept", "n_active", "n_prototypes", "n_real", "n_null", "n_partner_cells", "note"]


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
    real = nearest(pool, vectors, inactive[None, :] & same, config.partners)  # n of <= partners
    close = [np.empty(0, dtype=np.int64)] * n
    if config.null == "nearest":
        other = ~inactive & ~np.isin(pool.rows, prototypes)  # (pool,)
        close = nearest(pool, vectors, other[None, :] & same, config.partners)
    rng = generator(work.seed, "attribution", "null partners", concept)
    null = [
        _filled(rng, chosen, cell, prototypes, active[groups[active] == groups[cell]], config.partners)
        for cell, chosen in zip(prototypes, close, strict=True)
    ]
    lacking = sum(len(partners) < config.partners for partners in real)
    # A prototype without a real partner measures nothing, nor do its null partners.
    null = [partners if len(r) else partners[:0] for r, partners in zip(real, null, strict=True)]
    note = f"{lacking} of {n} prototypes have fewer than {config.partners} partners" if lacking else ""
    return _table(list(prototypes), real, null, concept), note


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

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
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.attribution.neighbours import Activations, Pool, nearest, read_rows
from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairSettings:
    """How pairs are chosen."""

    n_prototypes: int = 20
    """Prototypes of a concept at most; never more than half of its active cells, so that null partners remain."""

    n_partners: int = 5
    """Real partners, and null partners, of each prototype."""

    prototypes: Literal["top", "quantiles"] = "top"
    """``top``: the cells that activate the concept most; ``quantiles``: a spread over the ranks of its active cells."""

    null: Literal["nearest", "random"] = "nearest"
    """Null partners: the nearest active cells that are no prototypes, or a seeded draw from them."""

    match: tuple[str, ...] = ()
    """obs columns in which a partner must equal its prototype, such as donor or batch."""

    min_active: int = 6
    """A concept that fewer cells activate is reported and left out."""

    max_candidates: int = 50_000
    """Of more cells than this, a seeded sample of this size is searched for real partners."""

    def __post_init__(self) -> None:
        if self.prototypes not in ("top", "quantiles"):
            raise InputError(f"attribution: prototypes is {self.prototypes!r}; give 'top' or 'quantiles'")
        if self.null not in ("nearest", "random"):
            raise InputError(f"attribution: null is {self.null!r}; give 'nearest' or 'random'")
        for name in ("n_prototypes", "n_partners", "max_candidates"):
            if getattr(self, name) < 1:
                raise InputError(f"attribution: {name} is {getattr(self, name)}; it must be at least 1")
        if self.min_active < 2:
            raise InputError(f"attribution: min_active is {self.min_active}; it must be at least 2")


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


def match_groups(cells: Cells, columns: Sequence[str]) -> Array:
    """Return a number for each cell; cells with equal numbers are equal in all of the given obs columns."""
    if not columns:
        return np.zeros(cells.n_cells, dtype=np.int64)
    frame = pd.DataFrame({str(i): cells.column(name).to_numpy() for i, name in enumerate(columns)})
    return frame.groupby(list(frame.columns), dropna=False, observed=True, sort=False).ngroup().to_numpy(dtype=np.int64)


def choose_prototypes(activation: Array, position: Array, n: int, how: str) -> Array:
    """Return the positions of `n` prototypes, highest activation first, ties by position.

    With ``quantiles`` the i-th is at rank floor((i + 1/2) / n * n_active) of the active cells.
    """
    order = np.lexsort((position, -activation))
    if how == "quantiles":
        order = order[((np.arange(n) + 0.5) / n * len(order)).astype(np.int64)]
    return np.asarray(position[order[:n]])


def choose_pairs(
    codes: sp.csc_matrix,
    activations: Activations,
    site: str,
    pool: Pool,
    groups: Array,
    concepts: Sequence[int],
    settings: PairSettings,
    seed: int,
) -> Pairs:
    """Choose the pairs of `concepts`; what is chosen for one concept depends on no other.

    Parameters
    ----------
    codes : csc_matrix, shape (n_cells, n_latents)
        Activations of concepts, >= 0.
    activations : array, tensor or store, shape (n_cells, width)
        Activations at the site.
    site : str
        The site's name, for a store.
    pool : Pool
        Candidates for real partners.
    groups : int64, shape (n_cells,)
        From `match_groups`.
    concepts : sequence of int
        Latents.
    settings : PairSettings
        How to choose.
    seed : int
        For null partners.
    """
    tables, reports = [], []
    for concept in concepts:
        column = slice(codes.indptr[concept], codes.indptr[concept + 1])
        active, value = codes.indices[column].astype(np.int64), codes.data[column]
        active, value = active[value > 0], value[value > 0]
        table, note = _pairs_of_one(active, value, activations, site, pool, groups, concept, settings, seed)
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


def _pairs_of_one(
    active: Array,
    value: Array,
    activations: Activations,
    site: str,
    pool: Pool,
    groups: Array,
    concept: int,
    settings: PairSettings,
    seed: int,
) -> tuple[pd.DataFrame, str]:
    if len(active) < settings.min_active:
        return _table([], [], [], concept), f"only {len(active)} active cells"
    inactive = np.ones(len(groups), dtype=bool)
    inactive[active] = False
    inactive = inactive[pool.rows]
    if not inactive.any():
        return _table([], [], [], concept), "no inactive cells to take partners from"
    n = min(settings.n_prototypes, len(active) // 2)
    prototypes = choose_prototypes(value, active, n, settings.prototypes)
    vectors = read_rows(activations, site, prototypes)
    same = groups[prototypes][:, None] == groups[pool.rows][None, :]
    real = nearest(pool, vectors, inactive[None, :] & same, settings.n_partners)
    close = [np.empty(0, dtype=np.int64)] * n
    if settings.null == "nearest":
        other = ~inactive & ~np.isin(pool.rows, prototypes)
        close = nearest(pool, vectors, other[None, :] & same, settings.n_partners)
    rng = generator(seed, "attribution", "null partners", concept)
    null = [
        _filled(rng, chosen, cell, prototypes, active[groups[active] == groups[cell]], settings.n_partners)
        for cell, chosen in zip(prototypes, close, strict=True)
    ]
    lacking = sum(len(partners) < settings.n_partners for partners in real)
    # A prototype without a real partner measures nothing, nor do its null partners.
    null = [partners if len(r) else partners[:0] for r, partners in zip(real, null, strict=True)]
    note = f"{lacking} of {n} prototypes have fewer than {settings.n_partners} partners" if lacking else ""
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

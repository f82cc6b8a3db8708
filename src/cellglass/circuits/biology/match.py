r"""Whether known pairs of genes stand out among what genes do to genes in a model, beside nulls and co-expression.

Of all measured pairs of a source and a target that some known pair has, each scored by the size of its effect,

    auroc    probability that a known pair scores higher than another one
    rank     mean place of a known pair among all sources of its target, 0 the first and 1 the last, 0.5 by chance
    signs    share of known pairs with a sign whose effect has that sign

A gene that acts on everything, or that everything acts on, lifts all its pairs, the known ones too. So the null of the
first two keeps degrees: known pairs are rewired so that each gene is as often source and target as before
(`cellglass.circuits.biology.nulls.rewired`). The null of signs exchanges the signs between pairs. What is left of an
effect's size without co-expression is the residual of its rank, fitted by a line on the rank of co-expression.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from cellglass.circuits.biology.nulls import above, check_draws, rewired
from cellglass.circuits.biology.regulation import Regulation
from cellglass.errors import InputError
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

EFFECT, RIVAL, REST = "effect", "co-expression", "effect without co-expression"
DRAWS = 1000


class Match(NamedTuple):
    """How known pairs stand among others.

    Attributes
    ----------
    table : pandas.DataFrame
        Index ``of``: ``effect``, and with a rival ``co-expression`` and ``effect without co-expression``. Columns:

        ``pairs``, ``others``
            Known pairs that were measured, and other pairs of the same sources and targets.
        ``auroc``, ``auroc_null``, ``auroc_null_sd``, ``auroc_p``
            With mean, standard deviation and one-sided p of rewired pairs.
        ``rank``, ``rank_null``, ``rank_p``
            Small is good.
        ``signed``, ``signs``, ``signs_null``, ``signs_p``
            Pairs with a known sign, the share that agrees, what exchanged signs give, and its p. Blank without them.
    moved : float
        Share of known pairs that rewired ones do not hold, on average. Near 0 the genes leave nothing to rewire, and
        the null says nothing.
    unmeasured : int
        Known pairs that have no effect in the table: no cell in which the model reads both.
    """

    table: pd.DataFrame
    moved: float
    unmeasured: int


def against_regulation(
    edges: pd.DataFrame,
    pairs: Regulation,
    *,
    rival: pd.DataFrame | None = None,
    fewest: int = 1,
    draws: int = DRAWS,
    seed: int = 0,
) -> Match:
    """Return how far known pairs stand out.

    Nothing is chosen by the effects: neither pairs nor genes nor a direction.

    Parameters
    ----------
    edges
        With ``source``, ``target`` and ``effect``, such as from `gene_edges`.
    pairs
        Spelled as the genes of `edges`; see `Regulation.within`.
    rival
        Genes by genes, such as from `coexpression`; where it is NaN it counts as 0.
    fewest
        Edges that are means of fewer cells, by the column ``n`` of `edges`, are left out.
    draws
        Of the nulls.
    seed

    Raises
    ------
    InputError
        No known pair was measured, or no other pair of their genes.
    """
    check_draws(draws)
    known = pairs.table
    sources, targets = (list(dict.fromkeys(known[name])) for name in ("source", "target"))
    if fewest > 1:
        edges = edges[edges["n"] >= fewest]
    wide = edges.pivot_table(index="source", columns="target", values="effect", aggfunc="sum")  # an edge has one row
    effect = wide.reindex(index=sources, columns=targets).to_numpy(dtype=np.float64)
    allowed = np.isfinite(effect)
    at = np.column_stack(
        [pd.Index(sources).get_indexer(known["source"]), pd.Index(targets).get_indexer(known["target"])]
    )
    measured = allowed[at[:, 0], at[:, 1]] if len(at) else np.zeros(0, dtype=bool)
    at, sign = at[measured], known["sign"].to_numpy()[measured]
    others = int(allowed.sum()) - len(at)
    if not len(at) or not others:
        what = "no known pair" if not len(at) else "no pair of the same genes that is not known"
        raise InputError(f"{pairs.origin}: {what} was measured; ask for more of its genes, or of more cells")
    signed = {EFFECT: effect}
    sizes = {EFFECT: np.abs(effect)}
    if rival is not None:
        signed[RIVAL] = np.nan_to_num(rival.reindex(index=sources, columns=targets).to_numpy(dtype=np.float64))
        sizes[RIVAL] = np.abs(signed[RIVAL])
        sizes[REST] = _rest(sizes[EFFECT], sizes[RIVAL], allowed)
    scored = {name: (_ranks(size, allowed), _places(size, allowed)) for name, size in sizes.items()}
    null, moved = _null(scored, at, others, rewired(at, allowed, draws, generator(seed, "rewired pairs")))
    rows = {}
    for name, (ranks, places) in scored.items():
        area, rank = _auroc(ranks, at, others), float(places[at[:, 0], at[:, 1]].mean())
        areas, means = null[name]
        rows[name] = {
            "pairs": len(at), "others": others,
            "auroc": area, "auroc_null": areas.mean(), "auroc_null_sd": areas.std(), "auroc_p": above(area, areas),
            "rank": rank, "rank_null": means.mean(), "rank_p": above(-rank, -means),
            **_signs(signed.get(name), at, sign, draws, generator(seed, "signs")),
        }  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("of")
    return Match(table.astype({"pairs": int, "others": int, "signed": int}), moved, int((~measured).sum()))


def _null(
    scored: dict[str, tuple[Array, Array]], at: Array, others: int, drawn: Iterable[Array]
) -> tuple[dict[str, Array], float]:
    """Return AUROC and mean place of rewired pairs, (2, draws) of each score, and the share of pairs that moved."""
    known = np.zeros(next(iter(scored.values()))[0].shape, dtype=bool)
    known[at[:, 0], at[:, 1]] = True
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in scored}
    moved = []
    for one in drawn:
        for name, (ranks, places) in scored.items():
            found[name].append((_auroc(ranks, one, others), float(places[one[:, 0], one[:, 1]].mean())))
        moved.append(1 - known[one[:, 0], one[:, 1]].mean())
    return {name: np.array(values).T for name, values in found.items()}, float(np.mean(moved))


def _rest(size: Array, rival: Array, allowed: Array) -> Array:
    """Return what a line on the rival's ranks leaves of the ranks of sizes; NaN where no pair is allowed."""
    y, x = rankdata(size[allowed]), rankdata(rival[allowed])
    x, y = x - x.mean(), y - y.mean()
    found = np.full(size.shape, np.nan)
    found[allowed] = y - x * (x @ y / (x @ x) if x.any() else 0.0)
    return found


def _ranks(size: Array, allowed: Array) -> Array:
    found = np.full(size.shape, np.nan)
    found[allowed] = rankdata(size[allowed])
    return found


def _places(size: Array, allowed: Array) -> Array:
    """Return the place of each source among those of its target: 0 the largest, 1 the smallest, 0.5 of one alone."""
    found = np.full(size.shape, np.nan)
    for column in range(size.shape[1]):
        here = allowed[:, column]
        n = int(here.sum())
        if n:
            found[here, column] = (rankdata(-size[here, column]) - 1) / (n - 1) if n > 1 else 0.5
    return found


def _auroc(ranks: Array, at: Array, others: int) -> float:
    m = len(at)
    return float((ranks[at[:, 0], at[:, 1]].sum() - m * (m + 1) / 2) / (m * others))


def _signs(values: Array | None, at: Array, sign: Array, draws: int, rng: np.random.Generator) -> dict[str, float]:
    """Return the agreement in sign; blank where no sign is known, or of what has none."""
    some = sign != 0
    n = 0 if values is None else int(some.sum())
    if values is None or not n:
        return {"signed": n, "signs": np.nan, "signs_null": np.nan, "signs_p": np.nan}
    own, known = np.sign(values[at[some, 0], at[some, 1]]), sign[some]
    null = np.array([(own == rng.permutation(known)).mean() for _ in range(draws)])
    found = float((own == known).mean())
    return {"signed": n, "signs": found, "signs_null": null.mean(), "signs_p": above(found, null)}

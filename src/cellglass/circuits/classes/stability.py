r"""Whether two halves of the cells give the same class circuit: its nodes, its edges and their weights.

The units (donors where there are some, else cells) are split in two at random, several times, and each half ranks the
nodes and the edges of the class circuit by their mean influence. Of the strongest n of each half,

    Jaccard index     |A and B| / |A or B|
    its null          that of random sets: as many from each layer (of edges: from each kind and layer of source and
                      target), drawn from what has any influence in that half
    correlation       Pearson's, of the mean weights of edges that are among the strongest n of either half
    its null          the same with the one half's weights shuffled among edges of one kind and layers

Much of any circuit is the same in all cells, above all what the model does at the prompt, so where there is another
label its cells are held against the one half too: as many units, drawn at random. What the halves of a class agree on
beyond that is of the class.

The nodes are those of the whole class, so the null is of what stands in the circuit anyhow: it is high where the
circuit is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from cellglass.circuits.classes.sums import Contrast
from cellglass.circuits.classes.tables import Chosen, Parts, only, summed
from cellglass.circuits.names import OTHER
from cellglass.circuits.stability import overlap
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

FEWEST_UNITS = 4
SPLITS, DRAWS = 5, 20
TOP = {"features": 30, "genes": 10, "edges": 100}
_PART = 4
"""Of a small circuit no more than this part is ranked: sets of nearly all nodes agree by themselves."""


def halves(
    parts: Parts,
    units: Sequence[str],
    chosen: Chosen,
    others: Sequence[str] = (),
    *,
    splits: int = SPLITS,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame | None:
    """Return how far two halves of the class agree.

    Parameters
    ----------
    parts, chosen
        The cells' merged graphs, and the nodes of the class circuit.
    units
        Those of the class; of fewer than four there are no halves, and None is returned.
    others
        Units of the other label.
    splits
        How often the units are split.
    draws
        Random sets for each null.
    seed

    Returns
    -------
    pandas.DataFrame
        One row for each of ``features``, ``genes`` and ``edges`` (Jaccard index of the strongest ``n``) and for
        ``weights`` (correlation), in the column ``of``: ``mean`` and ``sd`` over splits, ``null``, and
        ``other``, of a half and cells of the other label (NaN without). A row of which
        there is no number is left out.
    """
    if len(units) < FEWEST_UNITS:
        return None
    strata = _strata(chosen)
    top = {name: max(1, min(n, len(strata[name]) // _PART)) for name, n in TOP.items()}
    rng = generator(seed, "class halves")
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in (*TOP, "weights")}
    for _ in range(splits):
        order = rng.permutation(len(units))
        sides = [{units[i] for i in some} for some in (order[: len(units) // 2], order[len(units) // 2 :])]
        both = [_strengths(summed(only(parts, side), chosen), chosen) for side in sides]
        drawn = {others[i] for i in rng.permutation(len(others))[: len(sides[0])]}
        beside = _strengths(summed(only(parts, drawn, 1), chosen), chosen) if drawn else None
        for name, n in top.items():
            sets = [_strongest(one[name], n) for one in both]
            null = [
                overlap(*({*_like(strata[name], chosen_set, one[name] > 0, rng).tolist()}
                          for chosen_set, one in zip(sets, both, strict=True)))
                for _ in range(draws)
            ]  # fmt: skip
            pairs = [(sets[0], sets[1]), (sets[0], sets[0][:0] if beside is None else _strongest(beside[name], n))]
            own, other = (overlap({*a.tolist()}, {*b.tolist()}) for a, b in pairs)
            found[name].append((own, float(np.mean(null)), other if drawn else float("nan")))
        some = np.union1d(*(_strongest(one["edges"], top["edges"]) for one in both))
        first, second = (one["weights"][some] for one in both)
        null = [_pearson(first, _shuffled(second, strata["edges"][some], rng)) for _ in range(draws)]
        other = float("nan") if beside is None else _pearson(first, beside["weights"][some])
        found["weights"].append((_pearson(first, second), float(np.mean(null)), other))
    rows = []
    for name, values in found.items():
        mean, null_of, of_others = np.array(values).T
        if np.isfinite(mean).all():
            rows.append({"of": name, "n": top.get(name, top["edges"]), "mean": float(mean.mean()),
                         "sd": float(mean.std(ddof=1)), "null": float(null_of.mean()),
                         "other": float(of_others.mean()), "splits": splits})  # fmt: skip
    return pd.DataFrame(rows)


def _strengths(found: Contrast, chosen: Chosen) -> dict[str, Array]:
    """Return the influence of features, genes and edges, and the weights of edges, of the class."""
    mean = found.sides[0].mean
    node = mean["node influence"]
    sources, rows = _sources(chosen), len(chosen.rows)  # heads, which stand behind, have no influence
    return {
        "features": node[chosen.of_kind("feature")],
        "genes": node[_genes(chosen)],
        "edges": mean["edge influence"][:rows, sources].ravel(),
        "weights": mean["edge weight"][:rows, sources].ravel(),
    }


def _genes(chosen: Chosen) -> Array:
    """Return the nodes of genes: not the prompt, and not what other genes are together."""
    return np.array([i for i in chosen.of_kind("token") if chosen.keys[i].gene not in ("", OTHER)], dtype=np.int64)


def _sources(chosen: Chosen) -> Array:
    """Return the nodes that edges come from: not biases, and not what was left out."""
    return np.concatenate([chosen.of_kind(kind) for kind in ("token", "feature", "error")])


def _strata(chosen: Chosen) -> dict[str, Array]:
    """Return the layer of each feature, and of each edge a number for its kinds and layers."""
    layer = np.array([key.layer for key in chosen.keys])
    kind = pd.factorize(np.array([key.kind for key in chosen.keys]))[0]
    sources, rows = _sources(chosen), chosen.rows
    of_source = pd.factorize(kind[sources] * 10_000 + layer[sources])[0]
    of_target = pd.factorize(kind[rows] * 10_000 + layer[rows])[0]
    edges = of_target[:, None] * (of_source.max() + 1) + of_source[None]
    genes = np.zeros(len(_genes(chosen)), dtype=np.int64)
    return {"features": layer[chosen.of_kind("feature")], "genes": genes, "edges": edges.ravel()}


def _strongest(values: Array, n: int) -> Array:
    """Return the n entries of largest value that are above 0."""
    order = np.argsort(-values, kind="stable")[:n]
    return np.sort(order[values[order] > 0])


def _like(strata: Array, chosen: Array, there: Array, rng: np.random.Generator) -> Array:
    """Return as many entries of each stratum as `chosen` has, drawn from those that are there."""
    drawn = []
    for one, n in zip(*np.unique(strata[chosen], return_counts=True), strict=True):
        drawn.append(rng.choice(np.flatnonzero(there & (strata == one)), int(n), replace=False))
    return np.concatenate([np.empty(0, dtype=np.int64), *drawn])


def _shuffled(values: Array, strata: Array, rng: np.random.Generator) -> Array:
    """Return values that have changed places within their stratum."""
    order = np.lexsort((rng.random(len(values)), strata))
    place = np.argsort(strata, kind="stable")
    found = np.empty_like(values)
    found[place] = values[order]
    return found


def _pearson(a: Array, b: Array) -> float:
    """Return Pearson's correlation; NaN where one does not vary."""
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])

"""The two matchings of the concepts of two atlases, each with its control and its figures.

By activations over the cells that both have, or by decoder directions in the site that both explain. A control is
matched as the concepts are. Whether a matching is possible is decided in ``compare.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from cellglass.atlas.comparison.overlap import CellOverlap
from cellglass.atlas.evidence import residual
from cellglass.atlas.read import Atlas
from cellglass.errors import InputError
from cellglass.evaluation.coactivation import correlations, shuffled_cells
from cellglass.evaluation.matching import THRESHOLDS, Agreement, agreement, cosines, shuffled_directions
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

ACTIVATIONS, DIRECTIONS = "activations", "directions"
MAX_ENTRIES = 20_000_000
"""Activations of an atlas that are looked at: of more, those of a random sample of its cells."""
DRAWS = 3
"""Draws of a control, of which the mean is reported."""

_SIMILARITY = {ACTIVATIONS: "correlation of activations", DIRECTIONS: "cosine of decoder directions"}
_CONTROL = {
    ACTIVATIONS: "each concept's activations moved to random cells",
    DIRECTIONS: "each dictionary's coordinates on each of its principal axes exchanged among concepts",
}


@dataclass(frozen=True)
class Side:
    """The concepts of one atlas that take part: their places in ``var``, and their codes in the cells looked at."""

    atlas: Atlas
    places: Array
    codes: sp.csc_matrix

    def active(self) -> Array:
        """Return how many activations each concept has."""
        return np.diff(self.codes.indptr)

    def directions(self) -> Array:
        """Return the decoder directions of these concepts, float64 (n, d)."""
        latents = self.atlas.concepts.var["latent"].to_numpy()[self.places]
        rows: Array = self.atlas.dictionary().directions.numpy()[latents].astype(np.float64)
        return rows


@dataclass(frozen=True)
class Matching:
    """Both sides, how they agree, and how the control does."""

    name: str
    a: Side
    b: Side
    found: Agreement
    controls: Sequence[Agreement]


def by_activations(a: Atlas, b: Atlas, cells: CellOverlap, seed: int) -> Matching:
    """Match the concepts by the correlation of their activations in the cells that both atlases have."""
    rng = generator(seed, "compare", ACTIVATIONS)
    entries = max(len(cells.a) / max(one.concepts.n_obs, 1) * one.concepts.X.nnz for one in (a, b))
    kept = _sample(len(cells.a), entries, rng)
    one, other = _side(a, cells.a[kept]), _side(b, cells.b[kept])
    found = agreement(correlations(one.codes, other.codes))
    controls = [
        agreement(correlations(shuffled_cells(one.codes, rng), shuffled_cells(other.codes, rng))) for _ in range(DRAWS)
    ]
    return Matching(ACTIVATIONS, one, other, found, controls)


def by_directions(a: Atlas, b: Atlas, seed: int) -> Matching:
    """Match the concepts by the cosine of their decoder directions; the atlases must explain the same site."""
    rng = generator(seed, "compare", DIRECTIONS)
    one, other = (_side(each, _sample(each.concepts.n_obs, each.concepts.X.nnz, rng)) for each in (a, b))
    rows, columns = one.directions(), other.directions()
    if rows.shape[1] != columns.shape[1]:
        raise InputError(
            f"{a.path} and {b.path}: the decoder directions have {rows.shape[1]} and {columns.shape[1]} dimensions; "
            "compare atlases of one site"
        )
    mixed = [(shuffled_directions(rows, rng), shuffled_directions(columns, rng)) for _ in range(DRAWS)]
    controls = [agreement(cosines(*pair)) for pair in mixed]
    return Matching(DIRECTIONS, one, other, agreement(cosines(rows, columns)), controls)


def measures(matching: Matching, threshold: float) -> Iterator[dict[str, Any]]:
    """Yield ``way`` (the matching's name), ``measure``, ``value``, ``control`` and ``definition`` of each figure."""
    values = _figures(matching.found, matching, threshold)
    controls = [_figures(control, matching, threshold) for control in matching.controls]
    what = _SIMILARITY[matching.name]
    words = {
        "matched": f"mean {what} of the one-to-one pairs",
        "best": f"mean {what} with the best partner, both ways",
        **{f"above_{cut:g}": f"share of the pairs with at least {cut:g} {what}" for cut in _cuts(threshold)},
        **{f"found_{s}": f"share of {s.upper()}'s concepts with a partner: {what} >= {threshold:g}" for s in "ab"},
        **{f"carried_{s}": f"share of {s.upper()}'s activations that are of concepts with a partner" for s in "ab"},
    }
    for name, value in values.items():
        yield {
            "way": matching.name,
            "measure": name,
            "value": value,
            "control": float(np.mean([control[name] for control in controls])),
            "definition": f"{words[name]}; control: {_CONTROL[matching.name]}, mean of {DRAWS} draws",
        }


def _figures(found: Agreement, matching: Matching, threshold: float) -> dict[str, float]:
    partners = found.pairs.similarity >= threshold
    figures = {"matched": found.matched, "best": found.best}
    figures |= {f"above_{cut:g}": found.above(cut) for cut in _cuts(threshold)}
    figures |= {f"found_{side}": share for side, share in zip("ab", found.found(threshold), strict=True)}
    for name, side, latents in (("a", matching.a, found.pairs.a), ("b", matching.b, found.pairs.b)):
        active = side.active()
        figures[f"carried_{name}"] = float(active[latents[partners]].sum() / max(active.sum(), 1))
    return figures


def _cuts(threshold: float) -> list[float]:
    return sorted({*THRESHOLDS, threshold})


def _sample(n: int, entries: float, rng: np.random.Generator) -> Array:
    """Return all of `n` cells, or as many of them at random as have `MAX_ENTRIES` activations; ascending."""
    limit = max(1, int(n * MAX_ENTRIES / max(entries, 1)))
    return np.arange(n) if n <= limit else np.sort(rng.choice(n, limit, replace=False))


def _side(atlas: Atlas, rows: Array) -> Side:
    codes = sp.csc_matrix(atlas.concepts.X)
    if not np.array_equal(rows, np.arange(codes.shape[0])):
        codes = codes[rows]
    places = np.flatnonzero((np.diff(codes.indptr) > 0) & ~residual(atlas.concepts.var))
    return Side(atlas, places, codes[:, places])

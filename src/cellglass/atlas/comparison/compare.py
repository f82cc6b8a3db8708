"""Compares the concepts of two atlases: of two settings, of two data sets that share a site, of two models.

Each live concept of A (a residual latent is none) is matched one to one with one of B, in up to two matchings
(``matchings.py``): by the correlation of activations, where they have cells in common, and by the cosine of decoder
directions, where both explain one site of one model (``overlap.py`` says whether). Each figure stands beside the same
figure for a control. Fits nothing, and changes neither atlas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cellglass.atlas.comparison.matchings import (
    ACTIVATIONS,
    DIRECTIONS,
    Matching,
    by_activations,
    by_directions,
    measures,
)
from cellglass.atlas.comparison.overlap import SiteOverlap, cell_overlap, site_overlap, site_width
from cellglass.atlas.evidence import residual
from cellglass.atlas.read import Atlas
from cellglass.errors import InputError
from cellglass.evaluation.metric import finite_or_none

Array = np.ndarray[Any, Any]

MIN_CELLS = 50
"""Activations are compared in at least this many cells."""


@dataclass(frozen=True)
class Comparison:
    """How far the concepts of two atlases agree.

    Attributes
    ----------
    a, b : dict
        Each atlas in brief: `Atlas.summary`.
    site, cells : str
        What the two share, or why they share none.
    notes : list of str
        What was left out.
    measures : pandas.DataFrame
        One row for each figure: ``way`` (``activations`` or ``directions``), ``measure``, ``value``, ``control``,
        ``definition``.
    pairs : pandas.DataFrame
        The concepts matched by activations, where cells are shared, else by directions; the most alike first, then what
        is left of A, then of B. Columns: ``a_latent``, ``a_concept``, ``a_label``, the same of ``b``, ``coactivation``,
        ``cosine``, and ``partner``: whether the pair reaches the threshold.
    threshold : float
        Similarity from which on two concepts are partners.
    """

    a: dict[str, Any]
    b: dict[str, Any]
    site: str
    cells: str
    notes: list[str]
    measures: pd.DataFrame
    pairs: pd.DataFrame
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON; what is not known is None."""
        head = {name: getattr(self, name) for name in ("a", "b", "site", "cells", "notes", "threshold")}
        return {**head, "measures": _plain(self.measures), "pairs": _plain(self.pairs)}


def compare(a: Atlas, b: Atlas, *, threshold: float = 0.7, same_site: bool = False, seed: int = 0) -> Comparison:
    """Compare the concepts of two atlases.

    Parameters
    ----------
    a, b : Atlas
        Such as ``cellglass.open_atlas("atlas")``.
    threshold : float
        Similarity from which on two concepts are partners.
    same_site : bool
        Take the sites as the same though the atlases cannot show it: two data sets that one model embedded.
    seed : int
        Of the controls.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If the atlases share neither a site nor cells, or cannot be read.

    Examples
    --------
    >>> found = cellglass.compare(cellglass.open_atlas("one"), cellglass.open_atlas("two"))  # doctest: +SKIP
    >>> found.measures, found.pairs.head()  # doctest: +SKIP
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold is {threshold}; it must be above 0 and at most 1")
    site, cells = _site(a, b, same_site), cell_overlap(a, b)
    matchings, notes = [], []
    if len(cells.a) >= MIN_CELLS:
        matchings.append(by_activations(a, b, cells, seed))
    elif not site.same:
        raise InputError(
            f"{a.path} and {b.path} cannot be compared: for directions, {site.words}; for activations, {MIN_CELLS} "
            f"cells are needed in both, and {cells.words}. If one model made both sites, say so: --same-site"
        )
    if site.same:
        try:
            matchings.append(by_directions(a, b, seed))
        except InputError as error:  # an atlas may lie here without its dictionary
            if not matchings:
                raise
            notes.append(f"directions were not compared: {error}")
    return Comparison(
        a=a.summary(),
        b=b.summary(),
        site=site.words,
        cells=cells.words,
        notes=[*notes, *_same_start(a, b, site), *_left_out(matchings)],
        measures=pd.DataFrame([row for matching in matchings for row in measures(matching, threshold)]),
        pairs=_pairs(matchings, threshold),
        threshold=threshold,
    )


def _site(a: Atlas, b: Atlas, told: bool) -> SiteOverlap:
    """Return whether the sites are the same, of the same width; `told` that they are, only the width is looked at."""
    site = site_overlap(a, b)
    widths = [site_width(one) for one in (a, b)]
    if None not in widths and widths[0] != widths[1]:
        words = f"the sites have {widths[0]} and {widths[1]} dimensions"
        if told:
            raise InputError(f"--same-site cannot be: {words}; leave it away to compare activations alone")
        return SiteOverlap(False, words)
    if told and not site.same:
        return SiteOverlap(True, f"taken as the same, as told, though {site.words}")
    return site


def _same_start(a: Atlas, b: Atlas, site: SiteOverlap) -> list[str]:
    """Say so where both dictionaries may have begun from the same random weights."""
    seeds = [one.manifest.get("seed") for one in (a, b)]
    if not site.same or seeds[0] is None or seeds[0] != seeds[1]:
        return []
    return [
        f"both dictionaries were trained from seed {seeds[0]}: part of what agrees may be the random weights that both "
        "began with; another --seed on the same --model shows how much"
    ]


def _pairs(matchings: Sequence[Matching], threshold: float) -> pd.DataFrame:
    """Return the pairs of the first matching with both similarities, then the concepts that have no pair."""
    first, pairs = matchings[0], matchings[0].found.pairs
    order = np.argsort(-pairs.similarity, kind="stable")
    at_a, at_b = first.a.places[pairs.a[order]], first.b.places[pairs.b[order]]
    table = pd.DataFrame({"a": at_a, "b": at_b, first.name: pairs.similarity[order]})
    if len(matchings) > 1:
        table[DIRECTIONS] = _cosine_of(matchings[1], at_a, at_b)
    left_a = np.setdiff1d(_alive(first.a.atlas), at_a)
    left_b = np.setdiff1d(_alive(first.b.atlas), at_b)
    rest = [pd.DataFrame({"a": left_a, "b": -1}), pd.DataFrame({"a": -1, "b": left_b})]
    table = pd.concat([table, *(part for part in rest if len(part))], ignore_index=True)
    columns: dict[str, Any] = {}
    for side, atlas in (("a", first.a.atlas), ("b", first.b.atlas)):
        var, place = atlas.concepts.var, table[side].to_numpy()
        columns[f"{side}_latent"] = pd.array(np.append(var["latent"], -1)[place], dtype="Int32")
        columns[f"{side}_latent"][place < 0] = pd.NA
        columns[f"{side}_concept"] = np.append(var.index.astype(str), "")[place]
        columns[f"{side}_label"] = np.append(var["best_label"].astype(str), "")[place]
    for name, similarity in (("coactivation", ACTIVATIONS), ("cosine", DIRECTIONS)):
        columns[name] = table.get(similarity, np.nan)
    columns["partner"] = table[first.name] >= threshold
    return pd.DataFrame(columns)


def _alive(atlas: Atlas) -> Array:
    var = atlas.concepts.var
    return np.flatnonzero((var["density"].to_numpy() > 0) & ~residual(var))


def _cosine_of(matching: Matching, at_a: Array, at_b: Array) -> Array:
    """Return the cosine of each pair of places, one by one."""
    rows, columns = (pd.DataFrame(side.directions(), index=side.places) for side in (matching.a, matching.b))
    one, other = rows.reindex(at_a).to_numpy(), columns.reindex(at_b).to_numpy()
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / np.where(norms > 0, norms, np.nan))


def _left_out(matchings: Sequence[Matching]) -> list[str]:
    """Say which concepts took no part."""
    notes = []
    for side, name in ((matchings[0].a, "A"), (matchings[0].b, "B")):
        silent = int((~residual(side.atlas.concepts.var)).sum()) - len(_alive(side.atlas))
        absent = len(_alive(side.atlas)) - len(side.places)
        if silent:
            notes.append(f"{silent} concepts of {name} are active in none of its cells and left out")
        if absent:
            notes.append(f"{absent} concepts of {name} are active in none of the cells that were looked at")
    return notes


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows for JSON; what is missing or not finite is None."""
    return [{str(key): _value(value) for key, value in row.items()} for row in table.to_dict("records")]


def _value(value: Any) -> Any:
    if isinstance(value, str | bool) or value is pd.NA:
        return None if value is pd.NA else value
    return finite_or_none(value)

"""From concepts to genes: pairs, swaps, knock-outs, path effects and differential expression of a block of concepts.

What is found for a concept depends on no other concept (but for the last bits of float32 products), so concepts may be
attributed in any grouping: `attribute(..., concepts=block)` is one unit of work.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.attribution import tables
from cellglass.attribution.block import GAP_COLUMNS, READOUTS, Part, Work
from cellglass.attribution.expression import Expressed
from cellglass.attribution.neighbours import Activations, Pool
from cellglass.attribution.pairs import PairSettings, choose_pairs, match_groups
from cellglass.attribution.path import check_gradient
from cellglass.cells.cells import Cells
from cellglass.dictionaries.base import Dictionary
from cellglass.errors import InputError
from cellglass.models.base import CellModel
from cellglass.progress import Progress, silent

Array = np.ndarray[Any, Any]
_log = logging.getLogger(__name__)

METHODS = ("swap", "knockout", "path", "de")
# Concepts that share one run of the model.
_BLOCK = 8


@dataclass(frozen=True)
class AttributionResult:
    """Genes of concepts, and what they rest on.

    Attributes
    ----------
    genes : pandas.DataFrame
        Columns ``method`` (swap, knockout, path, de), ``on`` (activation, preactivation, expression), ``concept``
        (int32), ``gene`` (id), ``effect``, ``se``, ``score`` (what genes are ranked by: t for de; else the effect,
        negative where prototypes have less of the gene than their partners, so that genes whose presence drives the
        concept come first and genes whose absence does last),
        ``q`` (float32; se and q are NaN where there is none) and ``n`` (int32: real pairs whose counts of the gene
        differ, for knock-outs prototypes that express it, for de cells). Means are over all real pairs (swap, path)
        or prototypes (knockout), with 0 where nothing could be changed.
    pairs : pandas.DataFrame
        ``concept``, ``prototype``, ``partner`` (positions of cells), ``kind`` (real, null), and of the path on the
        first readout ``difference`` (share of the prototype's readout that the partner lacks) and ``gap`` (see
        `PathEffects`); NaN where no path was run.
    concepts : pandas.DataFrame
        See `Pairs.concepts`.
    gaps : pandas.DataFrame
        Completeness of path effects: ``concept``, ``on``, ``kind``, ``n``, ``median``, ``max``.
    notes : tuple of str
        What could not be done and why, one line each.
    """

    genes: pd.DataFrame
    pairs: pd.DataFrame
    concepts: pd.DataFrame
    gaps: pd.DataFrame
    notes: tuple[str, ...]

    def effects(self, method: str, on: str, genes: pd.Index[Any]) -> pd.DataFrame:
        """Return scores as a dense table of concepts x `genes`, float32, with 0 where a gene was not measured."""
        rows = self.genes[(self.genes["method"] == method) & (self.genes["on"] == on)]
        concepts, row = np.unique(rows["concept"].to_numpy(), return_inverse=True)
        column = genes.get_indexer(pd.Index(rows["gene"]))
        dense = np.zeros((len(concepts), len(genes)), dtype=np.float32)
        known = column >= 0
        dense[row[known], column[known]] = rows["score"].to_numpy()[known]
        return pd.DataFrame(dense, index=pd.Index(concepts, name="concept"), columns=genes)


def attribute(
    model: CellModel,
    cells: Cells,
    site: str,
    dictionary: Dictionary,
    codes: sp.csc_matrix,
    activations: Activations,
    concepts: Sequence[int] | None = None,
    *,
    methods: Sequence[str] = METHODS,
    on: Sequence[str] = READOUTS,
    path_on: Sequence[str] = ("activation",),
    n_prototypes: int = 20,
    n_partners: int = 5,
    prototypes: Literal["top", "quantiles"] = "top",
    null: Literal["nearest", "random"] = "nearest",
    match: Sequence[str] = (),
    max_candidates: int = 50_000,
    max_genes: int | None = None,
    max_cells: int = 5_000,
    steps: int = 32,
    match_depth: bool = True,
    seed: int = 0,
    progress: Progress = silent,
) -> AttributionResult:
    """Attribute concepts to genes.

    Parameters
    ----------
    model : CellModel
        What is explained. Without counterfactuals (an embedding) differential expression is left, and a note says so.
    cells : Cells
        Aligned to the model.
    site : str
        Where the dictionary reads.
    dictionary : Dictionary
        Its latents are the concepts.
    codes : csc_matrix, shape (n_cells, n_latents)
        The dictionary's activations of `cells`.
    activations : array, tensor or store, shape (n_cells, width)
        The model's activations at the site.
    concepts : sequence of int, optional
        Latents; all by default.
    methods : sequence of {"swap", "knockout", "path", "de"}
        What to run. For formulas see `swaps`, `path`, `statistics` and `expression`.
    on : sequence of {"activation", "preactivation"}
        What swaps and knock-outs read: after the dictionary's selection, before it, or both.
    path_on : sequence of {"activation", "preactivation"}
        What paths read: the positive part of the pre-activation, the pre-activation, or both.
    n_prototypes, n_partners, prototypes, null, match, max_candidates
        See `PairSettings`.
    max_genes : int, optional
        Swaps and knock-outs are run for at most this many genes of a concept: those whose log1p counts differ most
        between prototypes and partners, mean over real pairs. All by default; a deep model needs minutes for each
        concept then, since every change of a count is a run of its own. Other genes have no row in the result.
    max_cells : int
        Cells a side in differential expression.
    steps : int
        Points on a path.
    match_depth : bool
        Bring a partner to its prototype's depth before a path starts.
    seed : int
        Same seed, same result.
    progress : Progress
        Hears how many concepts are done.

    Raises
    ------
    InputError
        If an argument cannot be.
    """
    _check(model, cells, site, dictionary, codes, methods, (*on, *path_on))
    if max_genes is not None and max_genes < 1:
        raise InputError(f"attribution: max_genes is {max_genes}; it must be at least 1")
    wanted = _wanted(concepts, dictionary.n_latents)
    how = PairSettings(n_prototypes, n_partners, prototypes, null, tuple(match), max_candidates=max_candidates)
    possible, notes = possible_methods(model, cells, site, methods)
    work = Work(model, cells, site, dictionary, tuple(on), tuple(path_on), steps, match_depth, possible, max_genes)
    pool = Pool.read(activations, site, cells.n_cells, at_most=max_candidates, seed=seed)
    groups = match_groups(cells, match)
    expressed = Expressed(cells, at_most=max_cells, seed=seed) if "de" in possible else None
    parts: list[Part] = []
    for start in range(0, len(wanted), _BLOCK):
        block = [int(c) for c in wanted[start : start + _BLOCK]]
        chosen = choose_pairs(codes, activations, site, pool, groups, block, how, seed)
        parts.append(work.block(chosen.table, chosen.concepts))
        if expressed is not None:
            parts[-1].genes.extend(_expression(expressed, codes, cells, block))
        progress("attribution", min(start + _BLOCK, len(wanted)), len(wanted))
    return _assembled(parts, notes)


def _expression(expressed: Expressed, codes: sp.csc_matrix, cells: Cells, concepts: list[int]) -> list[pd.DataFrame]:
    out = []
    for concept in concepts:
        column = slice(codes.indptr[concept], codes.indptr[concept + 1])
        active = codes.indices[column][codes.data[column] > 0].astype(np.int64)
        found = expressed.compare(active, concept)
        if found is not None:
            out.append(tables.expression_rows(concept, cells.genes.index.to_numpy(dtype=object), found))
    return out


def possible_methods(
    model: CellModel, cells: Cells, site: str, methods: Sequence[str]
) -> tuple[tuple[str, ...], list[str]]:
    """Return the methods that the model can do, and why not the others: ask it once, with one unchanged cell."""
    notes, cannot = [], set()
    one, zero = cells[:1], np.zeros(1, dtype=np.int64)
    if {"swap", "knockout"} & set(methods):
        try:
            model.perturbed_activations(one, site, zero, zero, np.zeros(1, dtype=np.float32))
        except InputError as error:
            notes.append(f"no swaps and no knock-outs: {error}")
            cannot |= {"swap", "knockout"}
    if "path" in methods:
        try:
            check_gradient(model, one, site)
        except InputError as error:
            notes.append(f"no path effects: {error}")
            cannot.add("path")
    for note in notes:
        _log.warning("attribution: %s", note)
    return tuple(m for m in METHODS if m in methods and m not in cannot), notes


def _assembled(parts: list[Part], notes: list[str]) -> AttributionResult:
    pairs: dict[str, Any] = {
        "concept": np.int32, "prototype": np.int64, "partner": np.int64, "kind": object,
        "difference": np.float32, "gap": np.float32,
    }  # fmt: skip
    return AttributionResult(
        genes=tables.joined([frame for part in parts for frame in part.genes], tables.GENE_COLUMNS),
        pairs=tables.joined([part.pairs for part in parts if len(part.pairs)], pairs),
        concepts=tables.joined([part.concepts for part in parts], {"concept": np.int32}),
        gaps=tables.joined([frame for part in parts for frame in part.gaps], GAP_COLUMNS),
        notes=tuple(notes),
    )


def _wanted(concepts: Sequence[int] | None, n_latents: int) -> Array:
    if concepts is None:
        return np.arange(n_latents)
    wanted = np.unique(np.asarray(concepts, dtype=np.int64))
    if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < n_latents:
        raise InputError(f"attribution: concepts must lie in 0..{n_latents - 1}; got {wanted[0]}..{wanted[-1]}")
    return wanted


def _check(
    model: CellModel,
    cells: Cells,
    site: str,
    dictionary: Dictionary,
    codes: sp.csc_matrix,
    methods: Sequence[str],
    on: Sequence[str],
) -> None:
    model.site(site)
    for what, given, known in (("method", methods, METHODS), ("readout", on, READOUTS)):
        for name in given:
            if name not in known:
                raise InputError(f"attribution: there is no {what} {name!r}; there are: {', '.join(known)}")
    if codes.shape != (cells.n_cells, dictionary.n_latents):
        raise InputError(
            f"attribution: codes have shape {codes.shape}, but there are {cells.n_cells} cells and "
            f"{dictionary.n_latents} latents"
        )
    if codes.format != "csc":
        raise InputError(f"attribution: codes are {codes.format}; give csc (codes.tocsc())")

"""From concepts to genes: the pairs of a block of concepts, and what each method makes of them.

What is found for a concept depends on no other concept (but for the last bits of float32 products), so concepts may be
attributed in any grouping: `attribute(..., concepts=block)` is one unit of work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.attribution import tables
from cellglass.attribution.config import AttributionConfig
from cellglass.attribution.effects import readable
from cellglass.attribution.neighbours import Activations
from cellglass.attribution.pairs import choose_pairs
from cellglass.attribution.screen import COLUMNS, recall
from cellglass.attribution.work import Block, Work
from cellglass.cells.cells import Cells
from cellglass.dictionaries.base import Dictionary
from cellglass.errors import InputError
from cellglass.models.base import CellModel
from cellglass.progress import Progress, silent

Array = np.ndarray[Any, Any]
# Concepts that share one run of the model.
_BLOCK = 8


@dataclass(frozen=True)
class AttributionResult:
    """Genes of concepts, and what they rest on.

    Attributes
    ----------
    genes : pandas.DataFrame
        Columns ``method`` (swap, knockout, path, de, or one of another package), ``on`` (activation, preactivation,
        expression), ``concept`` (int32), ``gene`` (id), ``effect``, ``se``, ``score`` (what genes are ranked by: t for
        de; else the effect, negative where prototypes have less of the gene than their partners, so that genes whose
        presence drives the concept come first and genes whose absence does last),
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
    screens : pandas.DataFrame
        What screens find of the true top genes: `screen.COLUMNS`.
    notes : tuple of str
        What could not be done and why, one line each.
    """

    genes: pd.DataFrame
    pairs: pd.DataFrame
    concepts: pd.DataFrame
    gaps: pd.DataFrame
    screens: pd.DataFrame
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
    config: AttributionConfig = AttributionConfig(),  # noqa: B008 (frozen)
    seed: int = 0,
    thresholds: Array | None = None,
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
    config : AttributionConfig
        Which methods are run, and how. For formulas see ``methods``.
    seed : int
        Same seed, same result.
    thresholds : float array, shape (n_latents,), optional
        See `Work`: from which activation on a concept is on, for differential expression.
    progress : Progress
        Told how many concepts are done.

    Raises
    ------
    InputError
        If an argument is invalid.
    """
    work = Work(model, cells, site, dictionary, codes, activations, config, seed, thresholds)
    return attribute_concepts(work, concepts, progress)


def attribute_concepts(
    work: Work,
    concepts: Sequence[int] | None = None,
    progress: Progress = silent,
    *,
    only: Sequence[str] | None = None,
    check: Sequence[int] = (),
) -> AttributionResult:
    """Attribute some concepts, as `attribute` does; `work` may be used again for others, and keeps what they share.

    With `only`, rows are those of some of the methods; pairs are those of all of them. Of the concepts in `check` it is
    measured what the screen finds.
    """
    _check(work)
    wanted = _wanted(concepts, work.dictionary.n_latents)
    parts: list[_Part] = []
    for start in range(0, len(wanted), _BLOCK):
        parts.append(_block(work, [int(c) for c in wanted[start : start + _BLOCK]], only, check))
        progress("attribution", min(start + _BLOCK, len(wanted)), len(wanted))
    pairs: dict[str, Any] = {
        "concept": np.int32, "prototype": np.int64, "partner": np.int64, "kind": object,
        "difference": np.float32, "gap": np.float32,
    }  # fmt: skip
    return AttributionResult(
        genes=tables.joined([frame for part in parts for frame in part.genes], tables.GENE_COLUMNS),
        pairs=tables.joined([part.pairs for part in parts if len(part.pairs)], pairs),
        concepts=tables.joined([part.concepts for part in parts], {"concept": np.int32}),
        gaps=tables.joined([frame for part in parts for frame in part.gaps], tables.GAP_COLUMNS),
        screens=tables.joined([part.screens for part in parts if len(part.screens)], COLUMNS),
        notes=work.plan.notes,
    )


class _Part(NamedTuple):
    """What a block of concepts gave."""

    genes: list[pd.DataFrame]
    pairs: pd.DataFrame
    concepts: pd.DataFrame
    gaps: list[pd.DataFrame]
    screens: pd.DataFrame


def _block(work: Work, concepts: list[int], only: Sequence[str] | None, check: Sequence[int]) -> _Part:
    chosen = readable(work, choose_pairs(work, concepts))
    nothing = np.float32(np.nan)
    block = Block(work, concepts, chosen.table.assign(difference=nothing, gap=nothing))
    genes = []
    for method in work.plan.methods:
        if only is not None and method.name not in only:
            continue
        for on in method.reads(work.config):
            genes.append(tables.stamped(method.rows(block, on), method.name, on))
        block.changed.pop(method.name, None)  # millions of edits
    return _Part(genes, block.pairs, chosen.concepts, block.gaps, recall(block, check))


def _wanted(concepts: Sequence[int] | None, n_latents: int) -> Array:
    if concepts is None:
        return np.arange(n_latents)
    wanted = np.unique(np.asarray(concepts, dtype=np.int64))
    if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < n_latents:
        raise InputError(f"attribution: concepts must lie in 0..{n_latents - 1}; got {wanted[0]}..{wanted[-1]}")
    return wanted


def _check(work: Work) -> None:
    work.model.site(work.site)
    codes, shape = work.codes, (work.cells.n_cells, work.dictionary.n_latents)
    if codes.shape != shape:
        raise InputError(
            f"attribution: codes have shape {codes.shape}, but there are {shape[0]} cells and {shape[1]} latents"
        )
    if codes.format != "csc":
        raise InputError(f"attribution: codes are {codes.format}; give csc (codes.tocsc())")

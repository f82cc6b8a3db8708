"""Screen, then verify: a cheap estimate says which genes to change, exact runs on changed counts say what they do.

Where each swap is a run of a deep network, the swaps of all genes that differ (the *sweep*) are too many. So genes of a
concept are put in order, swaps and knock-outs are run for those at the head, and the others have no row: they were not
measured. The order is that of

    gradient      |mean over pairs of (x_g - x'_g) df/dx_g|, with one gradient for a pair of each prototype
                  (``gradients.py``, rule ``end``)
    difference    |mean over pairs of (x_g - x'_g)|, x the log1p counts: asks no model

and the head is as long as ``genes`` and ``budget`` let it be: of the sweep's different (cell, gene, count), at most the
share `budget` is run. How many of the genes with the largest exact effects the head holds is measured (`recall`) by the
sweep of a few pairs of a few concepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from cellglass.attribution.config import AttributionConfig
from cellglass.attribution.edits import Edits
from cellglass.attribution.work import Block, Work, columns

Array = np.ndarray[Any, Any]

TOP = 20
"""Genes with the largest exact effects that a screen should find."""
ROUNDING = 1e-5
"""Exact effects of at most this size are what float32 leaves of none."""
CHECKED_PAIRS = 6
"""Pairs of a concept whose sweep is run to see what a screen finds, each of another prototype."""

COLUMNS: dict[str, Any] = {
    "concept": np.int32, "screen": object, "pairs": np.int32, "differing": np.int32, "chosen": np.int32,
    "share": np.float32, "recall": np.float32,
}  # fmt: skip
"""What is said of a checked concept: pairs that were swept, genes that differ in them, those that the screen chose, the
share of the sweep's runs that these take, and the share of the true top genes among them."""


def chosen_genes(block: Block, edits: Edits) -> dict[int, Array] | None:
    """Return, by concept, the genes whose changes are run, positions sorted; None where all are.

    Parameters
    ----------
    block : Block
        ``work.config`` says by which screen, at most how many genes, and at most which share of the runs.
    edits : Edits
        All changes that are asked for.
    """
    config = block.work.config
    if tries_all(config):
        return None
    found = {}
    for concept, pairs in block.each():
        real = pairs[pairs["kind"] == "real"]
        if len(real):
            mine = Edits(*(column[edits.concept == concept] for column in edits))
            found[concept] = head(scores(block.work, real, screen_of(block.work)), mine, config.genes, config.budget)
    return found


def tries_all(config: AttributionConfig) -> bool:
    """Say whether swaps of all genes are run."""
    return config.genes is None and (config.budget is None or config.budget >= 1)


def screen_of(work: Work) -> str:
    """Return by what genes are put in order: as asked, else as suits the model; by expression without a gradient."""
    asked = work.config.screen or work.model.screens_by
    return asked if work.model.lacks("path", work.site) is None else "difference"


def scores(work: Work, pairs: pd.DataFrame, screen: str) -> Array:
    """Return by what genes are put in order, float (n_genes,): 0 where nothing is to be expected."""
    if screen == "gradient":
        from cellglass.attribution.gradients import path_effects

        few = pairs.drop_duplicates("prototype")
        found = path_effects(
            work, *columns(few, "prototype", "partner", "concept"), on=work.config.path_on[0], steps=1, rule="end",
            match_depth=False,
        )  # fmt: skip
        size: Array = np.abs(np.where(np.isfinite(found.effects), found.effects, 0).mean(axis=0))
        return size
    return np.abs(work.change(pairs))


def head(score: Array, edits: Edits, genes: int | None, budget: float | None) -> Array:
    """Return the genes at the head of the order, positions sorted: at most `genes`, and their runs within `budget`."""
    order = np.argsort(-score, kind="stable")
    order = order[score[order] > 0][:genes]
    if budget is not None:
        runs = runs_of_genes(edits, len(score))  # (n_genes,)
        order = order[np.cumsum(runs[order]) <= budget * runs.sum()]
    return np.sort(order)


def runs_of_genes(edits: Edits, n_genes: int) -> Array:
    """Return how many different changes of each gene are asked for, int64 (n_genes,)."""
    each = np.unique(np.stack([edits.gene, edits.cell, edits.counts.astype(np.int64)], axis=1), axis=0)
    return np.bincount(each[:, 0], minlength=n_genes)


def recall(block: Block, concepts: Sequence[int]) -> pd.DataFrame:
    """Return what screens find of the true top genes of some concepts of a block: `COLUMNS`, a row for each screen.

    The sweep of a few real pairs gives the genes with the largest |mean effect|; the screen is run on the same pairs,
    and chooses within the same budget.
    """
    from cellglass.attribution.effects import effects
    from cellglass.attribution.methods.swap import swap_edits

    work, config, rows = block.work, block.work.config, []
    if tries_all(config) or not any(method.edits is not None for method in work.plan.methods):
        concepts = ()
    for concept, pairs in block.each():
        real = pairs[pairs["kind"] == "real"].drop_duplicates("prototype")[:CHECKED_PAIRS]
        if concept not in concepts or not len(real):
            continue
        edits = swap_edits(work.cells.counts, *columns(real, "prototype", "partner", "concept"))
        on = next(iter(config.on))
        exact = np.zeros((len(real), work.cells.n_genes))
        exact[edits.row, edits.gene] = effects(work, edits, (on,))[on]
        size = np.abs(exact.mean(axis=0))  # (n_genes,)
        top = np.argsort(-size, kind="stable")[: min(TOP, np.count_nonzero(size > ROUNDING))]
        runs = runs_of_genes(edits, len(size))
        for screen in dict.fromkeys((screen_of(work), "difference")):
            found = head(scores(work, real, screen), edits, config.genes, config.budget)
            share, hits = runs[found].sum() / max(runs.sum(), 1), np.isin(top, found).mean() if len(top) else np.nan
            rows.append([concept, screen, len(real), np.count_nonzero(runs), len(found), share, hits])
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)

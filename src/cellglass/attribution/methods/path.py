"""Path effects: integrated gradients from partner to prototype, along which all counts move together.

A gene's effect is its share of the whole difference in the concept between the two cells (the formula is in
``gradients.py``). Reported is the mean over real pairs; q compares real pairs with null pairs of the same prototypes
(`statistics.paired`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cellglass.attribution import statistics, tables
from cellglass.attribution.method import Method, needs
from cellglass.attribution.work import Block, columns

Array = np.ndarray[Any, Any]


def rows(block: Block, on: str) -> pd.DataFrame:
    """Return the genes that differ in a real pair; ``n`` counts such pairs. Notes how complete the paths are."""
    from cellglass.attribution.gradients import path_effects
    from cellglass.attribution.pairs import at_real_distance

    work, frames = block.work, []
    config = work.config
    for concept, pairs in block.each():
        null = (pairs["kind"] == "null").to_numpy()  # (m,)
        prototype, partner, latent = columns(pairs, "prototype", "partner", "concept")
        found = path_effects(
            work, prototype, partner, latent, on=on, steps=config.steps, match_depth=config.match_depth
        )
        change = found.change[~null]  # (real pairs, n_genes)
        n = np.count_nonzero(change, axis=0)  # (n_genes,)
        effects = at_real_distance(work, pairs, found.effects)
        result = statistics.paired(effects, prototype, partner, null, n > 0)
        frames.append(tables.statistics_rows(concept, work.genes, result, n, change.mean(axis=0)))
        block.gaps += gaps(concept, on, null, found.gap)
        if on == ENTRY.reads(config)[0]:
            block.pairs.loc[pairs.index, "difference"] = found.difference / found.readout
            block.pairs.loc[pairs.index, "gap"] = found.gap
    return tables.joined(frames, tables.MEASURED)


def gaps(concept: int, on: str, null: Array, gap: Array) -> list[pd.DataFrame]:
    """Return the median and the largest gap of real and of null pairs."""
    found = []
    for kind, mine in (("real", gap[~null]), ("null", gap[null])):
        known = mine[~np.isnan(mine)]
        if len(known):
            found.append([concept, on, kind, len(known), np.median(known), known.max()])
    return [pd.DataFrame(found, columns=list(tables.GAP_COLUMNS)).astype(tables.GAP_COLUMNS)] if found else []


ENTRY = Method(
    name="path",
    title="Path",
    cost="One gradient of the model for each pair and step; behind a linear first layer, of what follows it.",
    readouts=("activation", "preactivation"),
    rows=rows,
    possible=needs("path"),
    without="no path effects",
    ranking="activation",
    preference=1,
)

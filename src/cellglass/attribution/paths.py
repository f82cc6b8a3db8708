"""What methods along a path share: from the effects of a block's pairs to the rows of genes, and how complete they are.

``path`` takes gradients all the way from partner to prototype, ``gradient`` at the prototype alone. Formulas are in
``gradients.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellglass.attribution import statistics, tables
from cellglass.attribution.work import Block, columns

if TYPE_CHECKING:
    from cellglass.attribution.gradients import PathEffects

Array = np.ndarray[Any, Any]


def rows_of_paths(
    block: Block, on: str, effects: Callable[..., PathEffects], *, note: bool = False, **how: Any
) -> pd.DataFrame:
    """Return the genes that differ in a real pair of each concept; ``n`` counts such pairs.

    Parameters
    ----------
    block : Block
        Its `gaps` get how far effects are from adding up.
    on : {"activation", "preactivation"}
        The readout.
    effects : callable
        `gradients.path_effects`.
    note : bool
        Whether `block.pairs` gets ``difference`` and ``gap`` of each pair.
    **how
        For `effects`.
    """
    from cellglass.attribution.pairs import at_real_distance

    work, frames = block.work, []
    for concept, pairs in block.each():
        null = (pairs["kind"] == "null").to_numpy()  # (m,)
        prototype, partner, latent = columns(pairs, "prototype", "partner", "concept")
        found = effects(work, prototype, partner, latent, on=on, match_depth=work.config.match_depth, **how)
        change = found.change[~null]  # (real pairs, n_genes)
        # At equal counts a token may still move: bins and ranks are of the whole cell.
        n = np.count_nonzero((change != 0) | (found.effects[~null] != 0), axis=0)  # (n_genes,)
        shares = at_real_distance(work, pairs, found.effects)
        result = statistics.paired(shares, prototype, partner, null, n > 0)
        frames.append(tables.statistics_rows(concept, work.genes, result, n, change.mean(axis=0)))
        if note:
            block.gaps += gaps(concept, on, null, found.gap)
            if on == work.config.path_on[0]:
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

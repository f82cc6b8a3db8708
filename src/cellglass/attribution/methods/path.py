"""Path effects: integrated gradients from partner to prototype, along which all counts move together.

A gene's effect is its share of the whole difference in the concept between the two cells (the formula is in
``gradients.py``). Reported is the mean over real pairs; q compares real pairs with null pairs of the same prototypes
(`statistics.paired`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellglass.attribution.method import Method, needs
from cellglass.attribution.paths import rows_of_paths

if TYPE_CHECKING:
    import pandas as pd

    from cellglass.attribution.work import Block


def rows(block: Block, on: str) -> pd.DataFrame:
    """Return the genes that differ in a real pair; ``n`` counts such pairs. Notes how complete the paths are."""
    from cellglass.attribution.gradients import path_effects
    from cellglass.attribution.token_paths import reads_tokens

    config, tokens = block.work.config, reads_tokens(block.work.model)
    how = {"steps": config.token_steps, "rule": "gauss"} if tokens else {"steps": config.steps}
    return rows_of_paths(block, on, path_effects, note=True, **how)


ENTRY = Method(
    name="path",
    title="Path",
    cost="One gradient of the model for each pair and step; behind a linear first layer, of what follows it; through a "
    "transformer's tokens at few steps, as much as a few dozen runs for a pair.",
    readouts=("activation", "preactivation"),
    rows=rows,
    possible=needs("path"),
    without="no path effects",
    ranking="activation",
    preference=1,
)

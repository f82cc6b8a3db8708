"""Gradient x difference: what a straight line from the prototype to its partner would take, gene by gene.

    effect_g = (x_g - x'_g) df/dx_g (x) / f(x)

with x, x' the log1p counts of prototype and partner, f the readout, as in ``gradients.py``: the path of one step, at
its end. One backward pass a pair, where a path takes as many as it has steps. It adds up to the whole difference only
where the model is linear between the two cells, so a sum that is far from it is no error of arithmetic. q as for paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellglass.attribution.method import Method, needs
from cellglass.attribution.paths import rows_of_paths
from cellglass.vocabulary import TITLES

if TYPE_CHECKING:
    import pandas as pd

    from cellglass.attribution.work import Block


def rows(block: Block, on: str) -> pd.DataFrame:
    """Return the genes that differ in a real pair; ``n`` counts such pairs."""
    from cellglass.attribution.gradients import path_effects

    return rows_of_paths(block, on, path_effects, steps=1, rule="end")


ENTRY = Method(
    name="gradient",
    title=TITLES["gradient"],
    cost="One gradient of the model for each pair; behind a linear first layer, of what follows it.",
    readouts=("activation", "preactivation"),
    rows=rows,
    possible=needs("path"),
    without="no gradients",
    ranking="activation",
    preference=4,
)

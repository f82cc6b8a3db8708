"""Small transformers that are fitted to a user's cells: their size, and the sites that each will have. Fits nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cellglass.models.kind import FitConfig

HEADS = 4
DEFAULTS: Mapping[str, int | None] = {"width": 128, "layers": 4, "epochs": None}
"""Unless told otherwise; the number of epochs depends on the cells."""


def site_names(cell_sites: Sequence[str], config: FitConfig, *, last: Sequence[str] = ()) -> list[str]:
    """Return the names of the sites of a small transformer, in its order.

    Parameters
    ----------
    cell_sites
        Sites with one row for each cell, which come first.
    config
        Says how many layers there are.
    last
        Sites behind the last layer.
    """
    names = [*cell_sites, "embed"]
    for i in range(config.layers or DEFAULTS["layers"] or 1):
        heads = [f"attn.head.{h}" for h in range(HEADS)]
        names += [f"layers.{i}.{part}" for part in (*heads, "attn.out", "mlp.in", "mlp.out", "resid")]
    return [*names, *last]

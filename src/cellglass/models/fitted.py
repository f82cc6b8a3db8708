"""The transformers that can be fitted small to a user's cells, and the sites that each will have, before it is fitted.

A run that takes minutes to fit a model should refuse a wrong site at once. Fits nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.base import CellModel
from cellglass.progress import Progress, silent

LAYERS, HEADS = 4, 4
"""Of a small transformer, unless told otherwise."""

CELL_SITES: Mapping[str, tuple[str, ...]] = {
    "scgpt": ("cell", "cell.raw"),
    "geneformer": ("cell", "cell.last"),
    "cell2sentence": ("cell", "cell.last"),
}
"""Sites with one row for each cell, by kind."""
_LAST: Mapping[str, tuple[str, ...]] = {"cell2sentence": ("final",)}


def check_kind(kind: str) -> None:
    """Raise InputError unless `kind` can be fitted small."""
    if kind not in CELL_SITES:
        raise InputError(f"there is no transformer {kind!r} to fit; there are: {', '.join(CELL_SITES)}")


def site_names(kind: str, layers: int | None = None) -> list[str]:
    """Return the names of the sites of a small model of `kind`, in its order."""
    check_kind(kind)
    names = [*CELL_SITES[kind], "embed"]
    for i in range(layers or LAYERS):
        heads = [f"attn.head.{h}" for h in range(HEADS)]
        names += [f"layers.{i}.{part}" for part in (*heads, "attn.out", "mlp.in", "mlp.out", "resid")]
    return [*names, *_LAST.get(kind, ())]


def fit(
    kind: str,
    cells: Cells,
    *,
    layers: int | None = None,
    width: int = 128,
    epochs: int | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> CellModel:
    """Train a small transformer of `kind` on raw counts with its published objective.

    Parameters
    ----------
    kind : {"scgpt", "geneformer", "cell2sentence"}
    cells : Cells
        All genes that were measured.
    layers, width : int
        Of the network; 4 heads a layer.
    epochs : int, optional
        Passes over the cells, 0 for the network as it starts, a control; by default what the kind needs.
    seed : int
    checkpoint : Path, optional
        A file from which a killed fit goes on to the same weights.
    progress : Progress

    Raises
    ------
    InputError
        If there is no such kind, or a number cannot be.
    """
    check_kind(kind)
    options = {} if epochs is None else {"epochs": epochs}
    model: CellModel = import_module(f"cellglass.models.{kind}").fit(
        cells,
        layers=layers or LAYERS,
        width=width,
        heads=HEADS,
        seed=seed,
        checkpoint=checkpoint,
        progress=progress,
        **options,
    )
    return model


def check_site(kind: str, site: str, layers: int | None = None) -> None:
    """Raise InputError if a small model of `kind` will have no such site."""
    refuse_unknown(kind, site, site_names(kind, layers))


def refuse_unknown(kind: str, site: str, known: Sequence[str]) -> None:
    """Raise InputError, naming the sites that there are, if `site` is not `known`."""
    if site not in known:
        raise InputError(f"the {kind} model has no site {site!r}; its sites are: {', '.join(known)}")

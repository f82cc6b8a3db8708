"""What all plots share: axes to draw on, and what becomes of the figure, as scanpy's plots have it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.atlas import open_atlas
from cellglass.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cellglass.atlas import Atlas

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#999999"
"""Of the colours of Okabe and Ito (2008)."""


def opened(atlas: Atlas | Path | str) -> Atlas:
    """Return the atlas, from its folder where that was given."""
    return open_atlas(atlas) if isinstance(atlas, str | Path) else atlas


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return `ax`, or the axes of a new figure of so many inches."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    made: Axes = plt.subplots(figsize=(width, height), layout="constrained")[1]
    return made


def done(ax: Axes, show: bool | None, save: Path | str | None) -> Axes | None:
    """Save and show the figure as asked; return the axes unless it was shown.

    Without `show` it is shown where matplotlib shows figures (notebooks, windows), and not where it only draws files.
    """
    import matplotlib.pyplot as plt

    figure = ax.get_figure(root=True)
    if save is not None and figure is not None:
        try:
            figure.savefig(save, dpi=150, bbox_inches="tight")
        except (OSError, ValueError) as error:
            raise InputError(f"{save}: the figure cannot be saved there: {error}") from error
    shown = plt.get_backend().lower() not in ("agg", "pdf", "svg", "ps") if show is None else show
    if shown:
        plt.show()
        return None
    return ax

"""The stage that draws the cells in two dimensions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellglass.compiled import machine_code_kept
from cellglass.errors import InputError
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.workspace import LAYOUT, cell_site, open_activations, save_array
from cellglass.progress import Progress, silent
from cellglass.seeds import derive, generator
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.activations.store import Store

Array = np.ndarray[Any, Any]

MOST_DRAWN = 100_000
"""Cells that UMAP draws; others are put between the nearest of them, so that time grows with the number of cells."""
_FEWEST, _NEIGHBORS, _BETWEEN, _BLOCK = 4, 15, 5, 50_000
_JITTER = 1e-3


class LayoutStage(Stage):
    """Draws the cells: UMAP of the site (McInnes et al. 2018), as scanpy runs it, from the first two components.

    A start from components takes no time and keeps what is far apart (Kobak & Linderman 2021); the spectral start that
    is UMAP's own grows with the square of the cells, and does not end where the graph falls into many parts.
    """

    name = "layout"
    does = "draw the cells"
    outputs = (LAYOUT,)
    needs = ("activations",)
    revision = 2

    def settings(self) -> Any:
        """Return the seed."""
        return {"seed": self.run.config.seed}

    def do(self, name: str, folder: Path) -> None:  # noqa: ARG002 (there is one unit)
        """Write where each cell is drawn, float32 (n_cells, 2)."""
        store, _ = open_activations(self.run)
        drawn = draw(store, cell_site(store), self.run.config.seed, progress=self.run.progress)
        save_array(folder / Path(LAYOUT).name, drawn)


def draw(store: Store, site: str, seed: int, *, most: int = MOST_DRAWN, progress: Progress = silent) -> Array:
    """Return where each cell is drawn, float32 (n_cells, 2).

    Of more than `most` cells that many, drawn with `seed`, are laid out, and each of the others is put at the mean of
    its five nearest of these, weighted by exp(-d / mean d) of their distances d.

    Raises
    ------
    InputError
        If there are fewer than four cells.
    """
    n = store.n_rows(site)
    if n < _FEWEST:
        raise InputError(f"there are only {n} cells; a layout needs at least {_FEWEST}")
    chosen = np.sort(generator(seed, "layout cells").permutation(n)[:most])
    steps = 2 + -(-n // _BLOCK) * (n > most)
    progress("draw the cells", 0, steps)
    with warnings.catch_warnings(), threads(1):
        warnings.simplefilter("ignore")  # umap and numba warn of their own settings
        x = store.read(site, chosen).numpy()
        state, many = derive(seed, "layout") % 2**31, n > len(chosen)
        placed, index = _umap(x, state, index=many, found_neighbors=lambda: progress("draw the cells", 1, steps))
        progress("draw the cells", 2, steps)
        if not many:
            return placed
        drawn = np.empty((n, 2), dtype=np.float32)
        for step, start in enumerate(range(0, n, _BLOCK), start=3):
            rows = np.arange(start, min(start + _BLOCK, n))
            nearest, distance = index.query(store.read(site, rows).numpy(), k=_BETWEEN)
            drawn[rows] = _between(placed[nearest], distance)
            progress("draw the cells", step, steps)
    drawn[chosen] = placed
    return drawn


def _umap(x: Array, seed: int, *, index: bool, found_neighbors: Callable[[], None]) -> tuple[Array, Any]:
    """Return where scanpy's UMAP draws the rows `x`, float32 (n, 2), and pynndescent's index of them, where wanted."""
    import scanpy as sc
    from anndata import AnnData

    with machine_code_kept():
        import umap  # noqa: F401  scanpy calls it
        from pynndescent import PyNNDescentTransformer
    drawn = AnnData(X=np.zeros((len(x), 0), dtype=np.float32), obsm={"site": x, "start": _start(x, seed)})
    count, options = min(_NEIGHBORS, len(x) - 1), {}
    if index:  # of many rows scanpy searches so too, but does not give the index away
        trees, rounds = min(64, 5 + round(len(x) ** 0.5 / 20)), max(5, round(np.log2(len(x))))
        options["transformer"] = PyNNDescentTransformer(
            n_neighbors=count, n_trees=trees, n_iters=rounds, random_state=seed, n_jobs=1
        )
    sc.pp.neighbors(drawn, n_neighbors=count, use_rep="site", random_state=seed, **options)
    found_neighbors()
    sc.tl.umap(drawn, random_state=seed, init_pos="start")
    return drawn.obsm["X_umap"].astype(np.float32), options["transformer"].index_ if index else None


def _start(x: Array, seed: int) -> Array:
    """Return the first two components of the rows `x` with a little noise, float32 (n, 2)."""
    centred = x.astype(np.float64) - x.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    start = np.zeros((len(x), 2))
    start[:, : axes.shape[1]] = centred @ axes
    noise = generator(seed, "layout start").standard_normal(start.shape)
    return (start + _JITTER * (start.std() or 1.0) * noise).astype(np.float32)


def _between(places: Array, distance: Array) -> Array:
    """Return the mean of the places (n, k, 2) of nearest rows, weighted by how near they are."""
    weight = np.exp(-distance / np.maximum(distance.mean(axis=1, keepdims=True), 1e-12))
    return np.asarray((weight[..., None] * places).sum(axis=1) / weight.sum(axis=1)[:, None])

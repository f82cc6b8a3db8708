"""The stages that run the cells through the model: activations onto disk, and where each cell is drawn.

What is explained is one site. Where it has one row for each gene of a cell, a sample of each cell's rows is kept for
the dictionary to learn from, and beside it the model's first site with one row for each cell, in whose space cells are
drawn and swap partners are looked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cellglass.errors import InputError
from cellglass.files import atomic_path
from cellglass.pipeline.runner import Run
from cellglass.pipeline.stages.model import open_explained, open_model, site_name
from cellglass.seeds import derive
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.activations import Store
    from cellglass.models.base import CellModel

ACTIVATIONS = "work/activations"
LAYOUT = "work/layout.npy"


def activation_settings(run: Run) -> Any:
    """Return what the store depends on beside the model."""
    config = run.config.model
    return {"site": config.site, "tokens_per_cell": config.tokens_per_cell, "seed": run.config.seed}


def make_activations(run: Run) -> None:
    """Capture the site's activations, with the posterior's spread where the model has one."""
    from cellglass.activations import capture

    model = open_model(run)
    partial = run.unit_folder("activations")  # a killed capture goes on from its last whole shard
    capture(
        model,
        open_explained(run),
        _kept(model, site_name(run, model)),
        partial,
        tokens_per_cell=run.config.model.tokens_per_cell,
        seed=derive(run.config.seed, "activations"),
        progress=run.progress,
    )
    with atomic_path(run.path(ACTIVATIONS)) as temporary:
        partial.rename(temporary)


def _kept(model: CellModel, site: str) -> list[str]:
    """Return the sites that are kept: the explained one first."""
    if model.site(site).granularity == "cell":
        return [site]
    return [site, next(name for name, one in model.sites.items() if one.granularity == "cell")]


def open_activations(run: Run) -> tuple[Store, str]:
    """Return the store of activations and the name of the site that is explained."""
    from cellglass.activations import open_store

    store = open_store(run.path(ACTIVATIONS))
    return store, next(iter(store.sites))


def cell_site(store: Store) -> str:
    """Return the site of the store with one row for each cell: the explained one, or the one beside it."""
    return next(name for name, kept in store.sites.items() if kept.granularity == "cell")


def make_layout(run: Run) -> None:
    """Draw the cells in two dimensions: UMAP of the site (McInnes et al. 2018), as scanpy runs it."""
    import warnings

    import scanpy as sc
    from anndata import AnnData

    store, _ = open_activations(run)
    site = cell_site(store)
    rows = np.arange(store.n_rows(site))
    matrix = store.read(site, rows).numpy()
    if len(rows) < 4:
        raise InputError(f"there are only {len(rows)} cells; a layout needs at least 4")
    drawn = AnnData(X=np.zeros((len(rows), 0), dtype=np.float32), obsm={"site": matrix})
    state = derive(run.config.seed, "layout") % 2**31
    with warnings.catch_warnings(), threads(1):
        warnings.simplefilter("ignore")  # umap and numba warn of their own settings
        sc.pp.neighbors(drawn, n_neighbors=min(15, len(rows) - 1), use_rep="site", random_state=state)
        sc.tl.umap(drawn, random_state=state)
    with atomic_path(run.path(LAYOUT)) as temporary, temporary.open("wb") as file:
        np.save(file, drawn.obsm["X_umap"].astype(np.float32), allow_pickle=False)

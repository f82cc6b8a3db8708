"""The stage that draws the cells in two dimensions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cellglass.compiled import machine_code_kept
from cellglass.errors import InputError
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.workspace import LAYOUT, cell_site, open_activations, save_array
from cellglass.seeds import derive
from cellglass.threads import threads

_FEWEST = 4


class LayoutStage(Stage):
    """Draws the cells: UMAP of the site (McInnes et al. 2018), as scanpy runs it."""

    name = "layout"
    does = "draw the cells"
    outputs = (LAYOUT,)
    needs = ("activations",)

    def settings(self) -> Any:
        """Return the seed."""
        return {"seed": self.run.config.seed}

    def do(self, name: str, folder: Path) -> None:  # noqa: ARG002 (there is one unit)
        """Write where each cell is drawn, float32 (n_cells, 2)."""
        import warnings

        import scanpy as sc
        from anndata import AnnData

        store, _ = open_activations(self.run)
        site = cell_site(store)
        rows = np.arange(store.n_rows(site))
        matrix = store.read(site, rows).numpy()
        if len(rows) < _FEWEST:
            raise InputError(f"there are only {len(rows)} cells; a layout needs at least {_FEWEST}")
        drawn = AnnData(X=np.zeros((len(rows), 0), dtype=np.float32), obsm={"site": matrix})
        state = derive(self.run.config.seed, "layout") % 2**31
        with warnings.catch_warnings(), threads(1):
            warnings.simplefilter("ignore")  # umap and numba warn of their own settings
            with machine_code_kept():
                import umap  # noqa: F401  scanpy calls it
            sc.pp.neighbors(drawn, n_neighbors=min(15, len(rows) - 1), use_rep="site", random_state=state)
            sc.tl.umap(drawn, random_state=state)
        save_array(folder / Path(LAYOUT).name, drawn.obsm["X_umap"].astype(np.float32))

"""The sites that `reproducibility` asks: cells, the model that the first stages of ``cellglass run`` fit to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.activations.rows import Rows
from cellglass.files import atomic_path
from cellglass.pipeline.config import make_config
from cellglass.pipeline.explain import STAGES
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.workspace import cell_site, of_tokens, open_activations, open_explained
from cellglass.seeds import generator
from cellglass.threads import threads

Array = np.ndarray[Any, Any]

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "cells"


class Source(NamedTuple):
    """Cells with labels.

    Attributes
    ----------
    file : str or None
        Of the shared data; None: the bundled demo cells.
    label : str
        The column that F1 is measured by.
    state : str or None
        A column with a state that types of cells share, and the value that says so.
    donor : str or None
        Column of donors, where halves share none.
    """

    file: str | None
    label: str
    state: tuple[str, str] | None = None
    donor: str | None = None

    @property
    def path(self) -> Path | None:
        """Where the file lies; None of the demo cells."""
        return None if self.file is None else SHARED / self.file


SOURCES = {
    "demo": Source(None, "bulk_labels"),
    "zheng": Source("zheng_facs_pbmc.h5ad", "celltype"),
    "kang": Source("kang_ctrl_12261x1287.h5ad", "cell_type", donor="donor"),
    "stim": Source("kang_ctrl_stim_1556x1267.h5ad", "cell_type", state=("group_id", "stim")),
}


class Site(NamedTuple):
    """Activations of one model, and the cells that they are of.

    Attributes
    ----------
    name : str
    rows : Rows
        The activations, as dictionaries read them.
    z : numpy.ndarray of float64, shape (n_rows, d)
        The same in memory.
    cell : numpy.ndarray of int64, shape (n_rows,)
        Cell of each row.
    obs : pandas.DataFrame
        Of the cells.
    counts : scipy.sparse.csr_matrix, shape (n_cells, n_genes)
        Of the genes that the model reads.
    source : Source
    """

    name: str
    rows: Rows
    z: Array
    cell: Array
    obs: pd.DataFrame
    counts: sp.csr_matrix
    source: Source

    def parts(self, split: int) -> tuple[Array, Array, Array]:
        """Return the rows of two parts of 40 % of the cells and of the 20 % that neither has, each ascending.

        Where there are donors, parts share none: three, three and the rest.
        """
        rng = generator(0, "parts", self.name, split)
        unit = np.arange(len(self.obs))
        if self.source.donor is not None:
            unit = np.unique(self.obs[self.source.donor].astype(str).to_numpy(), return_inverse=True)[1]
        order = rng.permutation(unit.max() + 1)
        n = round(0.4 * len(order))
        side = np.full(len(order), 2)
        side[order[:n]], side[order[n : 2 * n]] = 0, 1
        of_row = side[unit[self.cell]]
        return tuple(np.flatnonzero(of_row == i) for i in range(3))  # type: ignore[return-value]  # three


TRANSFORMER = {"kind": "scgpt", "cells": 5000, "layers": 2, "width": 64, "tokens": 16}
"""The transformer that concepts are looked for in: its kind and size, and the cells and tokens of each that it sees."""


def there(name: str) -> bool:
    """Return whether the cells can be had here."""
    path = SOURCES[name].path
    return path is None or path.exists()


def fitted(name: str, work: Path, seed: int = 0, model: dict[str, Any] | None = None, kind: str = "scvi") -> Site:
    """Return the site of a model that is fitted as ``cellglass run`` fits it, or was and lies under `work`."""
    run = run_of(name, work, seed, model, kind)
    store, site = open_activations(run)
    rows = store.rows(site)
    cells = open_explained(run)
    cell = rows.cells() if of_tokens(store, site) else np.arange(cells.n_cells)
    z = rows.read(np.arange(rows.n_rows)).double().numpy()
    return Site(name, rows, z, np.asarray(cell), cells.obs, sp.csr_matrix(cells.counts), SOURCES[name])


def run_of(name: str, work: Path, seed: int = 0, model: dict[str, Any] | None = None, kind: str = "scvi") -> Run:
    """Return the run whose first stages fit the model, done or found under `work`."""
    source = SOURCES[name]
    labels = [source.label, *([source.state[0]] if source.state else []), *([source.donor] if source.donor else [])]
    config = make_config({"cells": {"labels": labels}, "model": {"path": kind, **(model or {})}, "seed": seed})
    site_name = (model or {}).get("site")
    folder = work / "-".join([name, kind, *([site_name] if site_name else []), str(seed)])
    run = Run(folder, config.with_safe_columns(), {"cells": source.path, "model": None})
    with threads(1):
        run_stages(run, STAGES[:3])
    return run


def transformer_sites(work: Path, seed: int = 0) -> list[Site]:
    """Return two sites of one small transformer that is fitted to some of kang's cells: its cells, and its tokens.

    The second is the residual stream behind the last layer: one row for each gene of a cell, `TRANSFORMER` of each.
    """
    how, source = TRANSFORMER, SOURCES["kang"]
    kind, layers = str(how["kind"]), int(how["layers"])
    labels = [source.label, *([source.donor] if source.donor else [])]
    model = {
        "path": kind,
        "layers": layers,
        "width": how["width"],
        "tokens_per_cell": how["tokens"],
        "site": f"layers.{layers - 1}.resid",
    }
    config = make_config({"cells": {"labels": labels}, "model": model, "seed": seed})
    run = Run(work / f"kang-{kind}-{seed}", config.with_safe_columns(), {"cells": some_cells(work), "model": None})
    with threads(1):
        run_stages(run, STAGES[:3])
    store, tokens = open_activations(run)
    cells, found = open_explained(run), []
    for site, name in ((cell_site(store), "cell"), (tokens, "token")):
        rows = store.rows(site)
        cell = rows.cells() if of_tokens(store, site) else np.arange(cells.n_cells)
        z = rows.read(np.arange(rows.n_rows)).double().numpy()
        counts = sp.csr_matrix(cells.counts)
        found.append(Site(f"kang, {kind} {name}", rows, z, np.asarray(cell), cells.obs, counts, source))
    return found


def some_cells(work: Path) -> Path:
    """Return a file with as many of kang's cells, drawn at random, as the transformer sees."""
    path = work / f"kang-{TRANSFORMER['cells']}.h5ad"
    if not path.exists():
        import anndata

        every = anndata.read_h5ad(SOURCES["kang"].path)
        drawn = np.sort(generator(0, "cells of the transformer").permutation(every.n_obs)[: int(TRANSFORMER["cells"])])
        with atomic_path(path) as temporary:
            every[drawn].copy().write_h5ad(temporary)
    return path

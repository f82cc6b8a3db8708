"""What `steering` fits: scVI and its concepts, as `cellglass run` fits them, to stimulated and control cells.

For the hardest variant they are fitted without the stimulated cells of a type, so that nothing has seen its response.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from reproducibility_sites import SOURCES

from cellglass import dictionaries
from cellglass.files import atomic_path
from cellglass.interventions import Subject
from cellglass.pipeline.config import make_config
from cellglass.pipeline.explain import STAGES
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.workspace import held_out, open_activations, open_explained, open_model
from cellglass.seeds import derive

SOURCE = SOURCES["stim"]
TYPE, CONDITION, DONOR = "cell_type", "group_id", "sample_id"
BEFORE, AFTER = "ctrl", "stim"


def subject(work: Path, seed: int, *, without: str | None = None, quick: bool = False) -> Subject:
    """Return model, site, concepts and cells of a seed, fitted or from `work`.

    Parameters
    ----------
    work : Path
    seed : int
    without : str, optional
        A type whose stimulated cells are left out of all fits.
    quick : bool
        Few epochs, few halves.
    """
    model: dict[str, Any] = {"path": "scvi", **({"epochs": 8} if quick else {})}
    config = make_config({"cells": {"labels": [TYPE, CONDITION, DONOR]}, "model": model, "seed": seed})
    name = "stim" if without is None else f"stim-without-{without.replace(' ', '_').replace('+', '')}"
    file = SOURCE.path if without is None else _left_out(work, name, without)
    run = Run(work / f"{name}-{seed}", config.with_safe_columns(), {"cells": file, "model": None})
    run_stages(run, STAGES[:3])
    store, site = open_activations(run)
    rows, cells = store.rows(site), open_explained(run)
    place = run.path("concepts")
    if not place.is_dir():
        seen, _, valid = held_out(run, cells.n_cells)
        how: Any = dictionaries.default_config(rows.width, len(seen))
        fitted = dictionaries.fit(
            "consensus",
            rows,
            config=replace(how, pairs=4) if quick else how,
            rows_train=seen,
            rows_valid=valid,
            seed=derive(seed, "dictionary", 0),
        )
        with atomic_path(place) as temporary:
            fitted.save(temporary)
    return Subject(open_model(run), site, rows, dictionaries.load(place), cells)


def _left_out(work: Path, name: str, without: str) -> Path:
    """Return a file of the cells without the stimulated ones of a type."""
    path = work / f"{name}.h5ad"
    if not path.exists():
        import anndata

        every = anndata.read_h5ad(SOURCE.path)
        kept = ~((every.obs[TYPE] == without) & (every.obs[CONDITION] == AFTER)).to_numpy()
        work.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            every[np.flatnonzero(kept)].copy().write_h5ad(temporary)
    return path

"""A positive control: a program planted in the user's own counts, and whether explaining them finds it.

Of the genes that at least a twentieth of the cells express, some are drawn as members; of the cells, whatever their
type, a share has the program on. In a cell that has it with activity A, each member gene g gains

    Poisson(m_g d_c (exp(effect A) - 1)),      A ~ Gamma(shape 4, mean 1)

counts, with m_g the gene's mean share of the counts of all cells, and d_c the cell's total. The cells are explained
with the settings of the atlas, in a folder of their own; then one concept is looked for by its activation alone: the
one that correlates best with A. Whether its genes are the members is asked by AUROC of path effects, or of swaps.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cellglass.atlas.audit import PLANTED
from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.files import atomic_path
from cellglass.pipeline.config import make_config
from cellglass.pipeline.workspace import CELLS
from cellglass.progress import Progress, silent
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

GENES, SHARE = 30, 0.15
_SEEN = 0.05


class Planted(NamedTuple):
    """Cells with a program in them, and the truth: members (n_genes,), activity (n_cells,)."""

    cells: Cells
    members: Array
    activity: Array


def plant(cells: Cells, *, effect: float = 1.0, seed: int = 0) -> Planted:
    """Return the cells with a program planted in them; the module's docstring has the formula.

    Parameters
    ----------
    cells : Cells
        With raw counts.
    effect : float
        Log fold change of a member at activity 1, above 0.
    seed : int
        Members, cells, activity and counts follow from it.

    Raises
    ------
    InputError
        If `effect` is not above 0, or fewer than 60 genes are expressed in a twentieth of the cells.
    """
    if not effect > 0:
        raise InputError(f"a program is planted with an effect above 0, not {effect:g}")
    counts, rng = cells.counts, generator(seed, "positive control")
    seen = np.bincount(counts.indices, minlength=cells.n_genes) / max(cells.n_cells, 1)
    able = np.flatnonzero(seen >= _SEEN)
    if len(able) < 2 * GENES:
        raise InputError(
            f"{cells.source}: {len(able)} genes are expressed in at least {_SEEN:.0%} of the cells; to plant a program "
            f"of {GENES} there must be {2 * GENES}"
        )
    genes = np.sort(rng.choice(able, GENES, replace=False))
    on = np.flatnonzero(rng.random(cells.n_cells) < SHARE)
    activity = np.zeros(cells.n_cells)
    activity[on] = rng.gamma(4.0, 0.25, len(on))
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    share = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel()[genes] / max(totals.sum(), 1.0)
    gained = rng.poisson(totals[on][:, None] * share * np.expm1(effect * activity[on])[:, None])  # (on, GENES)
    row, column = np.nonzero(gained)
    more = sp.csr_matrix(
        (gained[row, column].astype(np.float32), (on[row], genes[column])), shape=(cells.n_cells, cells.n_genes)
    )
    together = (sp.csr_matrix(counts) + more).tocsr().astype(np.float32)
    together.sort_indices()
    members = np.zeros(cells.n_genes, dtype=bool)
    members[genes] = True
    named = replace(cells.with_counts(together), source=f"{cells.source} with a planted program")
    return Planted(named, members, activity)


def positive_control(
    folder: Path | str, *, effect: float = 1.0, seed: int = 0, progress: Progress = silent
) -> dict[str, Any]:
    """Explain the cells of an atlas with a program planted in them, and note beside the atlas how well it was found.

    Parameters
    ----------
    folder
        The atlas, with what a run keeps below ``work/``.
    effect, seed
        See `plant`.
    progress
        Told how far the run is; one that was stopped goes on.

    Returns
    -------
    dict
        ``genes``, ``share`` and ``effect`` of the program; ``latent`` of the concept that follows it best,
        ``correlation`` of their activities and ``auroc`` of its genes. None is above chance where no concept was found.
    """
    from cellglass.atlas.manifest import read_manifest
    from cellglass.cells import open_cells
    from cellglass.pipeline.explain import run_pipeline

    path = Path(folder)
    config = make_config(read_manifest(path)["config"], where=str(path / "manifest.json"))
    if not (path / CELLS).exists():
        raise InputError(
            f"{path / CELLS} is gone, so there are no counts to plant in; make the atlas with --keep-counts"
        )
    planted = plant(open_cells(path / CELLS), effect=effect, seed=seed)
    config = replace(
        config,
        cells=replace(config.cells, labels=()),
        dictionary=replace(config.dictionary, splits=0, seeds=1),
        attribution=replace(config.attribution, methods=("path", "swap")),
        enrichment=replace(config.enrichment, gene_sets=("none",)),
    )
    atlas = run_pipeline(planted.cells, config, path / "work" / "planted", report=False, progress=progress)
    found = {"genes": GENES, "share": SHARE, "effect": effect, **recovered(atlas, planted)}
    with atomic_path(path / PLANTED) as temporary:
        temporary.write_text(json.dumps({"planted": found}, indent=1) + "\n", encoding="utf-8")
    return found


def recovered(atlas: Any, planted: Planted) -> dict[str, Any]:
    """Return which concept of an atlas follows the planted program best, and how well it ranks its genes."""
    from sklearn.metrics import roc_auc_score

    from cellglass.atlas.evidence import residual
    from cellglass.evaluation.coactivation import correlations

    var = atlas.concepts.var
    live = np.flatnonzero((~residual(var) & (var["density"] > 0)).to_numpy())
    if not len(live):
        return {"latent": None, "correlation": 0.0, "auroc": 0.5}
    codes = sp.csc_matrix(atlas.concepts.X)[:, live]
    r = correlations(codes, sp.csc_matrix(planted.activity[:, None]))[:, 0]
    best = int(r.argmax())
    latent = int(var["latent"].iloc[live[best]])
    every = atlas.genes(latent)
    method = "path" if (every["method"] == "path").any() else "swap"
    rows = every[(every["method"] == method) & (every["on"] == "activation")]
    table = rows.set_index(rows["gene"].astype(str))["score"]
    genes = planted.cells.genes.index
    scores = table.reindex(genes).fillna(0.0).to_numpy(dtype=np.float64)
    return {
        "latent": latent,
        "correlation": float(r[best]),
        "auroc": float(roc_auc_score(planted.members, scores)),
    }

"""Partners of the concepts of an atlas under suspicion; the formulas are in `cellglass.attribution.partners`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cellglass.attribution.partners import CONTROL, DEPTH, suspect_partners
from cellglass.errors import InputError, listed
from cellglass.pipeline.config import make_config
from cellglass.pipeline.run import Run
from cellglass.pipeline.stages.genes import GenesStage
from cellglass.pipeline.workspace import CELLS, open_findings
from cellglass.progress import Progress, silent
from cellglass.threads import threads


def examine_partners(
    folder: Path | str, *, match: Sequence[str] = (), draws: int = 40, progress: Progress = silent
) -> pd.DataFrame:
    """Ask of every concept of an atlas whether its first genes change with the matching of its partners.

    Parameters
    ----------
    folder
        The atlas, with what a run keeps below ``work/``.
    match
        Columns of obs, one matching each; that for depth is always made.
    draws
        Draws of partners that a matching is held against.
    progress
        Told of concepts that are done.

    Returns
    -------
    pandas.DataFrame
        As `suspect_partners`, for all concepts, with ``name`` in front.

    Raises
    ------
    InputError
        If the atlas has no counts, the model no gradient with respect to them, or the cells no such column.
    """
    from cellglass.atlas import open_atlas

    atlas = open_atlas(folder)
    path = atlas.path
    if not (path / CELLS).exists():
        raise InputError(f"{path / CELLS} is gone, so there are no counts to read; make the atlas with --keep-counts")
    if draws < 1:
        raise InputError(f"{draws} draws say nothing of chance; take at least 1 (better 40)")
    run = Run(path, make_config(atlas.manifest["config"], where=str(path / "manifest.json")),
              {"cells": None, "model": None})  # fmt: skip
    work = GenesStage(run).work
    work.model.require("path", work.site)
    for name in match:
        if name not in work.cells.obs:
            raise InputError(f"--match {name}: the cells have no obs column {name!r}; there are: {listed(_few(work))}")
    names = dict(zip(atlas.concepts.var["latent"].tolist(), map(str, atlas.concepts.var_names), strict=True))
    findings, frames = open_findings(run), []
    with threads(1):
        for done, concept in enumerate(findings):
            found = suspect_partners(work, int(concept), [*dict.fromkeys(match), DEPTH], draws=draws)
            found.insert(0, "name", names.get(int(concept), str(concept)))
            frames.append(found)
            progress("partners", done + 1, len(findings))
    some = [frame for frame in frames if len(frame)]
    if not some:
        raise InputError(f"{path}: no concept has pairs of cells, so there are no partners to examine")
    return pd.concat(some, ignore_index=True)


def suspects(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return, for each matching and the control, how many concepts were asked, and how many are suspect."""
    found = {}
    for name, rows in table.groupby("matching", sort=False):
        means = {key: float(rows[key].mean()) for key in ("jaccard", "resampled", "kept")}
        found[str(name)] = {"concepts": len(rows), "suspect": int(rows["suspect"].sum()), **means}
    return dict(sorted(found.items(), key=lambda item: item[0] == CONTROL))


def _few(work: Any) -> list[str]:
    """Return the columns of the cells with few values."""
    return [str(name) for name in work.cells.obs if work.cells.obs[name].nunique() <= 50]

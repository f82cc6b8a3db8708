"""Steering in an atlas: cells of one label moved towards those of another by concepts, and what that does to genes.

The formulas are in `cellglass.interventions`; here is what opens an atlas and names its groups of cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.errors import InputError, listed
from cellglass.pipeline.config import make_config
from cellglass.pipeline.run import Run
from cellglass.pipeline.workspace import ACTIVATIONS, EXPLAINED, open_activations, open_explained, open_model
from cellglass.progress import Progress, silent
from cellglass.seeds import generator
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.cells import Cells
    from cellglass.interventions import Contrast, Halves, Subject

Array = np.ndarray[Any, Any]
Group = Mapping[str, str]
"""Columns of obs and their values, all of which a cell must have."""

_RANDOM_SETS = 20


class Steering(NamedTuple):
    """What steering did.

    Attributes
    ----------
    genes : pandas.DataFrame
        One row for each way, dose and gene: ``way``, ``dose``, ``gene``, ``symbol``, ``predicted`` (change of
        log(1 + 10^4 share of the counts), mean over draws; for scGPT of the value in bins), ``sd`` over draws,
        ``real`` (of the cells that were not learnt from).
    scores : pandas.DataFrame
        One row for each way and dose; see `cellglass.interventions.scores`.
    concepts : pandas.DataFrame
        ``latent``, ``concept`` and ``shift``, the change of its mean activation, of each that was moved; where
        concepts were picked, in that order.
    about : dict
        ``from`` and ``to``; ``learnt`` and ``scored``, cells of each; ``site`` and ``unit``; ``carried``, the share
        of the site's mean difference in the scored cells that the concepts carry, and ``carried_random`` that of as
        many random latents, mean over 20 draws (None where all are moved).
    """

    genes: pd.DataFrame
    scores: pd.DataFrame
    concepts: pd.DataFrame
    about: dict[str, Any]


def steer(
    folder: Path | str,
    from_: Group,
    to: Group,
    *,
    concepts: Sequence[str | int] = (),
    share: float | None = None,
    doses: Sequence[float] = (0.0, 0.25, 0.5, 1.0, 2.0),
    draws: int = 10,
    cells: int = 500,
    progress: Progress = silent,
) -> Steering:
    """Move cells of one group towards another by their concepts, and decode what becomes of each gene.

    Half of each group says how far each concept is moved, by the difference of its mean activations; the other half is
    moved, or says what is real. Controls are in `cellglass.interventions.controls`; the seed is the atlas's.

    Parameters
    ----------
    folder
        The atlas, with what a run keeps below ``work/``.
    from_, to
        Columns of obs with the value that cells of the group have, as ``{"cell_type": "B cells"}``.
    concepts
        Names or latent numbers; by default all concepts that are no residual latents.
    share
        Take the fewest of them that carry this share of the site's mean difference (or all that help); above 0, at
        most 1.
    doses
        1 moves each concept by its difference.
    draws
        Of random concepts and of random directions.
    cells
        Cells that are moved at most; of more, some that are drawn.

    Raises
    ------
    InputError
        If the model cannot decode expression from the atlas's site, a label or a concept is not there, a group has
        fewer than 10 cells or they share some, or the atlas no longer keeps counts or activations.
    """
    from cellglass import interventions as doing

    path = Path(folder)
    run = _opened(path)
    subject, seed = _subject(run), run.config.seed
    parts = doing.halves(_cells_of(subject.cells, from_), _cells_of(subject.cells, to), seed)
    with threads(1):
        found = doing.contrast_of(subject.dictionary, subject.rows, parts.learn_from, parts.learn_to)
        latents, names = _latents(path, subject, found, concepts, share)
        learnt = np.concatenate([parts.learn_from, parts.learn_to])
        table = doing.predicted(
            subject, _some(parts.score_from, cells, seed), found.edits(latents), found, learnt,
            doses=doses, draws=draws, seed=seed, progress=progress,
        )  # fmt: skip
        table = doing.with_expression(table, subject, parts.learn_from, parts.learn_to)
        real = doing.real_change(subject.cells, parts.score_from, parts.score_to)
        about = _about(subject, parts, found, latents, from_, to, seed)
    shifts = pd.DataFrame({"latent": latents, "concept": names, "shift": found.shift[latents]})
    return Steering(doing.genes_table(table, subject, real), doing.scored(table, real), shifts, about)


def _opened(path: Path) -> Run:
    from cellglass.atlas.manifest import read_manifest

    manifest = read_manifest(path)
    for kept in (EXPLAINED, ACTIVATIONS):
        if not (path / kept).exists():
            raise InputError(
                f"{path / kept} is gone, so there are no cells to move; run the command that made the atlas again, "
                "with --keep-counts"
            )
    config = make_config(manifest["config"], where=str(path / "manifest.json"))
    return Run(path, config, {"cells": None, "model": None})


def _subject(run: Run) -> Subject:
    from cellglass.atlas import open_atlas
    from cellglass.interventions import Subject
    from cellglass.interventions.apply import check_decodes

    store, site = open_activations(run)
    model, cells = open_model(run), open_explained(run)
    check_decodes(model, site)
    model = model.for_cells(cells)
    return Subject(model, site, store.rows(site), open_atlas(run.folder).dictionary(), model.align(cells))


def _cells_of(cells: Cells, group: Group) -> Array:
    """Return the positions of the cells of a group; InputError names the values that a column has."""
    if not group:
        raise InputError("a group of cells has no label; name one, such as cell_type=B cells")
    chosen = np.ones(cells.n_cells, dtype=bool)
    for column, value in group.items():
        texts = cells.column(column).astype(str).to_numpy()
        here = texts == str(value)
        if not here.any():
            raise InputError(
                f"{cells.source}: no cell has {column} {str(value)!r}; there are: {listed(sorted(set(texts)))}"
            )
        chosen &= here
    return np.flatnonzero(chosen)


def _some(rows: Array, most: int, seed: int) -> Array:
    if most < 1:
        raise InputError(f"cells is {most}; at least one must be moved")
    return rows if len(rows) <= most else np.sort(generator(seed, "cells to move").choice(rows, most, replace=False))


def _latents(
    path: Path, subject: Subject, found: Contrast, concepts: Sequence[str | int], share: float | None
) -> tuple[list[int], list[str]]:
    """Return the latents that are moved, and their names."""
    from cellglass.atlas import open_atlas
    from cellglass.interventions import fewest

    atlas = open_atlas(path)
    var = atlas.concepts.var
    names = dict(zip(var["latent"].astype(int), map(str, var.index), strict=True))
    asked = [atlas.latent(one) for one in concepts] if concepts else range(subject.dictionary.n_findings)
    among = [latent for latent in dict.fromkeys(asked) if found.shift[latent] != 0]
    if not among:
        raise InputError(f"{path}: none of the concepts differs between the groups; name others, or other groups")
    chosen = among if share is None else fewest(subject.dictionary, found, among, share)
    return chosen, [names.get(latent, str(latent)) for latent in chosen]


def _about(
    subject: Subject, parts: Halves, found: Contrast, latents: Sequence[int], from_: Group, to: Group, seed: int
) -> dict[str, Any]:
    from cellglass.interventions import carried, contrast_of

    held = contrast_of(subject.dictionary, subject.rows, parts.score_from, parts.score_to).difference
    pool, rng = np.flatnonzero(found.shift), generator(seed, "random sets of concepts")
    drawn = [rng.choice(pool, len(latents), replace=False).tolist() for _ in range(_RANDOM_SETS)]
    chance = [carried(subject.dictionary, found, one, held) for one in drawn]
    return {
        "from": dict(from_),
        "to": dict(to),
        "site": subject.site,
        "unit": subject.model.decoded_unit,
        "learnt": [len(parts.learn_from), len(parts.learn_to)],
        "scored": [len(parts.score_from), len(parts.score_to)],
        "carried": carried(subject.dictionary, found, latents, held),
        "carried_random": float(np.mean(chance)) if len(latents) < len(pool) else None,
    }

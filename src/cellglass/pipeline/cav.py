"""The direction of a user's label at the site of an atlas, with the concepts and genes that answer to it.

The formulas are in `cellglass.evaluation.cav`. Cells are taken from the atlas: at most 10,000, half of which may have
the label. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from cellglass.errors import InputError, listed
from cellglass.evaluation.cav import Cav, concept_answers, find_direction, gene_answers
from cellglass.pipeline.config import make_config
from cellglass.pipeline.run import Run
from cellglass.pipeline.workspace import (
    ACTIVATIONS,
    EXPLAINED,
    of_tokens,
    open_activations,
    open_concepts,
    open_explained,
    open_findings,
    open_model,
)
from cellglass.seeds import derive, generator
from cellglass.threads import threads
from cellglass.vocabulary import SIGNIFICANT

if TYPE_CHECKING:
    from cellglass.atlas import Atlas
    from cellglass.models.base import CellModel

Array = np.ndarray[Any, Any]

MOST_CELLS, MOST_DECODED = 10_000, 512
"""Cells that directions are fitted and read in, and those whose genes are decoded."""
SPECIAL = 0.05
"""Share of groups of like cells below which a figure is special to the label."""


class LabelDirection(NamedTuple):
    """What was found of a label.

    Attributes
    ----------
    about : dict
        ``label``, ``site``, ``n`` (cells with the label), ``of`` (cells), ``cells`` (that were looked at), ``draws``;
        ``accuracy``, ``accuracy_mean_difference``, and mean and standard deviation of ``accuracy_random`` and
        ``accuracy_groups``; ``agreement`` and ``agreement_mean_difference``, the correlation over genes of what is
        decoded along the direction, and along the difference of means, with what is observed (None without genes);
        ``note``, why there are no genes, or empty.
    concepts : pandas.DataFrame
        ``concept`` (name), ``latent`` and the columns of `concept_answers`; by falling size of the correlation.
    genes : pandas.DataFrame
        ``gene`` (id), ``symbol``, the columns of `gene_answers`, and ``observed``, the difference of mean log1p counts
        per 10,000 between scored cells with the label and without, for comparison; by falling size of the change. No
        rows where the model does not decode from the site.
    vector : numpy.ndarray of float64, shape (d,)
        The direction, of unit length.
    """

    about: dict[str, Any]
    concepts: pd.DataFrame
    genes: pd.DataFrame
    vector: Array


def label_direction(
    folder: Path | str, *, label: str | None = None, barcodes: Path | None = None, draws: int = 50
) -> LabelDirection:
    """Find the direction of a label at the site that an atlas explains, and what answers to it.

    Parameters
    ----------
    folder
        The atlas, with what a run keeps below ``work/``.
    label
        ``COLUMN=VALUE`` of the atlas's obs.
    barcodes
        Or a file of names of cells, one a line.
    draws
        Random labels, and groups of like cells, that it is held against.

    Raises
    ------
    InputError
        If there are no such cells, or too few of them, or the site has one row for each gene of a cell.
    """
    from cellglass.atlas import open_atlas

    atlas = open_atlas(folder)
    positive, name = _cells_of(atlas, label, barcodes)
    run = Run(
        atlas.path, make_config(atlas.manifest["config"], where=str(atlas.path / "manifest.json")),
        {"cells": None, "model": None},
    )  # fmt: skip
    if not run.path(ACTIVATIONS).exists():
        raise InputError(f"{run.path(ACTIVATIONS)} is gone, so there is no site to read; make the atlas again")
    store, site = open_activations(run)
    if of_tokens(store, site):
        raise InputError(f"{atlas.path}: site {site!r} has one row for each gene of a cell, and a label is of cells")
    seed = derive(run.config.seed, "cav", name)
    rows = _some(positive, seed)
    with threads(1):
        x, mine = store.read(site, rows).double().numpy(), positive[rows]
        cav = find_direction(x, mine, draws=draws, seed=seed)
        concepts = _concepts(run, atlas, cav, x)
        genes, note = _genes(run, site, cav, x, rows, mine, seed)
    about = {
        "label": name, "site": site, "n": int(positive.sum()), "of": len(positive), "cells": len(rows), "draws": draws,
        "accuracy": cav.label.accuracy, "accuracy_mean_difference": cav.mean_difference.accuracy,
        **_spread("accuracy_random", cav.random), **_spread("accuracy_groups", cav.groups),
        "agreement": _agreement(genes, "change"),
        "agreement_mean_difference": _agreement(genes, "change_mean_difference"), "note": note,
    }  # fmt: skip
    return LabelDirection(about, concepts, genes, cav.label.vector)


def found_in(found: LabelDirection) -> dict[str, int]:
    """Return how many concepts and genes pass q < 0.05 against random labels, and how many are special to the label.

    ``concepts`` by correlation and ``genes`` by change; ``concepts_special`` and ``genes_special``: those of them that
    fewer than one group of like cells in twenty has as large.
    """
    counts = {}
    for name, table, figure in (("concepts", found.concepts, "correlation"), ("genes", found.genes, "change")):
        sure = table[table[f"{figure}_q"] < SIGNIFICANT] if len(table) else table
        counts[name] = len(sure)
        counts[f"{name}_special"] = int((sure[f"{figure}_groups_above"] < SPECIAL).sum()) if len(sure) else 0
    return counts


def _cells_of(atlas: Atlas, label: str | None, barcodes: Path | None) -> tuple[Array, str]:
    """Return which cells have the label, bool (n_cells,), and its name."""
    obs = atlas.concepts.obs
    if (label is None) == (barcodes is None):
        raise InputError("say which cells: --label COLUMN=VALUE, or --cells with a file of their names, and not both")
    if barcodes is not None:
        if not barcodes.is_file():
            raise InputError(f"{barcodes}: there is no such file; give one with the name of a cell on each line")
        names = list(dict.fromkeys(filter(None, map(str.strip, barcodes.read_text(encoding="utf-8").splitlines()))))
        unknown = [one for one in names if one not in obs.index]
        if unknown or not names:
            raise InputError(
                f"{barcodes}: {len(unknown)} of {len(names)} names are no cells of {atlas.path} "
                f"({listed(unknown, 3)}); names of cells are like {obs.index[0]!r}, one a line"
            )
        return obs.index.isin(names), barcodes.stem
    assert label is not None  # noqa: S101  one of the two
    column, found, value = label.partition("=")
    if not found:
        raise InputError(f"--label {label}: write COLUMN=VALUE, such as celltype=B")
    if column not in obs:
        raise InputError(f"--label {label}: there is no obs column {column!r}; the columns are: {listed(obs)}")
    text = obs[column].astype(str)
    if value not in set(text):
        values = sorted(set(text))
        raise InputError(f"--label {label}: no cell has {column} = {value!r}; the values are: {listed(values)}")
    return (text == value).to_numpy(), label


def _some(positive: Array, seed: int) -> Array:
    """Return the cells that are looked at, ascending: all, or a draw of which half may have the label."""
    if len(positive) <= MOST_CELLS:
        return np.arange(len(positive))
    rng = generator(seed, "cells")
    with_it, without = (rng.permutation(np.flatnonzero(side)) for side in (positive, ~positive))
    n = min(len(with_it), max(MOST_CELLS // 2, MOST_CELLS - len(without)))
    return np.sort(np.concatenate([with_it[:n], without[: MOST_CELLS - n]]))


def _concepts(run: Run, atlas: Atlas, cav: Cav, x: Array) -> pd.DataFrame:
    dictionary, findings = open_concepts(run), open_findings(run)
    with torch.no_grad():
        codes = dictionary.encode(torch.from_numpy(x).float()).to_csr().tocsc()[:, : len(findings)]
    var = atlas.concepts.var
    names = dict(zip(var["latent"].tolist(), map(str, var.index), strict=True))
    table = concept_answers(cav, x, codes, dictionary)
    table.insert(0, "latent", findings)
    table.insert(0, "concept", [names.get(int(latent), "") for latent in findings])
    table = table[table["latent"].isin(names)]  # one that is silent may have been left out
    return table.iloc[np.argsort(-table["correlation"].abs().to_numpy(), kind="stable")].reset_index(drop=True)


def _genes(
    run: Run, site: str, cav: Cav, x: Array, rows: Array, positive: Array, seed: int
) -> tuple[pd.DataFrame, str]:
    """Return the genes, or none and why."""
    if not run.path(EXPLAINED).exists():
        return pd.DataFrame(), "the counts are gone (--no-keep-counts), so no genes are decoded"
    model, cells = open_model(run), open_explained(run)
    lacking = model.lacks("decode", site)
    if lacking is not None:
        return pd.DataFrame(), lacking
    scored = np.flatnonzero(cav.scoring)
    some = np.sort(generator(seed, "decoded").permutation(scored)[:MOST_DECODED])
    table = gene_answers(cav, x[some], _decoder(model, site, cells[rows[some]]))
    table["observed"] = _observed(cells.counts[rows[scored]], positive[scored])
    table.insert(0, "symbol", cells.symbols)
    table.insert(0, "gene", cells.genes.index.to_numpy(dtype=object))
    return table.iloc[np.argsort(-table["change"].abs().to_numpy(), kind="stable")].reset_index(drop=True), ""


def _decoder(model: CellModel, site: str, cells: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda activations: model.decode(site, activations, cells)


def _observed(counts: sp.csr_matrix, positive: Array) -> Array:
    """Return the difference of mean log1p(count / total x 10,000) between cells with the label and without."""
    total = np.maximum(np.asarray(counts.sum(axis=1), dtype=np.float64).ravel(), 1)
    logs = sp.csr_matrix(counts.astype(np.float64).multiply(1e4 / total[:, None])).log1p()
    means = [np.asarray(logs[np.flatnonzero(side)].mean(axis=0)).ravel() for side in (positive, ~positive)]
    return np.asarray(means[0] - means[1])


def _agreement(genes: pd.DataFrame, column: str) -> float | None:
    if not len(genes) or not genes[column].std() or not genes["observed"].std():
        return None
    return float(np.corrcoef(genes[column], genes["observed"])[0, 1])


def _spread(name: str, found: Any) -> dict[str, float]:
    values = np.array([one.accuracy for one in found])
    return {name: float(values.mean()), f"{name}_sd": float(values.std(ddof=1))}

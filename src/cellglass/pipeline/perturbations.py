"""An atlas held against a perturbation experiment: an obs column that says what was done to each cell.

Asked are three things. Does the model, when a gene's counts are set to 0 in control cells, change as cells do in which
the gene was really hit (`cellglass.evaluation.perturbation`, over concepts, and over genes where the model decodes)?
Which concepts does each perturbation shift, with replicates as the unit where they are named? Does attribution name
the perturbed gene for the concept that shifts most (`cellglass.evaluation.naming`)?
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.atlas.markers.donors import Donors, by_donor
from cellglass.errors import InputError
from cellglass.evaluation.changes import (
    activation_means,
    changes,
    expression_means,
    halved_groups,
    logs_of,
    membership,
)
from cellglass.evaluation.counts import DEPTH
from cellglass.evaluation.naming import Named, matched_genes, named, place
from cellglass.evaluation.perturbation import FEWEST, agreement
from cellglass.pipeline.config import make_config
from cellglass.pipeline.run import Run
from cellglass.pipeline.workspace import CELLS, open_activations, open_codes, open_explained, open_findings
from cellglass.progress import Progress, silent
from cellglass.seeds import generator
from cellglass.statistics import benjamini_hochberg, welch
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.cells import Cells

Array = np.ndarray[Any, Any]

FEWEST_CELLS = 20
"""Cells below which a perturbation is left out."""


class Held(NamedTuple):
    """What a perturbation experiment says of an atlas."""

    agreement: pd.DataFrame
    """See `agreement`; ``of`` is concepts or genes. Empty where fewer than three perturbations hit a gene."""
    shifts: pd.DataFrame
    """``perturbation``, ``concept``, ``shift``, ``t``, ``q``, ``test`` (paired, unpaired, cells), and how many units
    of either side were compared: ``n``, ``controls``."""
    places: pd.DataFrame
    """``perturbation``, ``gene``, ``concept``, ``place``, ``matched``: see `cellglass.evaluation.naming`."""
    named: Named
    notes: tuple[str, ...]


class _Asked(NamedTuple):
    """Cells by perturbation: group 0 holds the controls, group i + 1 those of ``names[i]``; -1 is neither."""

    names: list[str]
    group: Array
    target: Array  # (perturbations,): position of the gene that is hit, -1 for none
    notes: list[str]


def hold_against(
    folder: Path | str,
    column: str,
    control: str,
    *,
    replicate: str | None = None,
    cells: int = 200,
    progress: Progress = silent,
) -> Held:
    """Hold an atlas against a perturbation experiment.

    Parameters
    ----------
    folder
        The atlas, with what a run keeps below ``work/``.
    column, control
        The obs column, and its value for cells to which nothing was done. A value that is a gene's symbol or id, or
        begins with one before ``_``, ``-`` or ``+``, hits that gene.
    replicate
        The obs column with the donor, sample or replicate: the unit of the test of shifts.
    cells
        Control cells that express a gene, in which it is knocked out.
    progress
        Told of the genes that are knocked out.

    Raises
    ------
    InputError
        If the column or the control is not there, or no perturbation has 20 cells.
    """
    run = _opened(Path(folder))
    explained, codes = open_explained(run), sp.csr_matrix(open_codes(run))[:, open_findings(run)]
    asked = _asked(explained, column, control)
    shifts = _shifts(asked, codes, open_findings(run), explained, replicate)
    places, together = _places(Path(folder), asked, shifts, explained, run.config.seed)
    with threads(1):
        table, notes = _agreement(run, asked, codes, explained, cells, progress)
    return Held(table, shifts, places, together, (*asked.notes, *notes))


def _opened(path: Path) -> Run:
    from cellglass.atlas.manifest import read_manifest

    config = make_config(read_manifest(path)["config"], where=str(path / "manifest.json"))
    if not (path / CELLS).exists():
        raise InputError(f"{path / CELLS} is gone, so there are no counts to change; make the atlas with --keep-counts")
    return Run(path, config, {"cells": None, "model": None})


def _asked(cells: Cells, column: str, control: str) -> _Asked:
    values = cells.column(column).astype(str).to_numpy()
    sizes = pd.Series(values).value_counts()
    if control not in sizes:
        raise InputError(
            f"{cells.source}: no cell has {control!r} in obs column {column!r}; its values are: "
            f"{', '.join(map(str, sizes.index[:10]))}{', ...' if len(sizes) > 10 else ''}"
        )
    enough = [str(name) for name, n in sizes.items() if n >= FEWEST_CELLS and name != control]
    few = len(sizes) - 1 - len(enough)
    if not enough or sizes[control] < FEWEST_CELLS:
        raise InputError(
            f"{cells.source}: perturbation and control need at least {FEWEST_CELLS} cells each in column {column!r}"
        )
    names = sorted(enough)
    group = pd.Index([control, *names]).get_indexer(pd.Index(values)).astype(np.int64)
    by = {str(name): i for names_of in (cells.genes.index, cells.symbols) for i, name in enumerate(names_of)}
    target = np.array([by.get(name, by.get(_stem(name), -1)) for name in names])
    notes = [f"left out {few} perturbations with fewer than {FEWEST_CELLS} cells"] if few else []
    return _Asked(names, group, target, notes)


def _stem(name: str) -> str:
    for mark in "_-+":
        name = name.split(mark)[0]
    return name


def _shifts(asked: _Asked, codes: sp.csr_matrix, concepts: Array, cells: Cells, replicate: str | None) -> pd.DataFrame:
    """Return which concepts each perturbation shifts, by replicate where one is named, else by cell."""
    units = None if replicate is None else 1 + cells.column(replicate).astype(str).factorize()[0]
    frames = []
    for i, name in enumerate(asked.names):
        side = np.select([asked.group == i + 1, asked.group == 0], [1, 2], 0)
        found: Mapping[str, Any] = _by_cell(side, codes)
        if units is not None:
            donors = Donors(side, units)
            sums = (membership(donors.group.astype(np.int64), int(donors.group.max()) + 1) @ codes).toarray().T
            marks = by_donor(donors, [sums])
            if marks.why:
                raise InputError(
                    f"{name}: {marks.why}; leave out --replicate, and read q as of cells, not of replicates"
                )
            found = {"shift": marks.difference, "t": marks.t, "p": marks.p, "test": marks.test, "n": marks.n}
        frame = pd.DataFrame({"concept": concepts, **{key: found[key] for key in ("shift", "t", "p", "test")}})
        frame["n"], frame["controls"] = found["n"]
        frames.append(frame.assign(perturbation=name))
    table = pd.concat(frames, ignore_index=True)
    table["q"] = benjamini_hochberg(table.pop("p").to_numpy())
    return table[["perturbation", "concept", "shift", "t", "q", "test", "n", "controls"]]


def _by_cell(side: Array, codes: sp.csr_matrix) -> dict[str, Any]:
    n = [int((side == s).sum()) for s in (1, 2)]
    means, errors = [], []
    for s, size in zip((1, 2), n, strict=True):
        mine = codes[side == s].astype(np.float64)
        mean = np.asarray(mine.mean(axis=0)).ravel()
        square = np.asarray(mine.multiply(mine).mean(axis=0)).ravel()
        means.append(mean)
        errors.append(np.maximum(square - mean**2, 0) / (size - 1))
    found = welch(means[0] - means[1], errors[0], n[0], errors[1], n[1])
    return {"shift": means[0] - means[1], "t": found.t, "p": found.p, "test": "cells", "n": n}


def _places(folder: Path, asked: _Asked, shifts: pd.DataFrame, cells: Cells, seed: int) -> tuple[pd.DataFrame, Named]:
    """Return the place of each target in the list of the concept that its perturbation shifts most."""
    from cellglass.atlas import open_atlas
    from cellglass.attribution.registry import ranking_run

    table, rows = open_atlas(folder).gene_rows({}), []
    method, on = ranking_run(table) or (None, None)
    allowed = np.ones(cells.n_genes, dtype=bool)
    allowed[asked.target[asked.target >= 0]] = False
    lists = {
        concept: pd.Series(np.abs(mine["score"].to_numpy()), index=mine["gene"].to_numpy())
        for concept, mine in table[(table["method"] == method) & (table["on"] == on)].groupby("concept")
    }
    strongest = shifts.loc[shifts.groupby("perturbation")["t"].apply(lambda t: t.abs().idxmax())]
    for name, concept in zip(strongest["perturbation"], strongest["concept"], strict=True):
        target = int(asked.target[asked.names.index(name)])
        if target < 0 or concept not in lists:
            continue
        scores = lists[concept].reindex(cells.genes.index).fillna(0.0).to_numpy()
        others = matched_genes(target, cells.gene_means, allowed)
        where = place(float(scores[target]), scores[others])
        rows.append((name, str(cells.symbols[target]), int(concept), where, len(others)))
    found = pd.DataFrame(rows, columns=["perturbation", "gene", "concept", "place", "matched"])
    return found, named(found["place"].to_numpy(dtype=float), seed)


def _agreement(
    run: Run, asked: _Asked, codes: sp.csr_matrix, cells: Cells, most: int, progress: Progress
) -> tuple[pd.DataFrame, list[str]]:
    """Return how the model's knock-outs agree with real ones, over concepts and genes, beside co-expression."""
    hit = np.flatnonzero(asked.target >= 0)
    if len(hit) < FEWEST:
        return pd.DataFrame(), [
            f"{len(hit)} perturbations hit a gene of the model, so knock-outs of the model are held against none; "
            f"{FEWEST} are needed"
        ]
    halves, n = halved_groups(asked.group, run.config.seed), 2 * (len(asked.names) + 1)
    knocked = _knock_outs(run, asked, hit, cells, most, progress)
    if isinstance(knocked, str):
        return pd.DataFrame(), [knocked]
    frames = []
    controls = np.flatnonzero(asked.group == 0)
    y = logs_of(cells, controls)
    spaces = {"concepts": (activation_means(codes, halves, n), codes[controls], np.full(len(hit), -1))}
    if "genes" in knocked:
        spaces["genes"] = (expression_means(cells, halves, n), y, asked.target[hit])
    for name, (means, values, targets) in spaces.items():
        real, other = (each[hit] for each in changes(means))
        predictions = {"knock-out": knocked[name], "co-expression": _coexpressed(y, values, asked.target[hit])}
        frames.append(agreement(predictions, real, other, targets, seed=run.config.seed).assign(of=name))
    return pd.concat(frames, ignore_index=True), []


def _knock_outs(
    run: Run, asked: _Asked, hit: Array, cells: Cells, most: int, progress: Progress
) -> dict[str, Array] | str:
    """Return the mean change of control cells when each target's counts become 0, of concepts, and of genes if decoded.

    Cells that do not express the gene do not change: the mean over those that do is taken times their share. Or why
    the model has no knock-outs.
    """
    import torch

    from cellglass.pipeline.workspace import cell_site, open_concepts, open_model

    store, site = open_activations(run)
    model, dictionary, findings = open_model(run), open_concepts(run), open_findings(run)
    reason = model.lacks("counterfactual", site) if site == cell_site(store) else f"{site} has a row for each gene"
    if reason is not None:
        return f"no knock-outs of the model: {reason}"
    decodes = model.lacks("decode", site) is None
    controls = np.flatnonzero(asked.group == 0)
    columns = cells.counts[controls].tocsc()
    rng, found = generator(run.config.seed, "perturbation", "cells"), dict[str, list[Array]](concepts=[], genes=[])

    def read(x: torch.Tensor) -> Array:
        return np.asarray(dictionary.encode(x).to_csr()[:, findings].mean(axis=0), dtype=np.float64).ravel()

    def decoded(x: torch.Tensor, some: Cells) -> Array:
        shares = model.decode(site, x, some).double()
        return np.asarray(torch.log1p(DEPTH * shares / shares.sum(dim=1, keepdim=True)).mean(0))

    for done, i in enumerate(hit):
        gene = int(asked.target[i])
        express = controls[columns.indices[columns.indptr[gene] : columns.indptr[gene + 1]]]
        some = cells[np.sort(rng.permutation(express)[:most])]
        share = len(express) / len(controls)
        nothing = {"concepts": np.zeros(len(findings)), "genes": np.zeros(cells.n_genes)}
        if len(some):
            n = len(some)
            before = model.activations(some, [site])[site]
            after = model.perturbed_activations(
                some, site, np.arange(n), np.full(n, gene), np.zeros(n, dtype=np.float32)
            )
            nothing["concepts"] = share * (read(after) - read(before))
            if decodes:
                nothing["genes"] = share * (decoded(after, some) - decoded(before, some))
        for name, change in nothing.items():
            found[name].append(change)
        progress("knock-outs", done + 1, len(hit))
    return {name: np.array(rows) for name, rows in found.items() if decodes or name != "genes"}


def _coexpressed(y: sp.csr_matrix, values: sp.spmatrix, targets: Array) -> Array:
    """Return what a line through control cells says of each target at 0: - slope times its mean, (targets, features).

    The slope is of the feature on the target's y; a target that no control varies in changes nothing.
    """
    x = y[:, targets].toarray()  # (cells, targets)
    mean = x.mean(axis=0)
    centred = x - mean
    variance = (centred**2).mean(axis=0)
    both = np.asarray(sp.csr_matrix(values).T @ centred).T / len(x)  # (targets, features); a mean of 0 needs no other
    return np.asarray(-mean[:, None] * both / np.where(variance > 0, variance, np.inf)[:, None])

"""How many features of transcoders have a meaning at the level of genes, beside three controls; and tables on disk.

The same rule (``feature_meaning.py``), the same cells, for four kinds of units:

    features             of the transcoders
    random directions    in their place: rows as long, the same rule of selection
    neurons              of the MLPs' hidden layers, each active at as large a share of tokens as a feature on average
    untrained model      features of transcoders that were trained alike on the model with weights as training begins

What is kept in the folder of the transcoders:

    features.csv             `Meanings.features`
    feature_genes.parquet    `Meanings.genes`
    feature_rates.csv        the table of rates
    features.json            what they depend on, so that the same call has nothing left to do
    work-features/           sums and tables of what is done; removed at the end
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from cellglass.cells.cells import Cells, CellsLike
from cellglass.cells.read import as_cells
from cellglass.circuits.meanings import FEATURES, read_features
from cellglass.circuits.objectives import Objective, objective_of
from cellglass.circuits.tokens import rows_per_cell
from cellglass.circuits.training import N_ROWS, train_transcoders
from cellglass.circuits.transcoders import Transcoders, fingerprint_of
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.enrichment.choose import choose
from cellglass.enrichment.config import EnrichmentConfig
from cellglass.enrichment.genesets import GeneSets
from cellglass.enrichment.names import LABEL_F1
from cellglass.errors import InputError
from cellglass.evaluation.feature_meaning import Meanings, Rule, meanings_of
from cellglass.evaluation.feature_sums import UnitSums, halves, sum_units
from cellglass.evaluation.feature_units import (
    Units,
    directions_of,
    features_of,
    hidden_points,
    neurons_of,
    read_tokens_at,
)
from cellglass.files import atomic_path, locked, read_json, take_folder
from cellglass.models.base import CellModel
from cellglass.models.control import control_of
from cellglass.models.transformer.hooks import Point
from cellglass.progress import Progress, silent
from cellglass.seeds import derive, generator

Array = np.ndarray[Any, Any]

GENES, RATES, ABOUT, WORK = "feature_genes.parquet", "feature_rates.csv", "features.json", "work-features"
N_CELLS = 2000
"""Cells that are read, unless more are asked for."""
FEWEST_CELLS = 10
ROWS = ("features", "random directions", "neurons", "untrained model")
"""Of the table of rates."""
RATE_COLUMNS = (
    *("of", "units", "firing", "interpretable", "rate", "rate_later", "by_genes", "by_gene_set", "spelling"),
    *("labelled", "identity"),
)
REVISION = 1
"""Of what the tables hold; a higher one makes them anew."""
_SAMPLE = 32  # cells on which thresholds are set


class Explained(NamedTuple):
    """What `explain_features` gives.

    Attributes
    ----------
    meanings : Meanings
    rates : pandas.DataFrame
        See `interpretable_rate`; without controls the first row alone.
    """

    meanings: Meanings
    rates: pd.DataFrame


class _Work(NamedTuple):
    """What is asked of each kind of units."""

    objective: Objective
    cells: Cells
    half: Array
    symbols: list[str]
    sources: list[GeneSets]
    labels: pd.DataFrame | None
    rule: Rule
    seed: int
    folder: Path | None
    progress: Progress


def feature_meanings(
    model: CellModel,
    cells: CellsLike,
    transcoders: Transcoders,
    *,
    labels: Sequence[str] | None = None,
    gene_sets: Sequence[str] | None = None,
    rule: Rule = Rule(),  # noqa: B008  # frozen
    n_cells: int = N_CELLS,
    seed: int = 0,
    progress: Progress = silent,
) -> Meanings:
    """Return what every feature fires on: genes, gene sets, tokens and cells; see ``feature_meaning.py``.

    Parameters
    ----------
    model : CellModel
        The transformer that they belong to.
    cells : Cells
        With raw counts, at least 10; they may lie on disk.
    transcoders : Transcoders
    labels : sequence of str, optional
        Columns of obs; by default that with whose values they were trained, where the cells have it.
    gene_sets : sequence of str, optional
        Sources or GMT files, or ``("none",)``; by default the bundled ones as far as they fit.
    rule : Rule
        When a feature is gene-level interpretable.
    n_cells : int
        Most cells that are read, drawn by the seed: half to choose on, half to score on.
    seed : int
    progress : Progress
        Told the cells that are read.

    Raises
    ------
    InputError
        Transcoders of another model, labels or gene sets that are not there, or too few cells.
    """
    work = _work(model, as_cells(cells), transcoders, labels, gene_sets, rule, n_cells, seed, None, progress)
    return _meanings(work, features_of(transcoders.check(model), transcoders))[0]


def interpretable_rate(
    model: CellModel,
    cells: CellsLike,
    transcoders: Transcoders,
    *,
    labels: Sequence[str] | None = None,
    gene_sets: Sequence[str] | None = None,
    rule: Rule = Rule(),  # noqa: B008  # frozen
    n_cells: int = N_CELLS,
    seed: int = 0,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Return the rate of gene-level interpretable features beside those of the three controls.

    Transcoders of the untrained model are trained for it. Parameters and errors are those of `feature_meanings`.

    Returns
    -------
    pandas.DataFrame
        Four rows, ``of`` in `ROWS`: ``units``, of all layers; ``firing``, those that fire often enough to be judged;
        ``interpretable``; ``rate``, of all units; ``rate_later``, of those of layers from 1 on (NaN of one layer);
        ``by_genes`` and ``by_gene_set``, rates of all units by the part of the rule that they fulfil; ``spelling``,
        the rate of those that are left out for it; ``labelled``, the rate of units whose cells have a label with a
        held-out F1 of at least 0.5 and q < 0.05 (NaN without labels), which is no part of the rule; ``identity``, the
        median of `gene_identity`.
    """
    with tempfile.TemporaryDirectory() as place:
        work = _work(model, as_cells(cells), transcoders, labels, gene_sets, rule, n_cells, seed, Path(place), progress)
        own, sums = _meanings(work, features_of(transcoders.check(model), transcoders))
        return _rates(own, _controls(work, transcoders, as_cells(cells), sums))


def explain_features(
    model: CellModel,
    cells: CellsLike,
    transcoders: Transcoders,
    folder: Path | str,
    *,
    labels: Sequence[str] | None = None,
    gene_sets: Sequence[str] | None = None,
    controls: bool = False,
    rule: Rule = Rule(),  # noqa: B008  # frozen
    n_cells: int = N_CELLS,
    seed: int = 0,
    progress: Progress = silent,
) -> Explained:
    """Write what every feature fires on, and the rates, beside the transcoders in `folder`; return both.

    A call that was killed goes on from the last block of cells, or the last checkpoint of a training. The same call
    again reads what is there; one with other cells or settings takes its place, once the work of a call that was
    stopped is done or removed.

    Parameters
    ----------
    controls : bool
        Also the three controls, of which the untrained model's transcoders have to be trained.

    Other parameters and errors are those of `feature_meanings`.
    """
    cells, folder = as_cells(cells), Path(folder)
    work = _work(model, cells, transcoders, labels, gene_sets, rule, n_cells, seed, folder / WORK, progress)
    job = _job_of(work, transcoders, controls)
    if (folder / ABOUT).is_file() and read_json(folder / ABOUT, way_out="remove it").get("job") == job:
        shutil.rmtree(folder / WORK, ignore_errors=True)
        meanings = Meanings(read_features(folder), pd.read_parquet(folder / GENES))
        return Explained(meanings, pd.read_csv(folder / RATES))
    with locked(folder, "explanation of features"):
        take_folder(folder / WORK, job, "an explanation of features that was stopped,")
        meanings, sums = _meanings(work, features_of(transcoders.check(model), transcoders))
        others = _controls(work, transcoders, cells, sums) if controls else []
        rates = _rates(meanings, others)
        (folder / ABOUT).unlink(missing_ok=True)
        with atomic_path(folder / FEATURES) as temporary:
            meanings.features.to_csv(temporary, index=False)
        with atomic_path(folder / GENES) as temporary:
            meanings.genes.to_parquet(temporary, index=False)
        with atomic_path(folder / RATES) as temporary:
            rates.to_csv(temporary, index=False)
        with atomic_path(folder / ABOUT) as temporary:
            about = {"job": job, "cells": work.cells.n_cells, "rule": asdict(rule), "seed": seed}
            temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder / WORK)
    return Explained(meanings, rates)


def drawn_features(table: pd.DataFrame, n: int = 20, seed: int = 0) -> pd.DataFrame:
    """Return `n` rows of a table of features, drawn by the seed, in their order."""
    chosen = generator(seed, "features shown").permutation(len(table))[:n]
    return table.iloc[np.sort(chosen)].reset_index(drop=True)


# -- steps -------------------------------------------------------------------------------------------------------------


def _work(
    model: CellModel, cells: Cells, transcoders: Transcoders, labels: Sequence[str] | None,
    gene_sets: Sequence[str] | None, rule: Rule, n_cells: int, seed: int, folder: Path | None, progress: Progress,
) -> _Work:  # fmt: skip
    """Check what is asked, and draw the cells."""
    network = transcoders.check(model)
    if min(cells.n_cells, n_cells) < FEWEST_CELLS:
        raise InputError(
            f"{cells.source}: {min(cells.n_cells, n_cells)} cells are too few to choose on one half and score on the "
            f"other; give {FEWEST_CELLS} or more"
        )
    answers = transcoders.labels if transcoders.labels in cells.obs else None
    columns = list(labels) if labels is not None else [answers] if answers else []
    told = {name: cells.column(name) for name in columns}
    order = generator(seed, "feature cells").permutation(cells.n_cells)
    chosen = np.sort(order[:n_cells])
    some = cells[chosen]
    symbols = [str(symbol) for symbol in network.align(cells[chosen[:1]]).symbols]
    config = EnrichmentConfig(gene_sets=None if gene_sets is None else tuple(gene_sets))
    sources = choose(config, symbols).sources
    frame = pd.DataFrame({name: column.to_numpy()[chosen] for name, column in told.items()}) if told else None
    return _Work(
        objective_of(network, answers, transcoders.seed), some, halves(len(chosen), seed), symbols, sources, frame,
        rule, seed, folder, progress,
    )  # fmt: skip


def _meanings(work: _Work, units: Units) -> tuple[Meanings, list[UnitSums]]:
    """Return what units fire on, and their sums."""
    folder = None if work.folder is None else work.folder / units.name.replace(" ", "-")
    sums = sum_units(work.objective, work.cells, units, work.half, folder=folder, progress=work.progress)
    return meanings_of(sums, work.symbols, work.sources, work.labels, rule=work.rule, seed=work.seed), sums


def _controls(work: _Work, transcoders: Transcoders, cells: Cells, own: Sequence[UnitSums]) -> list[Meanings]:
    """Return what the units of the three controls fire on, in the order of `ROWS`."""
    network, objective = work.objective.model, work.objective
    points = features_of(network, transcoders).points
    directions = directions_of(network, transcoders, _sample(work, points), derive(work.seed, "random directions"))
    hidden = hidden_points(network)
    density = [float(one.active.sum() / (one.n_units * max(1, one.tokens.sum()))) for one in own]
    neurons = neurons_of(hidden, _sample(work, hidden), density)
    found = [_meanings(work, units)[0] for units in (directions, neurons)]
    blank = control_of(network, "untrained", work.seed)
    assert work.folder is not None  # noqa: S101  controls are kept on disk while they are made
    training, captured = transcoders.training.get("training"), transcoders.training.get("cells")
    each = rows_per_cell(objective, cells[:64], transcoders.seed)
    made = train_transcoders(
        blank, cells, work.folder / "untrained",
        kind="topk" if transcoders.is_crosslayer else transcoders.kind, latents=transcoders.n_latents, k=transcoders.k,
        skip=transcoders.skip, crosslayer=transcoders.is_crosslayer, labels=objective.labels,
        n_rows=math.ceil(0.9 * captured * each) if captured else N_ROWS,
        training=TrainConfig(**training) if training else None, seed=transcoders.seed,
        progress=lambda what, done, total: work.progress(f"untrained model: {what}", done, total),
    )  # fmt: skip
    known = work._replace(objective=objective_of(blank, objective.labels, transcoders.seed))
    units = features_of(made.check(blank), made, "features of the untrained model")
    return [*found, _meanings(known, units)[0]]


def _sample(work: _Work, points: Sequence[Point]) -> list[torch.Tensor]:
    """Return what stands at points at all tokens of the first cells."""
    read = list(read_tokens_at(work.objective, work.cells[:_SAMPLE], points))
    return [torch.cat(parts) for parts in zip(*(tokens.states for tokens in read), strict=True)]


def _rates(own: Meanings, controls: Sequence[Meanings]) -> pd.DataFrame:
    rows = []
    for name, meanings in zip(ROWS, [own, *controls], strict=False):
        table = meanings.features
        later = table.loc[table["layer"] > 0, "interpretable"]
        rows.append(
            {
                "of": name,
                "units": len(table),
                "firing": int(table["enough"].sum()),
                "interpretable": int(table["interpretable"].sum()),
                "rate": float(table["interpretable"].mean()),
                "rate_later": float(later.mean()) if len(later) else math.nan,
                "by_genes": float((table["why"] == "genes").mean()),
                "by_gene_set": float((table["why"] == "gene set").mean()),
                "spelling": float((table["why"] == "spelling").mean()),
                "labelled": float((table["f1"] >= LABEL_F1).mean()) if table["f1"].notna().any() else math.nan,
                "identity": float(table["gene_identity"].median()),
            }
        )
    return pd.DataFrame(rows, columns=list(RATE_COLUMNS))


def _job_of(work: _Work, transcoders: Transcoders, controls: bool) -> str:
    """Return the sha256 of everything that the tables depend on."""
    settings = [
        REVISION, transcoders.training.get("job"), fingerprint_of(work.objective.model),
        work.objective.model.fingerprint(), asdict(work.rule), work.seed, controls, work.objective.labels,
        {source.name: sorted(source.sets.items()) for source in work.sources},
        None if work.labels is None else work.labels.astype(str).to_dict("list"),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for one in transcoders.dictionaries:
        digest.update(one.encoder.detach().cpu().numpy().tobytes())
    for names in (work.cells.obs.index, work.cells.genes.index):
        digest.update("\n".join(map(str, names)).encode() + b"\0")
    counts = work.cells.counts
    digest.update(f"{counts.nnz} {counts.data.sum(dtype=np.float64)}".encode())
    return digest.hexdigest()

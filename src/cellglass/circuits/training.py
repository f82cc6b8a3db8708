"""Trains the transcoders of a model: reads its MLPs once, trains layer after layer, says what they keep.

    transcoders.json, layer-0/ ...     see ``transcoders.py``
    loss.csv                           see ``replacement.py``, on cells that no transcoder has seen
    work/                              the MLPs' inputs and outputs, and checkpoints; removed at the end

With `stream` nothing of the MLPs is kept on disk: the model runs beside the training, and all layers learn at once
from what it gives, so that one run of the model serves all of them. That takes weights and moments of all layers in
memory at once, and a run over the cells for each pass of the training; at the start, and again where a call goes on,
about three more, for statistics, first weights and held-out tokens. Tokens are the same as from disk; all layers see
them in the order of the first.

How cells are split is in ``plan.py``. A call that was killed goes on from the last shard, the last layer and its last
checkpoint, and comes to the same bytes on one machine with one number of threads; one with other settings is refused.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellglass.activations.rows import SideBySide
from cellglass.activations.shards import DTYPES, DType
from cellglass.activations.store import Store
from cellglass.cells.cells import Cells, CellsLike
from cellglass.cells.read import as_cells
from cellglass.circuits.live import LiveTokens
from cellglass.circuits.mlps import mlp_sites, n_layers
from cellglass.circuits.objectives import Objective, as_transformer, objective_of
from cellglass.circuits.plan import SAMPLE, Split, check_folder, job_of, split_cells, transcoder_config
from cellglass.circuits.replacement import loss_table
from cellglass.circuits.tokens import capture_tokens, rows_per_cell
from cellglass.circuits.transcoders import (
    LOSS,
    NAME,
    WORK,
    Transcoders,
    fingerprint_of,
    folders,
    load_transcoders,
)
from cellglass.dictionaries.fitting import fit, load
from cellglass.dictionaries.kinds.crosslayer import CrossLayerConfig
from cellglass.dictionaries.registry import KINDS
from cellglass.dictionaries.sparse import SparseConfig, SparseDictionary
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.dictionaries.training.defaults import default_training
from cellglass.dictionaries.training.train import train_many
from cellglass.errors import InputError
from cellglass.files import atomic_path, locked, remove_leftovers, take_folder
from cellglass.models.base import CellModel
from cellglass.models.transformer.tokens import Ints
from cellglass.progress import Progress, silent
from cellglass.seeds import derive

log = logging.getLogger(__name__)

N_ROWS = 100_000
"""Tokens that are learnt from, unless told otherwise."""

_TOKENS = "tokens"


def train_transcoders(
    model: CellModel,
    cells: CellsLike,
    folder: Path | str,
    *,
    kind: str = "topk",
    latents: int | None = None,
    k: int = 16,
    skip: bool = False,
    crosslayer: bool = False,
    labels: str | None = None,
    n_rows: int = N_ROWS,
    training: TrainConfig | None = None,
    dtype: DType = "float32",
    stream: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Transcoders:
    """Train a transcoder for every MLP of `model` on `cells`, and measure what they keep on cells held out.

    Parameters
    ----------
    model
        A transformer: Cell2Sentence, scGPT or Geneformer.
    cells
        Raw counts of at least `FEWEST_CELLS` cells.
    folder
        Where the transcoders go: a new folder, or one that the same call left, whole or not.
    kind
        ``topk``, ``batchtopk`` or ``jumprelu``.
    latents
        Of a layer; 8 times the width of what an MLP reads by default.
    k
        Latents that are active in a token and layer.
    skip
        With a linear map beside the latents.
    crosslayer
        One transcoder whose latents write to all later layers too; of kind ``topk``, without skip.
    labels
        Column of obs whose values Cell2Sentence is given as the answer to the cell-type prompt.
    n_rows
        About how many tokens are learnt from: of more cells, as many as give these, drawn by the seed.
    training
        How; `cellglass.dictionaries.default_training` by default, which stops once held-out tokens are no better.
    dtype
        What tokens are kept in while training; float16 and bfloat16 take half of the disk.
    stream
        Keep none: read them from the model while training, in float32, with nothing but weights and state on disk.
    seed
        Of the split, the tokens and the weights.
    progress
        Told the cells that are read, the steps of each layer (streamed: of all), and the runs for the table.

    Returns
    -------
    Transcoders
        As `load_transcoders` reads them; the table is in ``loss.csv`` beside them.

    Raises
    ------
    InputError
        A model without MLPs that can be transcoded, wrong settings, too few cells, a disk that is too small, or a
        folder that holds something else.
    """
    cells, network, place = as_cells(cells), as_transformer(model), Path(folder)
    objective = objective_of(network, labels, seed)
    if labels is not None:
        cells.column(labels)
    width, layers = network.site(mlp_sites(network)[0]).width, n_layers(network)
    config = transcoder_config(width, layers, kind, latents, k, skip, crosslayer)
    training = _how(training, config, layers if crosslayer else 1)
    split = split_cells(objective, cells, n_rows, seed)
    owner = fingerprint_of(network)
    how = "stream" if stream else dtype
    job = job_of(cells, split, [network.kind, owner, network.fingerprint(), labels, seed, how], config, training)
    check_folder(place, job)
    if (place / NAME).exists():
        shutil.rmtree(place / WORK, ignore_errors=True)
        return load_transcoders(place)
    with locked(place, "training"):
        remove_leftovers(place)
        take_folder(place / WORK, job, "transcoders")
        names = folders(layers, crosslayer)
        if all((place / name).is_dir() for name in names):
            pass
        elif stream:
            _train_live(objective, cells, split, place, names, config, training, seed, progress)
        else:
            store = _capture(objective, cells, split, place, dtype, seed, job, progress)
            _train(store, split, place, names, config, training, seed, progress)
        trained = [load(place / name) for name in names]
        made = Transcoders(
            network.kind,
            owner,
            layers,
            tuple(one for one in trained if isinstance(one, SparseDictionary)),
            seed,
            labels,
            tuple(cells.obs.index[split.test].astype(str)),
            {"job": job, "cells": len(split.captured), "training": asdict(training)},
        )
        table = loss_table(network, made, cells[split.test], labels=labels, progress=progress)
        _write_table(table, place)
        made.write_index(place)
        shutil.rmtree(place / WORK)
    return made


def read_losses(folder: Path | str) -> pd.DataFrame:
    """Return the table of losses that lies beside transcoders; see `cellglass.circuits.replacement.loss_table`."""
    place = Path(folder) / LOSS
    try:
        return pd.read_csv(place, dtype={"layers": str, "loss": str})
    except (OSError, ValueError) as error:
        raise InputError(f"{place}: cannot be read ({error}); train the transcoders again") from error


# -- steps -------------------------------------------------------------------------------------------------------------


def _capture(
    objective: Objective,
    cells: Cells,
    split: Split,
    folder: Path,
    dtype: DType,
    seed: int,
    job: str,
    progress: Progress,
) -> Store:
    """Read the MLPs once; say first what that takes, and refuse a disk that is too small."""
    sites = mlp_sites(objective.model)
    each = rows_per_cell(objective, cells[split.captured[:SAMPLE]], seed)
    size = DTYPES[dtype].itemsize * sum(objective.model.site(name).width for name in sites)
    needed, free = each * len(split.captured) * size, shutil.disk_usage(folder).free
    rows = round(each * len(split.captured))
    log.info("reading %d MLPs at about %d tokens: %.1f GB on disk", len(sites) // 2, rows, needed / 1e9)
    held = sum(file.stat().st_size for file in (folder / WORK).rglob("*") if file.is_file())
    if needed > free + held:
        raise InputError(
            f"{folder}: about {rows} tokens take {needed / 1e9:.1f} GB while training, but {free / 1e9:.1f} GB are "
            "free; learn from fewer (n_rows), or choose another disk"
        )
    return capture_tokens(
        objective, cells, folder / WORK / _TOKENS, rows=split.captured, dtype=dtype, seed=seed, source=job,
        progress=progress,
    )  # fmt: skip


def _how(training: TrainConfig | None, config: SparseConfig, joint: int) -> TrainConfig:
    """Return how to train: a transcoder of `joint` layers as one of a layer, in steps and in threads.

    Its products are those of single layers, too small for the threads that its latents and widths together ask for.
    """
    training = training or default_training(config.n_latents // joint)
    if joint == 1 or training.threads is not None:
        return training
    return replace(training, threads=training.thread_count(config.n_latents // joint, config.d_in // joint))


def _train(
    store: Store,
    split: Split,
    folder: Path,
    names: Sequence[str],
    config: SparseConfig,
    training: TrainConfig,
    seed: int,
    progress: Progress,
) -> None:
    """Train what is not there yet, and keep each as it is finished."""
    sites = list(store.sites)
    joint = isinstance(config, CrossLayerConfig)
    parts = [sites] if joint else [sites[i : i + 2] for i in range(0, len(sites), 2)]
    rows = _rows_of(store.rows(sites[0]).cells(), split)
    for i, (name, own) in enumerate(zip(names, parts, strict=True)):
        if (folder / name).is_dir():
            continue
        done = fit(
            config.kind,
            SideBySide([store.rows(site) for site in own[0::2]]),
            config=config,
            training=training,
            target=SideBySide([store.rows(site) for site in own[1::2]]),
            checkpoint=folder / WORK / f"{name}.safetensors",
            seed=derive(seed, "transcoder", i),
            progress=_named(f"transcoder of {name.replace('-', ' ')}", progress),
            **rows,
        )
        done.save(folder / name)


def _train_live(
    objective: Objective,
    cells: Cells,
    split: Split,
    folder: Path,
    names: Sequence[str],
    config: SparseConfig,
    training: TrainConfig,
    seed: int,
    progress: Progress,
) -> None:
    """Train all at once on what the model gives while they learn, and keep each at the end."""
    rows = LiveTokens(objective, cells, rows=split.captured, seed=seed, progress=progress)
    layers = range(n_layers(objective.model))
    parts = [list(layers)] if isinstance(config, CrossLayerConfig) else [[layer] for layer in layers]
    entry = KINDS.find(config.kind, "train_transcoders").cls
    assert issubclass(entry, SparseDictionary)  # noqa: S101  what is trained is sparse
    done = train_many(
        [entry(config) for _ in names],
        rows,
        training,
        seeds=[derive(seed, "transcoder", i) for i in range(len(names))],
        columns=[rows.columns(part) for part in parts],
        checkpoint=folder / WORK / "stream.safetensors",
        progress=_named("transcoders of all layers", progress),
        **_rows_of(rows.cells(), split),
    )
    for name, one in zip(names, done, strict=True):
        one.save(folder / name)


def _rows_of(cell: Ints, split: Split) -> Any:
    """Return the rows to learn from and those to stop by, as options of a training, from the cell of each row."""
    stops = np.isin(split.captured, split.stop)[cell]
    rows = {"rows_train": np.flatnonzero(~stops), "rows_valid": np.flatnonzero(stops)}
    if not len(rows["rows_train"]) or not len(rows["rows_valid"]):
        raise InputError(f"{len(cell)} tokens are too few to train on and to stop by; raise n_rows or give more cells")
    return rows


def _named(name: str, progress: Progress) -> Progress:
    def tell(what: str, done: int, total: int) -> None:  # noqa: ARG001 (told by the layer's name)
        progress(name, done, total)

    return tell


def _write_table(table: pd.DataFrame, folder: Path) -> None:
    with atomic_path(folder / LOSS) as temporary:
        table.to_csv(temporary, index=False)

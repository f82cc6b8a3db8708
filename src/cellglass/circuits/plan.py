"""What a training of transcoders is, before anything is read: their config, the cells, what they depend on, the folder.

Wrong settings are found here. Cells are split by the seed: a tenth (at most 400) is held out for the table of losses,
a tenth tells training when to stop, and of the rest as many are learnt from as give the tokens that were asked for.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cellglass.cells.cells import Cells
from cellglass.circuits.objectives import Objective
from cellglass.circuits.tokens import rows_per_cell
from cellglass.circuits.transcoders import NAME, WORK, read_index
from cellglass.dictionaries.kinds.crosslayer import CrossLayerConfig
from cellglass.dictionaries.registry import KINDS
from cellglass.dictionaries.sparse import SparseConfig
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.errors import InputError
from cellglass.files import LOCK, check_job, noted_job
from cellglass.models.transformer.tokens import Ints
from cellglass.seeds import generator

PER_LAYER = ("topk", "batchtopk", "jumprelu")
"""Kinds that a layer's transcoder can be of."""
LATENTS_A_DIMENSION = 8
MOST_HELD = 400
FEWEST_CELLS = 10
SAMPLE = 64
"""Cells from which the number of tokens is foreseen."""


@dataclass(frozen=True)
class Split:
    """Positions of cells, each ascending: to learn from, to stop by, and for the table."""

    learn: Ints
    stop: Ints
    test: Ints

    @property
    def captured(self) -> Ints:
        """Those whose MLPs are read."""
        return np.sort(np.concatenate([self.learn, self.stop]))


def transcoder_config(
    width: int, layers: int, kind: str, latents: int | None, k: int, skip: bool, crosslayer: bool
) -> SparseConfig:
    """Return what a layer's transcoder is, or that of all layers."""
    latents = LATENTS_A_DIMENSION * width if latents is None else latents
    if crosslayer:
        if kind != "topk" or skip:
            raise InputError(
                f"a cross-layer transcoder is of kind topk and has no skip, but kind is {kind!r} and skip {skip}; "
                "leave both out, or train one for each layer"
            )
        return CrossLayerConfig(layers * width, layers * latents, k, d_out=layers * width, n_layers=layers)
    if kind not in PER_LAYER:
        raise InputError(f"there is no transcoder of kind {kind!r}; choose one of: {', '.join(PER_LAYER)}")
    if not 1 <= k <= latents:
        raise InputError(f"k is {k}; it must lie between 1 and the number of latents of a layer, {latents}")
    make = KINDS[kind].default_config
    assert make is not None, "trained kinds have a default"  # noqa: S101
    return replace(make(width, width, latents, k), d_out=width, skip=skip)


def split_cells(objective: Objective, cells: Cells, n_rows: int, seed: int) -> Split:
    """Return which cells are learnt from, stopped by and held out; of the first two as many as give `n_rows` tokens."""
    if cells.n_cells < FEWEST_CELLS:
        raise InputError(f"{cells.source}: {cells.n_cells} cells are too few to train on; give {FEWEST_CELLS} or more")
    if n_rows < 1:
        raise InputError(f"n_rows is {n_rows}; it must be at least 1")
    order = generator(seed, "transcoder cells").permutation(cells.n_cells)
    tenth = max(1, cells.n_cells // 10)
    test, stop, learn = order[:tenth][:MOST_HELD], order[tenth : 2 * tenth], order[2 * tenth :]
    each = rows_per_cell(objective, cells[np.sort(learn[:SAMPLE])], seed)
    most = math.ceil(n_rows / max(each, 1e-9))
    return Split(np.sort(learn[:most]), np.sort(stop[: max(1, most // 9)]), np.sort(test))


def job_of(cells: Cells, split: Split, settings: list[Any], config: SparseConfig, training: TrainConfig) -> str:
    """Return the sha256 of everything that the transcoders depend on."""
    how = {name: value for name, value in asdict(training).items() if name != "checkpoint_seconds"}
    digest = hashlib.sha256(json.dumps([settings, config.kind, asdict(config), how], sort_keys=True).encode())
    for rows in (split.learn, split.stop, split.test):
        digest.update(rows.tobytes())
    for names in (cells.obs.index, cells.genes.index):
        digest.update("\n".join(map(str, names)).encode() + b"\0")
    labels = settings[3]
    if labels is not None:
        digest.update("\n".join(map(str, cells.column(labels))).encode())
    digest.update(f"{cells.counts.nnz} {cells.counts.data.sum(dtype=np.float64)}".encode())
    return digest.hexdigest()


def check_folder(folder: Path, job: str) -> None:
    """Raise InputError where `folder` holds something else than this training, whole or not."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder for the transcoders")
    if not folder.exists():
        return
    if (folder / NAME).exists():
        found = read_index(folder).get("training", {}).get("job")
    elif (noted := noted_job(folder / WORK)) is not None:
        found = noted
    else:
        strangers = [path.name for path in folder.iterdir() if path.name not in (LOCK, WORK)]
        if strangers:
            raise InputError(
                f"{folder} holds other files ({sorted(strangers)[0]}, ...) and no transcoders; choose a new folder"
            )
        return
    check_job(folder, found, job, "transcoders")

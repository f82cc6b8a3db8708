"""What of the work of a model's MLPs its transcoders keep: the model's held-out loss with MLPs as they are and not.

With L(original) the loss of the model as it is, L(replaced) that with transcoders in the place of MLPs, and L(removed)
that with MLPs which write 0, or write their mean:

    share kept = (L(removed) - L(replaced)) / (L(removed) - L(original))

1 keeps all of the work, 0 none. Where removal costs less than 0.05 there is next to nothing to keep, and the share is
blank. Beside it stand L0, dead share and error at held-out tokens of the model as it is (``quality.py``).

A cell is run once for each way and each set of layers: layers alone, all, and all but the first, since in a block whose
attention and MLP run in parallel the first layer reads one token alone and often carries nearly all of the cost. Losses
are in ``objectives.py``. The mean that an MLP writes is that over the tokens of the transcoder's training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import pandas as pd
import torch

from cellglass.cells.cells import Cells, CellsLike
from cellglass.cells.read import as_cells
from cellglass.circuits.mlps import WAYS, Way, mlp_sites, replacing, take
from cellglass.circuits.objectives import Objective, Shown, objective_of
from cellglass.circuits.quality import Measured, Quality
from cellglass.circuits.tokens import kept_tokens
from cellglass.circuits.transcoders import Transcoders
from cellglass.errors import InputError
from cellglass.models.base import CellModel
from cellglass.models.transformer.hooks import Edit, run
from cellglass.models.transformer.model import TransformerModel
from cellglass.models.transformer.tokens import Ints, Padded, batches_by_length
from cellglass.progress import Progress, silent

LEAST_COST = 0.05
"""Least cost of a removal (nats, or the loss's own unit) of which a share is stated."""
COLUMNS = (
    *("layers", "loss", "original", "replaced", "zeroed", "mean", "kept", "kept_mean"),
    *("l0", "dead", "error", "n"),
)

_CELLS = 256  # whose tokens are made at once


def loss_table(
    model: CellModel,
    transcoders: Transcoders,
    cells: CellsLike,
    *,
    labels: str | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Return the losses of the model with its MLPs as they are, replaced and removed, and what is kept.

    Parameters
    ----------
    model
        The model that the transcoders were made for.
    transcoders
        Of all layers.
    cells
        Raw counts of cells that were not trained on.
    labels
        Column of obs with the answers (Cell2Sentence); without it there is no loss of the label.
    seed
        Of what is hidden from an encoder, and of which tokens L0, dead and error are measured at; that of the
        transcoders by default.
    progress
        Told how many runs of the network are done.

    Returns
    -------
    pandas.DataFrame
        A row for each set of layers (``layers``: "0", "1", ..., "1+" and "all") and each ``loss``. ``original``,
        ``replaced``, ``zeroed`` and ``mean`` are losses; ``kept`` and ``kept_mean`` the share kept against zeroed and
        mean; ``l0``, ``dead`` and ``error`` those of the layer, or their mean over the set; ``n`` over how many tokens
        (of the label: cells) the loss is taken.

    Raises
    ------
    InputError
        Transcoders of another model, no cells, or no such column.
    """
    cells, network = as_cells(cells), transcoders.check(model)
    if not cells.n_cells:
        raise InputError(f"{cells.source}: there are no cells to measure losses on")
    seed = transcoders.seed if seed is None else seed
    objective = objective_of(network, labels, seed)
    sets = layer_sets(transcoders.n_layers)
    runs: list[tuple[str, Way | None]] = [("all", None), *((name, way) for way in WAYS for name in sets)]
    sums: dict[tuple[str, Way | None, str], list[float]] = {}
    done, whole = 0, cells.n_cells * len(runs)
    with _beside(transcoders, network.device):
        quality = [Quality(transcoders, layer) for layer in range(transcoders.n_layers)]
        for shown, keep, chosen in _batches(objective, cells, seed):
            batch = shown.tokens.padded(chosen, network.pad_id, network.pad_value).to(network.device)
            _look(network, transcoders, batch, keep.parts(chosen) >= 0, quality)
            for name, way in runs:
                edits = {} if way is None else replacing(transcoders, sets[name], way, batch.mask)
                for loss, (total, count) in _losses(network, objective, shown, batch, edits).items():
                    held = sums.setdefault((name, way, loss), [0.0, 0.0])
                    held[:] = held[0] + total, held[1] + count
                done += len(chosen)
                progress("losses with and without MLPs", done, whole)
    return _table(objective.losses, sets, sums, [one.found() for one in quality])


def layer_sets(layers: int) -> dict[str, range]:
    """Return the sets of layers that are replaced together by name: each alone, all but the first, all."""
    sets = {str(layer): range(layer, layer + 1) for layer in range(layers)}
    return sets | ({"1+": range(1, layers)} if layers > 1 else {}) | {"all": range(layers)}


def share_kept(original: float, replaced: float, removed: float) -> float:
    """Return (removed - replaced) / (removed - original); NaN where removal costs less than `LEAST_COST`."""
    cost = removed - original
    return (removed - replaced) / cost if cost >= LEAST_COST else float("nan")


@contextmanager
def _beside(transcoders: Transcoders, device: torch.device) -> Iterator[None]:
    """Keep the transcoders on the network's device while the block runs."""
    before = [one.encoder.device for one in transcoders.dictionaries]
    try:
        for one in transcoders.dictionaries:
            one.to(device)
        yield
    finally:
        for one, place in zip(transcoders.dictionaries, before, strict=True):
            one.to(place)


@torch.no_grad()
def _losses(
    model: TransformerModel, objective: Objective, shown: Shown, batch: Padded, edits: Mapping[str, Edit]
) -> dict[str, tuple[float, int]]:
    _, output = run(model.net, partial(model.forward, batch), model.points, (), edits, whole=True)
    return objective.measure(shown, batch, output)


@torch.no_grad()
def _look(
    model: TransformerModel, transcoders: Transcoders, batch: Padded, place: torch.Tensor, quality: Sequence[Quality]
) -> None:
    """Measure the transcoders of all layers at the tokens `place`, bool (n, t), of the model as it is."""
    values: dict[str, list[torch.Tensor]] = {name: [] for name in mlp_sites(model)}
    taking = {name: take(place.to(model.device), into) for name, into in values.items()}
    run(model.net, partial(model.forward, batch), model.points, (), taking)
    inputs = [values[f"layers.{i}.mlp.in"][0] for i in range(transcoders.n_layers)]
    for one in quality if len(inputs[0]) else ():
        one.add(inputs, values[f"layers.{one.layer}.mlp.out"][0])


# -- the table ---------------------------------------------------------------------------------------------------------


def _batches(objective: Objective, cells: Cells, seed: int) -> Iterator[tuple[Shown, Shown, Ints]]:
    """Yield cells as they are shown, the same with -1 for tokens that are not kept, and which of them run together."""
    for first in range(0, cells.n_cells, _CELLS):
        block = objective.model.align(cells[first : first + _CELLS])
        shown = objective.shown(block)
        keep = shown._replace(part=np.where(kept_tokens(shown, block, seed), shown.part, -1))
        for chosen in batches_by_length(shown.tokens.lengths, objective.model.batch_tokens):
            yield shown, keep, chosen


def _table(
    losses: Sequence[str],
    sets: Mapping[str, range],
    sums: Mapping[tuple[str, Way | None, str], Sequence[float]],
    quality: Sequence[Measured],
) -> pd.DataFrame:
    rows = []
    for loss in losses:
        for name, layers in sets.items():
            total, n = sums["all", None, loss]
            original = total / n if n else float("nan")
            by = {way: sums[name, way, loss][0] / n if n else float("nan") for way in WAYS}
            beside = np.mean([quality[layer] for layer in layers], axis=0)
            kept = [share_kept(original, by["replaced"], by[way]) for way in ("zeroed", "mean")]
            rows.append([name, loss, original, *by.values(), *kept, *beside, int(n)])
    return pd.DataFrame(rows, columns=list(COLUMNS))

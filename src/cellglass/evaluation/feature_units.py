"""Units of every layer of a transformer that are active at a token or not: features, random directions, neurons.

    features      of transcoders
    directions    the same transcoders with encoder and decoder rows drawn anew (`cellglass.circuits.controls`), each as
                  long as the row in whose place it stands, under the same rule of selection
    neurons       the hidden layer of each MLP, each above a threshold of its own that is set on some tokens, so that it
                  is active at as large a share of tokens as a feature of its layer is on average

What is asked of all is in ``feature_sums.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from cellglass.cells.cells import Cells
from cellglass.circuits.controls import random_like
from cellglass.circuits.mlps import n_layers, take
from cellglass.circuits.objectives import Objective
from cellglass.circuits.tokens import SHOWN_HIDDEN
from cellglass.circuits.transcoders import Transcoders
from cellglass.dictionaries.kinds.crosslayer import CrossLayerTranscoder
from cellglass.dictionaries.sparse import SparseDictionary
from cellglass.errors import InputError
from cellglass.models.transformer.hooks import Point, run
from cellglass.models.transformer.model import TransformerModel
from cellglass.models.transformer.tokens import Ints, batches_by_length

Array = np.ndarray[Any, Any]

LAST_MAPS = ("dense_4h_to_h", "down_proj", "c_proj", "fc2", "w2")
"""Names of the last linear map of an MLP: what it reads is the hidden layer."""


@dataclass(frozen=True)
class Units:
    """Units of every layer.

    Attributes
    ----------
    name : str
    points : sequence of Point
        Of each layer, where in the network its units read.
    numbers : sequence of int
        Units of each layer.
    encode : callable
        ``encode(layer, x)``: rows (tokens, width) -> their activations, CSR (tokens, units), above 0.
    """

    name: str
    points: Sequence[Point]
    numbers: Sequence[int]
    encode: Callable[[int, torch.Tensor], sp.csr_matrix]


class Tokens(NamedTuple):
    """All tokens of some cells.

    Attributes
    ----------
    cell : int array, (tokens,)
        By position among the cells that were asked for.
    gene : int array, (tokens,)
        Position among the model's genes; -1 of no gene.
    piece : int array, (tokens,)
        Its number in the model's vocabulary.
    part : int array, (tokens,)
        As of `cellglass.circuits.objectives`: PROMPT, GENE, SPECIAL, HIDDEN or ANSWER.
    states : list of torch.Tensor, (tokens, width)
        What stands at each point.
    """

    cell: Ints
    gene: Ints
    piece: Ints
    part: Ints
    states: list[torch.Tensor]


def features_of(model: TransformerModel, transcoders: Transcoders, name: str = "features") -> Units:
    """Return the features of transcoders."""
    points = [model.points[f"layers.{i}.mlp.in"] for i in range(transcoders.n_layers)]

    @torch.no_grad()
    def encode(layer: int, x: torch.Tensor) -> sp.csr_matrix:
        x = x.to(transcoders.dictionaries[0].encoder.device)
        if transcoders.is_crosslayer:
            return transcoders.crosslayer.encode_layer(x, layer).to_csr()
        return transcoders[layer].encode(x).to_csr()

    return Units(name, points, [transcoders.n_latents] * transcoders.n_layers, encode)


def directions_of(
    model: TransformerModel, transcoders: Transcoders, sample: Sequence[torch.Tensor], seed: int
) -> Units:
    """Return random directions in the place of features; thresholds are set on a `sample` of what each MLP reads."""
    drawn = random_like(transcoders.stand_ins, sample, seed)
    made = (drawn,) if isinstance(drawn, CrossLayerTranscoder) else drawn
    own = tuple(one for one in made if isinstance(one, SparseDictionary))
    return features_of(model, replace(transcoders, dictionaries=own, names={}), "random directions")


def neurons_of(points: Sequence[Point], sample: Sequence[torch.Tensor], density: Sequence[float]) -> Units:
    """Return the neurons of every MLP.

    Parameters
    ----------
    points : sequence of Point
        The hidden layer of each MLP; see `hidden_points`.
    sample : sequence of torch.Tensor, (tokens, hidden)
        Of each layer, on which thresholds are set: the quantile 1 - density of each neuron, at least 0.
    density : sequence of float
        Of each layer, the share of tokens at which a neuron is active.
    """
    bars = [
        torch.quantile(x, min(max(1 - share, 0.0), 1.0), dim=0).clamp_min(0)
        for x, share in zip(sample, density, strict=True)
    ]

    def encode(layer: int, x: torch.Tensor) -> sp.csr_matrix:
        return sp.csr_matrix(torch.where(x > bars[layer], x, 0).numpy())

    return Units("neurons", points, [len(bar) for bar in bars], encode)


def hidden_points(model: TransformerModel) -> list[Point]:
    """Return where the hidden layer of every MLP is read: before its last linear map.

    Raises
    ------
    InputError
        A network whose last maps have names that are not known here.
    """
    found = []
    for i in range(n_layers(model)):
        reads, writes = (model.points[f"layers.{i}.mlp.{side}"].module for side in ("in", "out"))
        if isinstance(model.net.get_submodule(writes), torch.nn.Linear):
            found.append(Point(writes, "in"))
            continue
        mlp = model.net.get_submodule(reads)
        names = [name for name, _ in mlp.named_children() if name in LAST_MAPS]
        if not names:
            raise InputError(
                f"the MLP {reads} of the {model.kind} model has no map named as {', '.join(LAST_MAPS)}, so its neurons "
                "cannot be read; leave the controls out"
            )
        found.append(Point(f"{reads}.{names[0]}", "in"))
    return found


@torch.no_grad()
def read_tokens_at(objective: Objective, cells: Cells, points: Sequence[Point]) -> Iterator[Tokens]:
    """Yield all tokens of `cells`, as transcoders are shown them, some cells at once and each whole."""
    model: TransformerModel = objective.model
    block = model.align(cells)
    shown = objective.shown(block, SHOWN_HIDDEN)
    where = {str(i): point for i, point in enumerate(points)}
    for some in batches_by_length(shown.tokens.lengths, model.batch_tokens):
        batch = shown.tokens.padded(some, model.pad_id, model.pad_value).to(model.device)
        part = shown.parts(some).to(model.device)
        place = part >= 0
        values: dict[str, list[torch.Tensor]] = {name: [] for name in where}
        taking = {name: take(place, into) for name, into in values.items()}
        run(model.net, partial(model.forward, batch), where, (), taking)
        yield Tokens(
            np.repeat(some, place.sum(1).cpu().numpy()),
            batch.gene[place].cpu().numpy(),
            batch.ids[place].cpu().numpy(),
            part[place].cpu().numpy(),
            [torch.cat(values[name]) for name in where],
        )

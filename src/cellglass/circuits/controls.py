r"""What a graph's scores would be of nothing: without features, of random transcoders, and of rewired graphs.

- **bare**: the graph without any feature (`Graph.bare`); what is left is direct.
- **random transcoders**: encoder and decoder rows drawn anew, uniform in direction, each as long as the row in whose
  place it stands; statistics, biases, skip connection and the rule of selection are kept. Where latents are on above a
  threshold, thresholds are set by one common value so that as many are active on this cell as of the trained one.
- **rewired**: pairs of edges of one kind of source exchange their sources (s -> t, s' -> t' become s' -> t, s -> t'),
  where both new edges go from a lower layer to a higher one and, in a graph in which no edge goes to an earlier token,
  to no earlier token; then each target's weights are shuffled among its edges of one kind. Kept are the numbers of
  edges into and out of each node, and the weights that each target gets from each kind of source (features, errors,
  tokens); lost is which source carries which weight. A graph of all effects has nearly all edges that there can be, so
  that few pairs can be exchanged, and the shuffled weights are what is random. Since shares of errors stay where they
  were, scores hardly move: they say little of the wiring.
- **rewired across kinds**: the same, of all kinds together. Kept are degrees and the weights of each target; a token
  may get what an error had.

Scores after Ameisen et al. 2025 (transformer-circuits.pub); the exchange of edges after Maslov & Sneppen 2002 (Science
296, 910).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from cellglass.circuits.build import Answers, build_graph
from cellglass.circuits.features import StandIns, replace_mlps
from cellglass.circuits.graph import Graph
from cellglass.circuits.linear_map import Frozen
from cellglass.dictionaries.base import Dictionary
from cellglass.dictionaries.kinds.crosslayer import CrossLayerTranscoder
from cellglass.dictionaries.kinds.thresholds import Thresholded, threshold_for
from cellglass.dictionaries.sparse import SparseDictionary
from cellglass.errors import InputError
from cellglass.seeds import derive, generator

Tensor = torch.Tensor
Array = np.ndarray[Any, Any]

_ROUNDS = 30


# -- random transcoders ----------------------------------------------------------------------------------------------


def random_transcoders(transcoders: StandIns, frozen: Frozen, seed: int = 0) -> StandIns:
    """Return transcoders like the given ones whose features read and write at random; see the module.

    Parameters
    ----------
    transcoders
        Of any kind that `replace_mlps` takes; they stay as they are.
    frozen
        The model on the cell on which as many features are to be active.
    seed
    """
    return random_like(transcoders, frozen.mlp_in, seed)


@torch.no_grad()
def random_like(transcoders: StandIns, inputs: Sequence[Tensor], seed: int = 0) -> StandIns:
    """Return such transcoders, of which as many features are active at `inputs`, what each MLP reads at some tokens."""
    if isinstance(transcoders, CrossLayerTranscoder):
        return cast(CrossLayerTranscoder, _redrawn(transcoders, derive(seed, "random transcoder")))
    found: list[Dictionary] = []
    for layer, one in enumerate(transcoders):
        if not isinstance(one, SparseDictionary):
            raise InputError(f"the transcoder of layer {layer} is of kind {one.kind!r}; circuits take no such")
        made = _redrawn(one, derive(seed, "random transcoder", layer))
        if isinstance(one, Thresholded) and isinstance(made, Thresholded):
            x = inputs[layer].float()
            active = one.encode(x).to_csr().nnz / len(x)
            made.threshold.copy_(threshold_for(made, made.normalise(x), active).expand_as(made.threshold))
        found.append(made)
    return found


def _redrawn(one: SparseDictionary, seed: int) -> SparseDictionary:
    made = copy.deepcopy(one)
    noise = torch.Generator().manual_seed(seed)
    for rows in (made.encoder, *made.written_rows()):
        drawn = torch.randn(rows.shape, generator=noise).to(rows)
        rows.copy_(drawn * (rows.norm(dim=1, keepdim=True) / drawn.norm(dim=1, keepdim=True)))
    return made


# -- rewired graphs --------------------------------------------------------------------------------------------------


def rewired(graph: Graph, seed: int = 0, *, across: bool = False) -> Graph:
    """Return a graph with the same nodes and degrees whose edges lie otherwise; see the module.

    Parameters
    ----------
    graph
    seed
    across
        Whether edges of different kinds of source are exchanged too.
    """
    rng = generator(seed, "rewired graph")
    found = graph.weights.tocoo()
    target, source, weight = found.row.astype(np.int64), found.col.astype(np.int64), found.data.copy()
    kind = pd.factorize(graph.nodes["kind"])[0][source]
    kind = np.zeros_like(kind) if across else kind
    fixed = np.isin(source, graph.of_kind("bias", "rest"))
    layer, position = graph.nodes["layer"].to_numpy(), graph.nodes["position"].to_numpy()
    causal = bool((position[source] <= position[target])[~fixed].all())
    n, edges = len(graph.nodes), np.flatnonzero(~fixed)
    there = np.sort(target * n + source)
    for _ in range(_ROUNDS):
        order = rng.permutation(edges)
        order = order[np.argsort(kind[order], kind="stable")]
        a, b = order[: len(order) // 2 * 2].reshape(-1, 2).T
        may = (kind[a] == kind[b]) & (source[a] != source[b]) & (target[a] != target[b])
        for s, t in ((source[b], target[a]), (source[a], target[b])):
            may &= layer[s] < layer[t]
            if causal:
                may &= position[s] <= position[t]
        a, b = a[may], b[may]
        keys = np.stack([target[a] * n + source[b], target[b] * n + source[a]])
        new: Array = np.asarray(~_among(keys, there).any(axis=0))
        _, first = np.unique(keys[:, new], return_index=True)
        once = np.zeros(2 * int(new.sum()), dtype=bool)
        once[first] = True
        new[new] = once.reshape(2, -1).all(axis=0)
        a, b = a[new], b[new]
        source[a], source[b] = source[b], source[a]
        there = np.sort(target * n + source)
    kinds = int(kind.max(initial=0)) + 1
    group = np.where(fixed, n * kinds + np.arange(len(target)), target * kinds + kind)
    weight[np.argsort(group, kind="stable")] = weight[np.lexsort((rng.random(len(weight)), group))]
    return replace(graph, weights=sp.csr_matrix((weight, (target, source)), shape=(n, n)), heads=None)


def _among(keys: Array, sorted_keys: Array) -> Array:
    """Return which of `keys` are among sorted ones."""
    place = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return np.asarray(sorted_keys[place] == keys)


# -- scores beside controls ------------------------------------------------------------------------------------------


def control_scores(
    graph: Graph,
    frozen: Frozen,
    transcoders: StandIns,
    answers: Answers,
    *,
    draws: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Return replacement and completeness of a graph beside those of its controls.

    Parameters
    ----------
    graph
        As `build_graph` made it, before pruning: random transcoders get a graph of as many features.
    frozen, transcoders, answers
        What it was made of.
    draws
        Of random transcoders, and of rewired graphs.
    seed

    Returns
    -------
    pandas.DataFrame
        Index ``graph``, ``bare``, ``random transcoders``, ``rewired``, ``rewired across kinds``; columns
        ``replacement`` and ``completeness``, each with ``_sd`` over draws (NaN of the first two), and ``n``.
    """
    if draws < 1:
        raise InputError(f"draws is {draws}; it must be at least 1")
    most = max(1, len(graph.of_kind("feature")))
    rows: dict[str, Sequence[Any]] = {"graph": [graph.scores()], "bare": [graph.bare().scores()]}
    random = []
    for draw in range(draws):
        made = replace_mlps(frozen, random_transcoders(transcoders, frozen, derive(seed, "control", draw)))
        one = build_graph(
            frozen, made, answers, graph.tokens, graph.genes, most=most, patterns=graph.about.get("patterns", "frozen")
        )
        random.append(one.scores())
    rows["random transcoders"] = random
    for name, across in (("rewired", False), ("rewired across kinds", True)):
        made_of = [rewired(graph, derive(seed, "control", draw), across=across) for draw in range(draws)]
        rows[name] = [one.scores() for one in made_of]
    table = {}
    for name, found in rows.items():
        values = np.array(found, dtype=float)
        sd = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(2, np.nan)
        table[name] = [values[:, 0].mean(), sd[0], values[:, 1].mean(), sd[1], len(values)]
    columns = ["replacement", "replacement_sd", "completeness", "completeness_sd", "n"]
    return pd.DataFrame.from_dict(table, orient="index", columns=columns).astype({"n": int})

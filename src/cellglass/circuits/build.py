"""Builds a graph: effects on the answers first, then on the features that matter most, until the budget is spent.

Which features matter is not known before their own effects are: after each round the influence of all active features
on the answers is worked out from the rows that are there, and the next round takes those that stand highest. Features
of one layer share a walk back, in batches that memory allows; of a causal model a walk goes no further than the last
token that is asked about. Rows lie in memory, or beyond a limit in a file of their own.

Each row adds up to its node, the target's value on this input; with linear patterns, where gradients pass through
queries and keys too, as well. What of a pattern does not depend on its input to first order is then no part of any
source, and stands in a node of its own for each layer, the bias ``layers.i.pattern``: negative of what the pattern's
linear part makes of this input. An edge is then the derivative of its target by the size of its source, times that
size, in a model whose patterns answer: what doubling the source changes once they are linearised.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from cellglass.circuits.features import Features, Replacement
from cellglass.circuits.graph import Graph
from cellglass.circuits.head_parts import heads_of
from cellglass.circuits.influence import influence, normalised
from cellglass.circuits.linear_map import Frozen
from cellglass.circuits.propagation import Effects, Targets, effects, feature_targets
from cellglass.progress import Progress, silent

Array = np.ndarray[Any, Any]

MEMORY = 1 << 30
"""Bytes that gradients, or rows, may take."""
COPIES = 8
"""Arrays of the size of a batch's gradients that a walk back holds at once."""
_ROUNDS = 8
_MOST = 256
_ROWS, _LEAST = 512, 16
"""On a processor a walk has at most so many rows of gradients, tokens times targets, which its caches hold, but not
fewer targets than the least; of a causal model short walks leave out more tokens too."""
_BLOCK = 256
"""Rows of the graph that are made sparse at once."""


class Answers(NamedTuple):
    """What is asked of the model.

    Attributes
    ----------
    targets : Targets
    labels : sequence of str
    found : numpy.ndarray, (B,)
        The model's own values.
    weights : numpy.ndarray, (B,)
        How much each counts; they add up to 1.
    """

    targets: Targets
    labels: Sequence[str]
    found: Array
    weights: Array


class Cost(NamedTuple):
    """What a graph takes.

    Attributes
    ----------
    active : int
        Features that are active on this input.
    targets : int
        Nodes that effects are worked out on: answers, and features within the budget.
    batch : int
        Most targets of one walk back.
    passes : int
        Walks, at least.
    bytes : int
        Of the gradients of a walk and of the rows.
    """

    active: int
    targets: int
    batch: int
    passes: int
    bytes: int


@dataclass(frozen=True)
class _Active:
    """All features that are active anywhere: layer, token, place among the token's, number."""

    layer: Array
    position: Array
    slot: Array
    latent: Array
    value: Array

    def __len__(self) -> int:
        return len(self.layer)


def cost(frozen: Frozen, replacement: Replacement, answers: int, most: int, memory: int = MEMORY) -> Cost:
    """Return what a graph of at most `most` features will take."""
    active = sum(features.n_active for features in replacement.features)
    each = frozen.final.numel() * frozen.final.element_size() * COPIES
    batch = int(max(1, min(_MOST, memory // max(1, each))))
    targets = answers + min(most, active)
    columns = active + frozen.n_tokens * (frozen.n_layers + 1) + 4 * frozen.n_layers
    return Cost(active, targets, batch, -(-answers // batch) + -(-(targets - answers) // batch),
                batch * each + 4 * targets * columns)  # fmt: skip


def build_graph(
    frozen: Frozen,
    replacement: Replacement,
    answers: Answers,
    tokens: Sequence[str],
    genes: Sequence[str],
    *,
    most: int = 1000,
    memory: int = MEMORY,
    patterns: str = "frozen",
    about: dict[str, Any] | None = None,
    progress: Progress = silent,
) -> Graph:
    """Return the graph of direct effects on `answers`.

    Parameters
    ----------
    frozen, replacement
        The model on one input, and what stands in the place of its MLPs.
    answers
        What is asked.
    tokens, genes
        The text of each token, and its gene or "".
    most
        Features of the graph; those of highest influence are taken.
    memory
        Bytes that gradients may take; rows beyond as many go to a file that is gone afterwards.
    patterns
        ``"frozen"``, or ``"linear"``: effects through queries and keys count too, of a model frozen with its scores.
    about
        Kept with the graph.
    progress
        Told the features that are done.
    """
    active = _active(replacement.features)
    plan = cost(frozen, replacement, len(answers.labels), most, memory)
    names = _bias_names(frozen, patterns)
    shape = (plan.targets, len(active) + frozen.n_layers * frozen.n_tokens + frozen.n_tokens + len(names))
    with tempfile.TemporaryDirectory(prefix="cellglass-") as folder:
        rows = _rows(shape, memory, folder)
        done = _answers(frozen, replacement, answers, active, names, rows, plan.batch, patterns)
        chosen = _features(frozen, replacement, answers, active, names, rows, done, plan, patterns, progress)
        graph = _graph(frozen, answers, active, names, rows, chosen, tokens, genes, about or {})
    return replace(graph, heads=heads_of(frozen, replacement, answers.targets, graph, patterns=patterns))


def _rows(shape: tuple[int, int], memory: int, folder: str) -> Array:
    if 4 * shape[0] * shape[1] <= memory:
        return np.zeros(shape, dtype=np.float32)
    return np.memmap(f"{folder}/rows", dtype=np.float32, mode="w+", shape=shape)


def _active(features: Sequence[Features]) -> _Active:
    found: list[list[Array]] = []
    for layer, one in enumerate(features):
        position, slot = (x.cpu().numpy() for x in torch.nonzero(one.value > 0, as_tuple=True))
        latent, value = (x.cpu().numpy()[position, slot] for x in (one.latent, one.value))
        found.append([np.full(len(position), layer), position, slot, latent, value])
    return _Active(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _bias_names(frozen: Frozen, patterns: str) -> list[str]:
    """Return the biases that effects can have, and the target's own constant."""
    kinds = ("attention", "pattern", "mlp") if patterns == "linear" else ("attention", "mlp")
    names = [f"layers.{i}.{what}" for i in range(frozen.n_layers) for what in kinds]
    names += [f"norm {i}" for i in range(len(frozen.steps))]
    return [*names, *sorted(frozen.constant), "constant"]


def _fill(
    rows: Array, found: Effects, frozen: Frozen, active: _Active, names: Sequence[str], width: int, layers: int
) -> None:
    """Put effects into rows of zeros, (B, columns): features, errors, tokens, biases.

    They are of the first `width` tokens, and of the MLPs of the first `layers` layers; there are none of others.
    """
    n, t = len(active), frozen.n_tokens
    for layer in range(layers):
        first, last = np.searchsorted(active.layer, (layer, layer + 1))
        end = first + np.searchsorted(active.position[first:last], width)
        here = found.features[layer].cpu().numpy()  # (width, k, B)
        rows[:, first:end] = here[active.position[first:end], active.slot[first:end]].T
    errors = rows[:, n : n + frozen.n_layers * t].reshape(len(rows), frozen.n_layers, t)
    errors[:, :layers, :width] = found.errors[:layers].permute(2, 0, 1).cpu().numpy()
    tokens = rows[:, n + frozen.n_layers * t :][:, :t]
    biases = {**found.biases, "constant": found.constant}
    for name, part in found.parts.items():
        if name in frozen.constant:
            biases[name] = part.sum(0)
        else:
            tokens[:, :width] += part.T.cpu().numpy()
    for column, name in enumerate(names, n + (frozen.n_layers + 1) * t):
        if name in biases:
            rows[:, column] = biases[name].cpu().numpy()


def _answers(
    frozen: Frozen, replacement: Replacement, answers: Answers, active: _Active, names: Sequence[str], rows: Array,
    batch: int, patterns: str,
) -> int:  # fmt: skip
    given = answers.targets
    for first in range(0, len(answers.labels), batch):
        some = slice(first, min(first + batch, len(answers.labels)))
        part = replace(given, gradient=given.gradient[:, some], constant=given.constant[some])
        found = effects(frozen, replacement, part, patterns=patterns)
        _fill(rows[some], found, frozen, active, names, frozen.n_tokens, frozen.n_layers)
    return len(answers.labels)


def _features(
    frozen: Frozen, replacement: Replacement, answers: Answers, active: _Active, names: Sequence[str], rows: Array,
    done: int, plan: Cost, patterns: str, progress: Progress,
) -> Array:  # fmt: skip
    """Fill the rows of features, those of highest influence first; return which, in the order of their rows."""
    causal, chosen = frozen.is_causal, np.empty(0, dtype=np.int64)
    wanted = plan.targets - done
    each = max(1, -(-wanted // _ROUNDS))
    while len(chosen) < wanted:
        if wanted == len(active):
            more = np.arange(wanted)
        else:
            strength = _influence(rows[: done + len(chosen)], answers.weights, chosen, len(active), len(names))
            strength[chosen] = -1
            more = np.argsort(-strength, kind="stable")[: min(each, wanted - len(chosen))]
        more = more[np.lexsort((active.position[more], active.layer[more]))]
        for layer in np.unique(active.layer[more]):
            here = more[active.layer[more] == layer]
            for some in _walks(here, active.position[here], plan.batch, frozen.final.device.type == "cpu"):
                width = int(active.position[some].max()) + 1 if causal else frozen.n_tokens
                part, made = (
                    (frozen, replacement) if width == frozen.n_tokens else (frozen.cut(width), replacement.cut(width))
                )
                position, latent = (
                    torch.from_numpy(x[some]).to(frozen.final.device) for x in (active.position, active.latent)
                )
                targets = feature_targets(part, made, int(layer), position, latent)
                start = done + len(chosen)
                found = effects(part, made, targets, patterns=patterns)
                _fill(rows[start : start + len(some)], found, frozen, active, names, width, int(layer))
                chosen = np.append(chosen, some)
                progress("trace features", len(chosen), wanted)
    return chosen


def _walks(here: Array, position: Array, most: int, short: bool) -> Iterator[Array]:
    """Yield the targets of each walk, of targets in the order of their tokens; see `_ROWS` for `short` ones."""
    last = len(here)
    while last:  # from the last token, which says how wide a walk is
        batch = min(most, max(_LEAST, _ROWS // (int(position[last - 1]) + 1))) if short else most
        yield here[max(0, last - batch) : last]
        last = max(0, last - batch)


def _influence(rows: Array, answers: Array, chosen: Array, n_active: int, n_biases: int) -> Array:
    """Return the influence of every active feature, from the rows that are there."""
    known = normalised(np.asarray(rows[:, : rows.shape[1] - n_biases]))
    a = len(answers)
    found = answers @ known[:a]
    return (found + influence(known[a:], chosen, found[chosen]))[:n_active]


def _graph(
    frozen: Frozen, answers: Answers, active: _Active, names: Sequence[str], rows: Array, chosen: Array,
    tokens: Sequence[str], genes: Sequence[str], about: dict[str, Any],
) -> Graph:  # fmt: skip
    """Put rows and nodes in the order features, errors, tokens, biases, what is left out, answers."""
    a, n_layers, t = len(answers.labels), frozen.n_layers, frozen.n_tokens
    order = np.argsort(chosen, kind="stable")
    kept = chosen[order]
    rest = np.setdiff1d(np.arange(len(active)), kept)
    source = np.concatenate([kept, np.arange(len(active), rows.shape[1])])
    weights = _sparse(rows, np.concatenate([a + order, np.arange(a)]), source, rest, a)
    n = weights.shape[0]
    count = {"feature": len(kept), "error": n_layers * t, "token": t, "bias": len(names), "rest": 1, "answer": a}
    nodes = pd.DataFrame({"kind": np.repeat(list(count), list(count.values()))})
    layer_of = [active.layer[kept], np.repeat(np.arange(n_layers), t), np.full(t + len(names) + 1, -1)]
    nodes["layer"] = np.concatenate([*layer_of, np.full(a, n_layers)])
    place = [active.position[kept], np.tile(np.arange(t), n_layers), np.arange(t), np.full(len(names) + 1, -1)]
    nodes["position"] = np.concatenate([*place, np.full(a, t - 1)])
    nodes["feature"] = np.concatenate([active.latent[kept], np.full(n - len(kept), -1)])
    nodes["value"] = np.concatenate([active.value[kept], np.full(n - len(kept) - a, np.nan), answers.found])
    nodes["label"] = [""] * (len(kept) + n_layers * t) + [*tokens, *names, "features left out", *answers.labels]
    graph = Graph(nodes, weights, np.asarray(answers.weights, dtype=float), list(tokens), list(genes), about)
    graph.check()
    return graph


def _sparse(rows: Array, order: Array, source: Array, rest: Array, answers: int) -> sp.csr_matrix:
    """Return rows, in an order that ends with the answers, as weights between nodes; what is left out is one of them.

    In blocks, since most weights are 0: nothing looks ahead, neither in layers nor in the tokens of a causal model.
    """
    blocks = []
    for first in range(0, len(order), _BLOCK):
        part = np.asarray(rows[order[first : first + _BLOCK]])
        left_out = part[:, rest].sum(axis=1, keepdims=True)
        blocks.append(sp.csr_matrix(np.concatenate([part[:, source], left_out], axis=1)))
    made = sp.vstack(blocks, format="csr")
    n, features = made.shape[1] + answers, len(order) - answers
    without = np.repeat(made.indptr[features], n - len(order))
    ends = np.concatenate([made.indptr[: features + 1], without, made.indptr[features + 1 :]])
    return sp.csr_matrix((made.data, made.indices, ends), shape=(n, n))

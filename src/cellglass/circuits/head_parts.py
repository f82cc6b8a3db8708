r"""Which head each part of an edge passes, and heads as nodes: exact, along the linear map on one input.

With g the gradient of a target along the residual stream alone (norms and skip connections, no attention), what a
source adds to the target is the sum of what falls on it along g, and for each head of each layer upstream, of what
falls on it through that head, where g meets what attention adds, and through whatever lies before: earlier heads too.
So an edge is split by the last head that it passes before its target. In a parallel block (GPT-NeoX) no head of a
layer is upstream of that layer's MLP, and has no part of edges into its features.

A head's effect on the answer is what it gives times the answer's gradient there over all paths, through features and
later heads; split over what it reads it is a row like that of any node. Splitting every edge costs a walk for each
target and head upstream; so `split_edges` does it for the edges that pruning keeps, into the strongest targets alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from cellglass.circuits.features import Replacement
from cellglass.circuits.graph import Graph
from cellglass.circuits.head_nodes import PARTS, STREAM, TO, HeadNodes
from cellglass.circuits.heads import by_source, read_by_heads
from cellglass.circuits.linear_map import Attend, Frozen, back_through, through
from cellglass.circuits.names import feature_name
from cellglass.circuits.propagation import Effects, Targets, effects, feature_targets, gradients_at_attention
from cellglass.circuits.pruning import kept
from cellglass.circuits.qk import score_pairs
from cellglass.progress import Progress, silent

Tensor = torch.Tensor
Array = np.ndarray[Any, Any]

SPLIT = 200
"""Features whose edges are split by head; of more, those of highest influence."""
LEAST = 0.01
"""A part below this share of its edge, signs aside, is not told of alone."""
LOOKS, PAIRS = 8, 8
"""Heads of which it is told why they look where they look, and pairs that are told of each."""


class Part(NamedTuple):
    """What of some targets passes one head last; `STREAM` twice for what passes none."""

    layer: int
    head: int
    effects: Effects


@torch.no_grad()
def parts_by_head(
    frozen: Frozen, replacement: Replacement, targets: Targets, *, patterns: str = "frozen"
) -> Iterator[Part]:
    """Yield direct effects on targets, split by the last head that they pass; all of them add up to `effects`.

    Parameters
    ----------
    frozen, replacement
        The transformer on one input, and what stands in the place of its MLPs.
    targets
        Answers, or `feature_targets`.
    patterns
        As of `effects`. Of linear ones, what passes a head's queries and keys is a part of that head too.

    Yields
    ------
    Part
        First what passes none, then the heads from the last layer upstream of the targets down.
    """
    none = _without_heads(frozen)
    yield Part(STREAM, STREAM, effects(none, replacement, targets))
    heard = gradients_at_attention(none, replacement, targets)
    zero = torch.zeros_like(targets.constant)
    for i in range(min(targets.state, len(frozen.steps)) - 1, -1, -1):
        step = frozen.steps[i]
        if not isinstance(step, Attend):
            continue
        g = heard[step.layer]
        for head in range(step.heads.n_heads):
            one = step.only(head)
            found = effects(frozen, replacement, Targets(i, one.back(g, patterns), zero), patterns=patterns)
            yield Part(step.layer, head, _with_biases(found, _own(one, g, patterns)))


@torch.no_grad()
def heads_of(
    frozen: Frozen, replacement: Replacement, targets: Targets, graph: Graph, *, patterns: str = "frozen"
) -> HeadNodes:
    """Return all heads as nodes beside a graph, without split edges.

    Parameters
    ----------
    frozen, replacement
    targets
        The answers; the first is told of.
    graph
        Of these; its nodes are what heads read.
    patterns
        As of `effects`.
    """
    first = replace(targets, gradient=targets.gradient[:, :1], constant=targets.constant[:1])
    total = gradients_at_attention(frozen, replacement, first, total=True, patterns=patterns)
    direct = gradients_at_attention(_without_heads(frozen), replacement, first)
    places = _Places(replacement, graph)
    n_heads = [step.heads.n_heads for step in frozen.steps if isinstance(step, Attend)]
    rows, seen = np.zeros((sum(n_heads), len(graph.nodes))), np.zeros((sum(n_heads), frozen.n_tokens))
    table = pd.DataFrame(
        {"layer": np.repeat(np.arange(len(n_heads)), n_heads), "head": np.concatenate([np.arange(n) for n in n_heads])}
    ).assign(effect=0.0, direct=0.0)
    states = list(frozen.states(frozen.first, frozen.mlp_out))
    for i, step in enumerate(frozen.steps[: targets.state]):
        if not isinstance(step, Attend):
            continue
        here = np.flatnonzero(table["layer"] == step.layer)
        found = by_source(step, states[i], total[step.layer])[..., 0].cpu().numpy()
        seen[here] = found
        table.loc[here, "effect"] = found.astype(np.float64).sum(1)
        table.loc[here, "direct"] = by_source(step, states[i], direct[step.layer])[..., 0].sum(1).cpu().numpy()
        g, ones = total[step.layer], [step.only(head) for head in range(step.heads.n_heads)]
        gradient = torch.cat([one.back(g, patterns) for one in ones], dim=1)  # each head is a target: (t, h, d)
        part = effects(frozen, replacement, Targets(i, gradient, g.new_zeros(len(ones))), patterns=patterns)
        own = [_own(one, g, patterns) for one in ones]
        more = {name: torch.cat([one[name] for one in own]) for name in own[0]}
        rows[here] = places.values(_with_biases(part, more), frozen)
    as_held = _dtype(frozen)
    return HeadNodes(table, sp.csr_matrix(seen.astype(as_held)), sp.csr_matrix(rows.astype(as_held)))


@torch.no_grad()
def split_edges(
    frozen: Frozen,
    replacement: Replacement,
    targets: Targets,
    graph: Graph,
    *,
    most: int = SPLIT,
    batch: int = 64,
    patterns: str = "frozen",
    progress: Progress = silent,
) -> HeadNodes:
    """Return the heads of a graph with the edges that pruning keeps split by head.

    Parameters
    ----------
    frozen, replacement, targets
        Of the graph: targets are its answers.
    graph
        The whole one, with its heads.
    most
        Features into which edges are split, those of highest influence that are kept; the answers always are.
    batch
        Targets of one walk.
    patterns
        As of the graph.
    progress
        Told the targets that are done.
    """
    assert graph.heads is not None  # noqa: S101  `build_graph` gives them
    nodes, edges = kept(graph)
    strength = graph.influence()
    features = np.intersect1d(nodes, graph.of_kind("feature"))
    features = np.sort(features[np.argsort(-strength[features], kind="stable")[:most]])
    row = {pair: i for i, pair in enumerate(zip(graph.heads.table["layer"], graph.heads.table["head"], strict=True))}
    layer, position, latent = (graph.nodes[name].to_numpy() for name in ("layer", "position", "feature"))
    done, all_targets = 0, len(features) + len(graph.of_kind("answer"))
    to, parts = [], []
    work: list[tuple[Array, Frozen, Replacement, Targets]] = [(graph.of_kind("answer"), frozen, replacement, targets)]
    for one in np.unique(layer[features]):
        here = features[layer[features] == one]
        here = here[np.argsort(position[here], kind="stable")]
        for first in range(0, len(here), batch):
            some = here[first : first + batch]
            width = int(position[some].max()) + 1 if frozen.is_causal else frozen.n_tokens
            cut = (frozen, replacement) if width == frozen.n_tokens else (frozen.cut(width), replacement.cut(width))
            where, which = (torch.from_numpy(x[some]).to(frozen.final.device) for x in (position, latent))
            work.append((some, *cut, feature_targets(*cut, int(one), where, which)))
    for some, net, made, asked in work:
        places = _Places(made, graph, net.n_tokens)
        found: list[tuple[int, Array]] = []
        for part in parts_by_head(net, made, asked, patterns=patterns):
            number = row.get((part.layer, part.head), STREAM)
            values = places.values(part.effects, net)
            found.append((number, values[:, nodes]))
            if number != STREAM:
                to.append(pd.DataFrame({"target": some, "head": number, "weight": values.sum(1)}))
        parts.append(_told(some, nodes, found, edges))
        done += len(some)
        progress("split edges by head", done, all_targets)
    as_held = _dtype(frozen)
    return replace(graph.heads, to=_joined(to, TO, as_held), parts=_joined(parts, PARTS, as_held))


@torch.no_grad()
def looks_of(
    frozen: Frozen, replacement: Replacement, targets: Targets, heads: HeadNodes, *, most: int = LOOKS
) -> list[dict[str, Any]]:
    """Return why the strongest heads look where they look, each at the pair of tokens that counts most.

    Parameters
    ----------
    frozen
        With its scores.
    replacement, targets, heads
        Of the same graph.
    most
        Heads.

    Returns
    -------
    list of dict
        Of each: ``head`` (row of the table), ``query`` and ``key`` (tokens: the one that looks, and the one that is
        looked at), ``effect`` on the answer by way of them, ``share`` of the attention, ``score``, and ``pairs``: the
        parts of query and key in words that add most to the score, with ``weight``.
    """
    first = replace(targets, gradient=targets.gradient[:, :1], constant=targets.constant[:1])
    total = gradients_at_attention(frozen, replacement, first, total=True)
    states = list(frozen.states(frozen.first, frozen.mlp_out))
    found = []
    for row in heads.strongest(most):
        layer, head, effect = (heads.table[name].iloc[row] for name in ("layer", "head", "effect"))
        if effect == 0:
            continue
        i, step = next((i, one) for i, one in enumerate(frozen.steps) if isinstance(one, Attend) and one.layer == layer)
        one = step.only(int(head))
        given = read_by_heads(one, back_through(one.after, total[step.layer]))[0, :, 0]  # (t, c)
        carried = one.heads.pattern[0] * (given @ one.heads.values(through(one.before, states[i]))[0].T)  # (t, s)
        query, key = divmod(int(carried.abs().argmax()), carried.shape[1])
        made = score_pairs(frozen, replacement, step.layer, int(head), query, key)
        pairs = [
            {
                **{side: _part_name(record, side) for side in ("query", "key")},
                "weight": float(record["weight"]),
            }
            for record in made.table(PAIRS).to_dict("records")
        ]
        found.append({"head": row, "query": query, "key": key, "effect": float(carried[query, key]),
                      "share": made.share, "score": made.score, "pairs": pairs})  # fmt: skip
    return found


# -- steps -------------------------------------------------------------------------------------------------------------


class _Places:
    """Where the effects on a target are that each node of a graph has."""

    def __init__(self, replacement: Replacement, graph: Graph, tokens: int | None = None):
        self.graph = graph
        kind, layer, position, latent = (graph.nodes[c].to_numpy() for c in ("kind", "layer", "position", "feature"))
        there = position < (len(graph.tokens) if tokens is None else tokens)
        self.features: list[tuple[Array, Tensor, Tensor]] = []
        for number, one in enumerate(replacement.features):
            nodes = np.flatnonzero((kind == "feature") & (layer == number) & there)
            where, which = (torch.from_numpy(x[nodes]).to(one.latent.device) for x in (position, latent))
            slot = ((one.latent[where] == which[:, None]) & (one.value[where] > 0)).int().argmax(1)
            self.features.append((nodes, where, slot))
        self.errors, self.tokens = (np.flatnonzero((kind == name) & there) for name in ("error", "token"))
        self.error_at = (layer[self.errors].astype(np.int64), position[self.errors].astype(np.int64))
        self.token_at = position[self.tokens].astype(np.int64)

    def values(self, found: Effects, frozen: Frozen) -> Array:
        """Return effects on B targets by node, float64 (B, n_nodes)."""
        made = np.zeros((len(found.constant), len(self.graph.nodes)))
        rest = np.zeros(len(made))
        for (nodes, where, slot), effect in zip(self.features, found.features, strict=True):
            made[:, nodes] = _array(effect[where, slot]).T
            rest += _array(effect.sum((0, 1))) - made[:, nodes].sum(1)
        made[:, self.errors] = _array(found.errors)[self.error_at].T
        biases = {**found.biases, "constant": found.constant}
        for name, part in found.parts.items():
            if name in frozen.constant:
                biases[name] = part.sum(0)
            else:
                made[:, self.tokens] += _array(part)[self.token_at].T
        labels = self.graph.nodes["label"].to_numpy()
        for node in self.graph.of_kind("bias"):
            if labels[node] in biases:
                made[:, node] = _array(biases[labels[node]])
        for node in self.graph.of_kind("rest"):
            made[:, node] = rest
        return made


def _array(values: Tensor) -> Array:
    return np.asarray(values.cpu().numpy(), dtype=np.float64)


def _without_heads(frozen: Frozen) -> Frozen:
    """Return the same map where attention gives its biases alone."""
    return replace(frozen, steps=[one.silenced() if isinstance(one, Attend) else one for one in frozen.steps])


def _own(one: Attend, g: Tensor, patterns: str) -> dict[str, Tensor]:
    """Return what a head itself adds to B targets, by bias: that of values, and its pattern's constants."""
    added = {"attention": one.constant(len(g))} if one.has_constant else {}
    if patterns == "linear":
        added["pattern"] = one.unexplained()
    return {f"layers.{one.layer}.{name}": torch.einsum("td,tbd->b", value, g) for name, value in added.items()}


def _with_biases(found: Effects, more: Mapping[str, Tensor]) -> Effects:
    return replace(found, biases={**found.biases, **{name: found.biases.get(name, 0) + more[name] for name in more}})


def _told(targets: Array, sources: Array, found: Sequence[tuple[int, Array]], edges: sp.csr_matrix) -> pd.DataFrame:
    """Return the parts of the edges that are kept, but for the small ones."""
    all_of = sum(np.abs(values) for _, values in found)
    there = edges[targets][:, sources].toarray()
    frames = []
    for number, values in found:
        i, j = np.nonzero(there & (np.abs(values) > LEAST * all_of))
        frames.append(
            pd.DataFrame({"target": targets[i], "source": sources[j], "head": number, "weight": values[i, j]})
        )
    return pd.concat(frames, ignore_index=True)


def _dtype(frozen: Frozen) -> Any:
    return torch.empty(0, dtype=frozen.final.dtype).numpy().dtype


def _joined(frames: Sequence[pd.DataFrame], columns: tuple[str, ...], weight: Any) -> pd.DataFrame:
    made = pd.concat(frames, ignore_index=True)[list(columns)]
    made = made[made["weight"] != 0]
    return made.sort_values(list(columns[:-1]), kind="stable", ignore_index=True).astype(
        {name: weight if name == "weight" else np.int64 for name in columns}
    )


def _part_name(record: dict[Any, Any], side: str) -> str:
    """Return what a part of a query or a key is called."""
    kind, layer, head, feature, label = (
        record[f"{side}_{name}"] for name in ("kind", "layer", "head", "feature", "label")
    )
    if kind == "feature":
        return feature_name(int(layer), int(feature))
    if kind == "head":
        return f"L{layer}.{head}"
    return {"error": f"error L{layer}", "skip": f"skip L{layer}", "token": f"the token's {label}"}.get(
        str(kind), f"bias ({label})"
    )

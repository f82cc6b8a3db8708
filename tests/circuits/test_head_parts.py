"""Heads as nodes and the parts of edges: they add up, and are what taking a head out of the linear map changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cellglass.circuits.build import build_graph
from cellglass.circuits.features import replace_mlps
from cellglass.circuits.graph import Graph
from cellglass.circuits.head_nodes import STREAM
from cellglass.circuits.head_parts import LEAST, looks_of, parts_by_head, split_edges
from cellglass.circuits.heads import head_effects
from cellglass.circuits.linear_map import Attend, Frozen, through
from cellglass.circuits.propagation import Effects, Targets, effects, feature_targets
from cellglass.circuits.pruning import kept, prune
from cellglass.circuits.qk import score_pairs
from circuits.graphs import asked
from circuits.networks import LAYERS, TOKENS, WIDTH, frozen, transcoders

EXACT = {"rtol": 1e-9, "atol": 1e-9}
HEADS = 4


def answers(made: Frozen, n: int = 2) -> Targets:
    torch.manual_seed(0)
    gradient = torch.zeros(TOKENS, n, WIDTH, dtype=torch.float64)
    gradient[-1] = torch.randn(n, WIDTH, dtype=torch.float64)
    return Targets(len(made.steps), gradient, torch.arange(n).double())


def flat(found: Effects) -> torch.Tensor:
    """All effects of one target after another, by name: (sources, B)."""
    biases = torch.stack([found.biases.get(name, torch.zeros_like(found.constant)) for name in NAMES])
    parts = [found.parts[name] for name in sorted(found.parts)]
    return torch.cat([*(one.flatten(0, 1) for one in found.features), found.errors.flatten(0, 1), *parts, biases])


NAMES = [f"layers.{i}.{what}" for i in range(LAYERS) for what in ("attention", "mlp", "pattern")] + [
    f"norm {i}" for i in range(3 * LAYERS)
]


@pytest.mark.parametrize(
    ("name", "patterns"),
    [("gpt_neox", "frozen"), ("gpt_neox, sequential", "frozen"), ("bert", "frozen"), ("gemma2", "linear"),
     ("scgpt", "linear")],
)  # fmt: skip
def test_parts_over_heads_and_the_stream_add_up_to_every_edge(name: str, patterns: str) -> None:
    made = frozen(name, scores=True)
    replacement = replace_mlps(made, transcoders(made, skip=True))
    features = replacement.features[1]
    position, slot = torch.nonzero(features.value > 0, as_tuple=True)
    of_features = feature_targets(made, replacement, 1, position[-6:], features.latent[position, slot][-6:])
    for targets in (answers(made), of_features):
        found = list(parts_by_head(made, replacement, targets, patterns=patterns))
        whole = flat(effects(made, replacement, targets, patterns=patterns))
        torch.testing.assert_close(sum(flat(part.effects) for part in found), whole, **EXACT)
        upstream = [part.layer for part in found[1:]]
        own = name == "gpt_neox"  # its MLPs read what their layer's attention reads
        last = LAYERS - 1 if targets is not of_features else 0 if own else 1
        assert upstream == [layer for layer in range(last, -1, -1) for _ in range(HEADS)]
        assert (found[0].layer, found[0].head) == (STREAM, STREAM)


@pytest.mark.parametrize("name", ["gpt_neox", "gemma2"])
def test_what_passes_a_head_last_is_what_it_carries(name: str) -> None:
    """Over all sources it is the head's contribution along the stream, which `head_effects` has by source token."""
    made = frozen(name)
    replacement = replace_mlps(made, transcoders(made))
    targets = answers(made)
    expected = head_effects(made, targets).heads.sum(2)
    for part in parts_by_head(made, replacement, targets):
        if part.head != STREAM:
            torch.testing.assert_close(part.effects.sums(), expected[part.layer, part.head], **EXACT)


def without(made: Frozen, layer: int, head: int) -> Frozen:
    """The map in which one head gives nothing: what it gives is added to a bias of its layer, with the other sign."""
    steps = [
        replace(one, heads=replace(one.heads, output=cut(one.heads, head)))
        if isinstance(one, Attend) and one.layer == layer
        else one
        for one in made.steps
    ]
    return replace(made, steps=steps)


def cut(heads: Any, head: int) -> torch.Tensor:
    output = heads.output.clone()
    c = len(output) // heads.n_heads
    output[head * c : (head + 1) * c] = 0
    return output


def value(made: Frozen, replacement: Any, targets: Targets) -> float:
    """The first answer of the linear map: features follow what they read, those active staying active."""
    states: list[torch.Tensor] = []
    x = made.first
    for step in made.steps:
        states.append(x)
        if isinstance(step, Attend):
            x = x + step(x)
        elif hasattr(step, "norm"):
            x = step.norm(x)
        else:
            y = through(step.before, states[made.reads(step.layer)])
            f = replacement.features[step.layer]
            p = torch.einsum("td,tkd->tk", y, f.read[f.latent]) + f.read_bias[f.latent]
            written = torch.einsum("tk,tkd->td", p * (f.value > 0), f.write[step.layer][f.latent])
            x = x + written + replacement.constant[step.layer] + replacement.error[step.layer]
    return float(targets.values(x)[0])


@pytest.mark.parametrize("name", ["gpt_neox", "gpt_neox, sequential", "gemma2", "scgpt"])
def test_the_effect_of_a_head_is_what_the_answer_loses_without_it(name: str) -> None:
    made = frozen(name)
    replacement = replace_mlps(made, transcoders(made))
    targets = answers(made)
    graph = graph_of(made, replacement, targets)
    whole = value(made, replacement, targets)
    assert len(graph.heads) == LAYERS * HEADS
    for row in graph.heads.table.itertuples():
        lost = whole - value(without(made, row.layer, row.head), replacement, targets)
        assert row.effect == pytest.approx(lost, rel=1e-8, abs=1e-8)
    direct = head_effects(made, targets).heads[..., 0].sum(2).flatten().numpy()
    np.testing.assert_allclose(graph.heads.table["direct"], direct, rtol=1e-9, atol=1e-9)
    for part in (graph.heads.weights, graph.heads.seen):
        np.testing.assert_allclose(np.asarray(part.sum(1)).ravel(), graph.heads.table["effect"], rtol=1e-9, atol=1e-9)


def graph_of(made: Frozen, replacement: Any, targets: Targets, **more: Any) -> Graph:
    from cellglass.circuits.build import Answers

    n = targets.gradient.shape[1]
    given = Answers(targets, [f"answer {i}" for i in range(n)], targets.values(made.final).numpy(), np.ones(n) / n)
    texts = [str(i) for i in range(made.n_tokens)]
    return build_graph(made, replacement, given, texts, [""] * made.n_tokens, most=10_000, **more)


def test_of_the_last_heads_the_effect_is_the_sum_of_parts_of_edges_times_what_targets_pass_on() -> None:
    """Behind heads of the last layer stands no other, so what they feed gets all of their effect."""
    made = frozen("gpt_neox, sequential")
    replacement = replace_mlps(made, transcoders(made))
    targets = answers(made, 1)
    graph = graph_of(made, replacement, targets)
    total = effects(made, replacement, targets, total=True).features[LAYERS - 1]
    features = replacement.features[LAYERS - 1]
    position, slot = torch.nonzero(features.value > 0, as_tuple=True)
    passed = total[position, slot, 0] / features.value[position, slot]
    latent = features.latent[position, slot]
    carried = {p[:2]: p.effects.sums() for p in parts_by_head(made, replacement, targets)}
    given = feature_targets(made, replacement, LAYERS - 1, position, latent)
    for part in parts_by_head(made, replacement, given):
        if part.layer == LAYERS - 1:
            through_it = carried[part.layer, part.head][0] + part.effects.sums() @ passed
            row = (LAYERS - 1) * HEADS + part.head
            assert float(through_it) == pytest.approx(graph.heads.table["effect"].iloc[row], rel=1e-8)


def test_split_edges_of_a_graph_add_up_and_are_those_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellglass.circuits.head_parts.LEAST", 0.0)
    made, replacement, given = asked(tokens=6)
    graph = build_graph(made, replacement, given, ["x"] * 6, [""] * 6, most=10_000)
    heads = split_edges(made, replacement, given.targets, graph, batch=7)
    nodes, edges = kept(graph)
    sums = heads.parts.groupby(["target", "source"])["weight"].sum()
    assert set(sums.index) == set(zip(*(x.tolist() for x in edges.nonzero()), strict=True))
    for (target, source), weight in sums.items():
        assert weight == pytest.approx(graph.weights[target, source], rel=1e-6, abs=1e-9)
    layer = graph.nodes["layer"].to_numpy()
    through = heads.parts[heads.parts["head"] != STREAM]
    is_feature = np.isin(through["target"], graph.of_kind("feature"))
    of_head = heads.table["layer"].to_numpy()[through["head"]]
    assert (of_head[is_feature] < layer[through["target"]][is_feature]).all(), "no head of its own layer is upstream"
    assert set(heads.to["target"]) <= set(nodes)
    few = split_edges(made, replacement, given.targets, graph, most=3)
    assert len(set(few.parts["target"])) == 4
    pruned = prune(replace(graph, heads=heads))
    assert len(pruned.heads.parts) == len(heads.parts)
    for row in pruned.heads.parts.sample(20, random_state=0).itertuples():
        assert pruned.weights[row.target, row.source] != 0
    rows = np.asarray(pruned.heads.weights.sum(1)).ravel()
    np.testing.assert_allclose(rows, heads.table["effect"], rtol=1e-9, atol=1e-9)


def test_small_parts_are_not_told_of_alone() -> None:
    made, replacement, given = asked(tokens=6)
    graph = build_graph(made, replacement, given, ["x"] * 6, [""] * 6, most=10_000)
    parts = split_edges(made, replacement, given.targets, graph).parts
    whole = parts.groupby(["target", "source"])["weight"].transform(lambda w: w.abs().sum())
    assert (parts["weight"].abs() > 0.9 * LEAST * whole).all()
    told = parts.groupby(["target", "source"])["weight"].sum()
    edge = np.array([graph.weights[pair] for pair in told.index])
    size = parts.groupby(["target", "source"])["weight"].agg(lambda w: w.abs().sum())
    assert (np.abs(told - edge) <= LEAST * (LAYERS * HEADS + 1) * size * 1.2).all()


def test_a_look_is_the_pair_that_carries_most_and_its_score() -> None:
    made = frozen("gpt_neox", scores=True)
    replacement = replace_mlps(made, transcoders(made))
    targets = answers(made, 1)
    heads = graph_of(made, replacement, targets).heads
    looks = looks_of(made, replacement, targets, heads, most=3)
    assert [one["head"] for one in looks] == heads.strongest(3)
    for one in looks:
        layer, head = (int(heads.table[name].iloc[one["head"]]) for name in ("layer", "head"))
        expected = score_pairs(made, replacement, layer, head, one["query"], one["key"])
        assert one["score"] == pytest.approx(expected.score)
        assert one["share"] == expected.share
        table = expected.table(8)
        assert [pair["weight"] for pair in one["pairs"]] == pytest.approx(table["weight"].tolist())
        assert abs(one["effect"]) <= abs(heads.seen[one["head"]]).max() * (1 + TOKENS)
    last = [one for one in looks if heads.table["layer"].iloc[one["head"]] == LAYERS - 1]
    assert all(one["query"] == TOKENS - 1 for one in last), "behind the last heads only the answer's token reads"


def test_other_networks_have_them() -> None:
    for name in ("gpt2", "llama", "bert", "scgpt, norms before"):
        made = frozen(name, torch.float32)
        replacement = replace_mlps(made, transcoders(made))
        heads = graph_of(
            made, replacement, Targets(len(made.steps), answers(made).gradient.float(), torch.zeros(2))
        ).heads
        np.testing.assert_allclose(
            np.asarray(heads.weights.sum(1)).ravel(), heads.table["effect"], rtol=2e-3, atol=2e-4
        )

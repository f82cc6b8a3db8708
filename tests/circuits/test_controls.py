"""Controls: random transcoders keep norms and L0, rewired graphs keep degrees and weights, scores stand beside."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from cellglass.circuits.build import Answers, build_graph
from cellglass.circuits.controls import control_scores, random_transcoders, rewired
from cellglass.circuits.features import Replacement, replace_mlps
from cellglass.circuits.graph import Graph
from cellglass.circuits.linear_map import Frozen
from cellglass.circuits.propagation import Targets
from cellglass.dictionaries import BatchTopK, BatchTopKConfig, JumpReLU, JumpReLUConfig
from cellglass.errors import InputError
from circuits.networks import LATENTS, TOKENS, WIDTH, K, frozen, transcoders
from circuits.test_features import crosslayer


@cache
def case(name: str, seed: int = 1) -> tuple[Frozen, Replacement]:
    made = frozen(name, seed=seed)
    return made, replace_mlps(made, transcoders(made))


def answers_of(made: Frozen) -> Answers:
    torch.manual_seed(0)
    gradient = torch.zeros(TOKENS, 1, WIDTH, dtype=torch.float64)
    gradient[-1] = torch.randn(1, WIDTH, dtype=torch.float64)
    targets = Targets(len(made.steps), gradient, torch.zeros(1, dtype=torch.float64))
    return Answers(targets, ["a"], targets.values(made.final).numpy(), np.ones(1))


def graph_of(name: str, most: int = 60) -> Graph:
    made, replacement = case(name)
    return build_graph(made, replacement, answers_of(made), ["x"] * TOKENS, [""] * TOKENS, most=most)


# -- random transcoders ----------------------------------------------------------------------------------------------


def test_random_transcoders_keep_norms_and_number_and_the_given_ones_stay() -> None:
    made, _ = case("gpt_neox")
    own = transcoders(made, skip=True)
    before = [one.encoder.clone() for one in own]
    found = random_transcoders(own, made, seed=3)
    again = random_transcoders(own, made, seed=3)
    for layer, (a, b, c) in enumerate(zip(own, found, again, strict=True)):
        torch.testing.assert_close(a.encoder, before[layer], rtol=0, atol=0)
        torch.testing.assert_close(b.decoder.norm(dim=1), a.decoder.norm(dim=1))
        torch.testing.assert_close(b.encoder.norm(dim=1), a.encoder.norm(dim=1))
        torch.testing.assert_close(b.encoder, c.encoder, rtol=0, atol=0)
        for name in ("centre", "scale", "centre_out", "scale_out", "bias", "encoder_bias", "skip"):
            torch.testing.assert_close(getattr(b, name), getattr(a, name), rtol=0, atol=0)
        cosine = torch.nn.functional.cosine_similarity(a.decoder, b.decoder)
        assert float(cosine.abs().mean()) < 0.3
        assert b.encode(made.mlp_in[layer].float()).values.shape[1] == K
    other = random_transcoders(own, made, seed=4)
    assert not torch.equal(other[0].encoder, found[0].encoder)  # type: ignore[index]
    assert not torch.equal(found[0].encoder, found[1].encoder)  # type: ignore[index]


@pytest.mark.parametrize("kind", [BatchTopK, JumpReLU])
def test_thresholds_are_set_so_that_as_many_are_active(kind: type) -> None:
    made, _ = case("gpt_neox")
    config = BatchTopKConfig if kind is BatchTopK else JumpReLUConfig
    own = []
    for layer, (x, y) in enumerate(zip(made.mlp_in, made.mlp_out, strict=True)):
        torch.manual_seed(layer)
        one = kind(config(WIDTH, LATENTS, k=K, d_out=WIDTH))
        with torch.no_grad():
            for parameter in one.parameters():
                parameter.normal_(std=0.3)
            one.threshold.fill_(2.0)
        both = torch.cat([x, y], dim=1).float()
        one.set_statistics(both.mean(0), both.var(0))
        own.append(one.freeze())
    found = random_transcoders(own, made)
    for layer, (a, b) in enumerate(zip(own, found, strict=True)):
        x = made.mlp_in[layer].float()
        number = [int((one.encode(x).values > 0).sum()) for one in (a, b)]
        assert number[0] > TOKENS
        assert abs(number[0] - number[1]) <= 1
        assert bool((a.threshold == 2).all())


def test_cross_layer_transcoders_are_redrawn_in_every_block() -> None:
    made, _ = case("gpt_neox")
    own = crosslayer(made)
    found = random_transcoders(own, made)
    for a, b in zip(own.written_rows(), found.written_rows(), strict=True):  # type: ignore[union-attr]
        torch.testing.assert_close(a.norm(dim=1), b.norm(dim=1))
        assert not torch.allclose(a, b)
    replacement = replace_mlps(made, found)
    for ours, theirs in zip(replacement.written(made), made.mlp_out, strict=True):
        torch.testing.assert_close(ours, theirs)


# -- rewired graphs --------------------------------------------------------------------------------------------------


def thinned(graph: Graph, share: float) -> Graph:
    """The same graph with some of its edges, so that there is room for others."""
    weights = graph.weights.copy()
    rng = np.random.default_rng(0)
    weights.data[rng.random(weights.nnz) > share] = 0
    weights.eliminate_zeros()
    return Graph(graph.nodes, weights, graph.answer_weights, graph.tokens, graph.genes)


@pytest.mark.parametrize("name", ["gpt_neox", "bert"])
@pytest.mark.parametrize("share", [0.1, 1.0])
@pytest.mark.parametrize("across", [False, True])
def test_rewired_graphs_keep_degrees_weights_and_order(name: str, share: float, across: bool) -> None:
    graph = thinned(graph_of(name), share)
    found = rewired(graph, seed=1, across=across)
    found.check()
    a, b = graph.weights, found.weights
    assert a.nnz == b.nnz
    np.testing.assert_array_equal(np.diff(a.indptr), np.diff(b.indptr))
    np.testing.assert_array_equal(np.diff(a.tocsc().indptr), np.diff(b.tocsc().indptr))
    kind = graph.nodes["kind"].to_numpy()
    for target in graph.targets:
        kinds = [("feature", "error", "token")] if across else [("feature",), ("error",), ("token",)]
        for some in kinds:
            rows = [w[target].toarray()[0][np.isin(kind, some)] for w in (a, b)]
            np.testing.assert_array_equal(*(np.sort(row[row != 0]) for row in rows))
    fixed = graph.of_kind("bias", "rest")
    np.testing.assert_array_equal(a[:, fixed].toarray(), b[:, fixed].toarray())
    edges = b.tocoo()
    layer, position = (graph.nodes[column].to_numpy() for column in ("layer", "position"))
    assert (layer[edges.col] < layer[edges.row]).all()
    if name == "gpt_neox":
        assert (position[edges.col] <= position[edges.row]).all()
    same = np.mean((a != 0).multiply(b != 0).sum() / a.nnz)
    assert same < 0.6 if share < 1 else same > 0.95
    moved = np.abs((a - b).toarray()).sum() / np.abs(a.toarray()).sum()
    assert moved > 0.5


def test_another_seed_wires_otherwise() -> None:
    graph = graph_of("gpt_neox")
    first, second, third = (rewired(graph, seed=seed).weights for seed in (1, 1, 2))
    assert abs(first - second).sum() == 0
    assert abs(first - third).sum() > 0


# -- scores ----------------------------------------------------------------------------------------------------------


def test_scores_stand_beside_those_of_every_control() -> None:
    made, replacement = case("gpt_neox")
    answers = answers_of(made)
    graph = build_graph(made, replacement, answers, ["x"] * TOKENS, [""] * TOKENS, most=50)
    own = transcoders(made)
    table = control_scores(graph, made, own, answers, draws=3)
    assert table.index.tolist() == ["graph", "bare", "random transcoders", "rewired", "rewired across kinds"]
    assert table["n"].tolist() == [1, 1, 3, 3, 3]
    assert tuple(table.loc["graph", ["replacement", "completeness"]]) == pytest.approx(graph.scores())
    bare = table.loc["bare"]
    assert bare["completeness"] == pytest.approx((1 + bare["replacement"]) / 2)
    assert table.loc[["graph", "bare"], "replacement_sd"].isna().all()
    assert (table.loc[table.index[2:], "replacement_sd"] > 0).all()
    pd.testing.assert_frame_equal(table, control_scores(graph, made, own, answers, draws=3))
    with pytest.raises(InputError, match="draws is 0"):
        control_scores(graph, made, own, answers, draws=0)

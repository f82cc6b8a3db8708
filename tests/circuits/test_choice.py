"""Units of circuits: they fold over tokens, random ones are like the chosen in layer and norm, masks say the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass.circuits.build import build_graph
from cellglass.circuits.choice import (
    influence_of,
    nodes_of,
    on_masks,
    random_like,
    ranked_units,
    strengths,
    units,
)
from cellglass.circuits.graph import Graph
from cellglass.circuits.propagation import effects
from cellglass.errors import InputError
from circuits.networks import LAYERS, K
from circuits.test_controls import answers_of, case

FROZEN, REPLACEMENT = case("gpt_neox")
ANSWERS = answers_of(FROZEN)


def test_nodes_are_the_active_features_in_order_with_the_norm_of_what_they_write() -> None:
    made, row = units(REPLACEMENT), 0
    for layer, f in enumerate(REPLACEMENT.features):
        for t in range(FROZEN.n_tokens):
            for slot in range(K):
                if f.value[t, slot] > 0:
                    latent = int(f.latent[t, slot])
                    assert (made.layer[row], made.latent[row]) == (layer, latent)
                    wrote = f.value[t, slot] * f.write[layer][latent]
                    assert made.norm[row] == pytest.approx(float(wrote.norm()))
                    row += 1
    assert row == len(made) == len(made.node)


def test_whole_features_are_sums_over_tokens() -> None:
    nodes, whole = units(REPLACEMENT), units(REPLACEMENT, "whole")
    values = np.random.default_rng(0).normal(size=len(nodes))
    folded = whole.fold(values)
    for i in range(len(whole)):
        own = (nodes.layer == whole.layer[i]) & (nodes.latent == whole.latent[i])
        assert folded[i] == pytest.approx(values[own].sum())
        assert whole.norm[i] == pytest.approx(np.sqrt((nodes.norm[own] ** 2).sum()))
    np.testing.assert_array_equal(nodes.fold(values), values)


def test_strengths_are_effects_and_influence() -> None:
    graph = build_graph(FROZEN, REPLACEMENT, ANSWERS, ["x"] * FROZEN.n_tokens, [""] * FROZEN.n_tokens, most=40)
    for by in ("total", "direct"):
        found = strengths(FROZEN, REPLACEMENT, ANSWERS, by)
        expected = nodes_of(effects(FROZEN, REPLACEMENT, ANSWERS.targets, total=by == "total"), REPLACEMENT)
        np.testing.assert_array_equal(found, expected)
    found = strengths(FROZEN, REPLACEMENT, ANSWERS, "influence", graph)
    assert (found > 0).sum() == 40
    features = graph.of_kind("feature")
    assert np.sort(found)[-40:] == pytest.approx(np.sort(graph.influence()[features]))
    top = graph.nodes.iloc[features[np.argmax(graph.influence()[features])]]
    made = units(REPLACEMENT)
    best = int(ranked_units(made, found)[0])
    assert (made.layer[best], made.latent[best]) == (top["layer"], top["feature"])


def test_wrong_questions_are_refused() -> None:
    with pytest.raises(InputError, match="give the graph"):
        strengths(FROZEN, REPLACEMENT, ANSWERS, "influence")
    with pytest.raises(InputError, match="no strength 'size'"):
        strengths(FROZEN, REPLACEMENT, ANSWERS, "size")
    with pytest.raises(InputError, match="no level 'token'"):
        units(REPLACEMENT, "token")  # type: ignore[arg-type]
    other, made = case("gpt_neox", seed=2)
    graph = build_graph(other, made, answers_of(other), ["x"] * 13, [""] * 13, most=100)
    with pytest.raises(InputError, match="it is of another cell"):
        influence_of(graph, REPLACEMENT)
    assert isinstance(graph, Graph)


@pytest.mark.parametrize("level", ["node", "whole"])
def test_random_circuits_have_the_same_layers_and_like_norms(level: str) -> None:
    made = units(REPLACEMENT, level)  # type: ignore[arg-type]
    chosen = np.argsort(-made.norm)[: len(made) // 4]  # those that write most
    rng = np.random.default_rng(0)
    norms = []
    for _ in range(20):
        drawn = random_like(made, chosen, rng)
        assert len(set(drawn)) == len(drawn) == len(chosen)
        assert (np.bincount(made.layer[drawn], minlength=LAYERS) == np.bincount(made.layer[chosen])).all()
        norms.append(made.norm[drawn].sum() / made.norm[chosen].sum())
    assert 0.85 < np.mean(norms) <= 1  # any units would have less than half
    assert made.norm[rng.permutation(len(made))[: len(chosen)]].sum() / made.norm[chosen].sum() < 0.8
    assert len(random_like(made, chosen[:0], rng)) == 0


def test_random_circuits_apart_share_nothing_and_have_as_many_of_each_layer() -> None:
    made = units(REPLACEMENT)
    chosen = np.argsort(-made.norm)[: len(made) // 4]
    rng = np.random.default_rng(0)
    drawn = random_like(made, chosen, rng, apart=True)
    assert len(set(drawn) | set(chosen)) == 2 * len(chosen)
    assert (np.bincount(made.layer[drawn], minlength=LAYERS) == np.bincount(made.layer[chosen])).all()
    largest = 0.0
    for layer in range(LAYERS):  # the circuit has the largest norms, so that nothing but the next ones is like them
        rest = np.setdiff1d(np.flatnonzero(made.layer == layer), chosen)
        largest += np.sort(made.norm[rest])[::-1][: (made.layer[chosen] == layer).sum()].sum()
    assert 0.9 * largest < made.norm[drawn].sum() <= largest * (1 + 1e-6)
    assert len(random_like(made, np.arange(len(made) - 3), rng, apart=True)) == 3


def test_masks_say_which_entries_and_features_are_in() -> None:
    nodes, whole = units(REPLACEMENT), units(REPLACEMENT, "whole")
    entries, features = on_masks(nodes, REPLACEMENT, [np.array([0, 5]), np.arange(len(nodes))])
    assert sum(int(one[0].sum()) for one in entries) == 2
    assert not any(bool(one.any()) for one in features)
    for f, mask in zip(REPLACEMENT.features, entries, strict=True):
        assert torch.equal(mask[1], f.value > 0)
    entries, features = on_masks(whole, REPLACEMENT, [np.array([3])])
    assert sum(int(one.sum()) for one in features) == 1
    assert bool(features[int(whole.layer[3])][0, whole.latent[3]])
    f = REPLACEMENT.features[int(whole.layer[3])]
    assert torch.equal(entries[int(whole.layer[3])][0], (f.latent == int(whole.latent[3])) & (f.value > 0))

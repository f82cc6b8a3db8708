"""Paths add up to total effects and to the answer; the strongest are the strongest of all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellglass.circuits.build import build_graph
from cellglass.circuits.names import source_groups
from cellglass.circuits.paths import path_lines, strongest_paths, total_effects
from cellglass.circuits.propagation import effects
from cellglass.circuits.pruning import prune
from cellglass.errors import InputError
from circuits.graphs import asked, built, by_hand

ALL = 10**9


@pytest.mark.parametrize("name", ["gpt_neox", "gemma2", "bert", "scgpt"])
def test_sums_over_all_paths_are_total_effects(name: str) -> None:
    made, replacement, answers = asked(name, tokens=6, answers=2)
    graph = build_graph(made, replacement, answers, ["t"] * 6, [""] * 6, most=10_000)
    exact = effects(made, replacement, answers.targets, total=True)
    found = total_effects(graph)
    tokens = sum(part for name, part in exact.parts.items() if name not in made.constant).numpy()
    assert np.abs(tokens).max() > 1e-3
    close = {"rtol": 1e-3, "atol": 1e-4 * np.abs(tokens).max()}  # a graph's weights are float32
    np.testing.assert_allclose(found[graph.of_kind("token")], tokens, **close)
    np.testing.assert_allclose(found[graph.of_kind("error")], exact.errors.reshape(-1, 2).numpy(), **close)
    constants = sum(exact.biases.values()) + exact.constant
    constants = constants + sum(part.sum(0) for name, part in exact.parts.items() if name in made.constant)
    np.testing.assert_allclose(found[graph.of_kind("bias")].sum(0), constants.numpy(), **close)
    for layer in range(made.n_layers):
        nodes = graph.of_kind("feature")[graph.nodes["layer"][graph.of_kind("feature")] == layer]
        through = exact.features[layer].sum((0, 1)).numpy()
        np.testing.assert_allclose(found[nodes].sum(0), through, **close)


@pytest.mark.parametrize("answer", [0, 1])
def test_all_paths_of_a_source_add_up_to_its_total_effect(answer: int) -> None:
    graph = built(tokens=3, answers=2)
    paths = strongest_paths(graph, ALL, answer=answer, kinds=("token", "error", "bias", "rest"))
    assert len(paths) > 500
    assert len({(path.sources, path.features) for path in paths}) == len(paths)
    sums: dict[tuple[int, ...], float] = {}
    for path in paths:
        sums[path.sources] = sums.get(path.sources, 0) + path.effect
    totals = total_effects(graph)[:, answer]
    for sources, amount in sums.items():
        assert amount == pytest.approx(totals[list(sources)].sum(), rel=1e-9, abs=1e-9)
    value = graph.nodes["value"][graph.of_kind("answer")[answer]]
    assert sum(path.effect for path in paths) == pytest.approx(value, rel=1e-4)
    assert sum(path.share for path in paths) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("top", [1, 7, 40])
def test_the_strongest_paths_are_the_first_of_all(top: int) -> None:
    graph = built(tokens=4)
    every = strongest_paths(graph, ALL)
    sizes = [abs(path.effect) for path in every]
    assert sizes == pytest.approx(sorted(sizes, reverse=True))
    assert [abs(path.effect) for path in strongest_paths(graph, top)] == pytest.approx(sizes[:top])
    assert any(path.features for path in every[:top]) or top == 1


def test_paths_by_hand() -> None:
    paths = strongest_paths(by_hand(), 20)
    expected = {
        ("CD79A", ()): 1.0,
        (":", ()): 0.3,
        ("CD79A", (0,)): 1.5 * 2 / 2,
        (":", (2,)): 1.5 * 6 / 5,
        ("CD79A", (0, 2)): 1.5 * 4 / 2 * 6 / 5,
        ("CD79A", (1, 2)): 3 * -1 / 4 * 6 / 5,
        (":", (1, 2)): 0.5 * -1 / 4 * 6 / 5,
    }
    assert {(p.source, p.features): p.effect for p in paths} == pytest.approx(expected)
    assert paths[0].share == pytest.approx(0.36)
    assert path_lines(by_hand(), paths)[:3] == [
        "CD79A -> L0/7 -> L1/9 at : -> B cell: +3.6 (36 % of the answer)",
        ": -> L1/9 -> B cell: +1.8 (18 % of the answer)",
        "CD79A -> L0/7 -> B cell: +1.5 (15 % of the answer)",
    ]
    assert path_lines(by_hand(), paths)[-1] == ": -> L0/8 -> L1/9 -> B cell: -0.15 (-1.5 % of the answer)"


def test_errors_biases_and_what_was_left_out_have_names() -> None:
    lines = path_lines(by_hand(), strongest_paths(by_hand(), 20, kinds=("error", "bias", "rest")))
    assert "error of layer 0 at : -> L1/9 -> B cell: +0.6 (6.0 % of the answer)" in lines
    assert "layers.0.mlp -> B cell: +0.4 (4.0 % of the answer)" in lines
    assert "features left out -> B cell: +0.1 (1.0 % of the answer)" in lines


def test_a_pruned_graph_has_the_paths_of_what_is_left_and_adds_up_too() -> None:
    graph = built(tokens=5)
    pruned = prune(graph, 0.7, 0.9)
    every = strongest_paths(pruned, ALL, kinds=("token", "error", "bias", "rest"))
    value = float(pruned.nodes["value"].iloc[-1])
    assert sum(path.effect for path in every) == pytest.approx(value, rel=1e-4)
    assert total_effects(pruned)[pruned.of_kind("token", "error", "bias", "rest")].sum() == pytest.approx(
        value, rel=1e-4
    )
    assert {path.source for path in strongest_paths(pruned, 50)} <= set(source_groups(graph))


def test_answers_that_are_not_there_and_empty_requests() -> None:
    graph = built(tokens=3, answers=2)
    assert strongest_paths(graph, 3, answer="NK cell") == strongest_paths(graph, 3, answer=1)
    with pytest.raises(InputError, match="the graph has no answer 'platelet'; it has: B cell against T cell, NK cell"):
        strongest_paths(graph, answer="platelet")
    with pytest.raises(InputError, match="the graph has no answer 2"):
        strongest_paths(graph, answer=2)
    assert strongest_paths(graph, 0) == []
    nothing = replace(by_hand(), nodes=by_hand().nodes.assign(value=[2.0, 4, 5, *[np.nan] * 5, 0.0]))
    assert path_lines(nothing, strongest_paths(nothing, 1)) == ["CD79A -> L0/7 -> L1/9 at : -> B cell: +3.6"]

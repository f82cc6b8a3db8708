"""The graph of means: it adds up, is drawn, pruned, walked; rankings are by what they say."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.circuits import path_lines, prune, strongest_paths, total_effects, write_graph
from cellglass.circuits.classes.circuit import ClassCircuit
from cellglass.circuits.folding import fold
from cellglass.circuits.json import read_graph
from cellglass.errors import InputError
from circuits.classes.made import circuit, made


def test_the_graph_of_means_has_the_weights_of_the_table(tmp_path) -> None:
    found = circuit()
    graph = found.graph()
    graph.check()
    assert graph.is_merged
    answer = graph.of_kind("answer")
    assert graph.weights[answer].sum() == pytest.approx(graph.nodes["value"].iloc[answer[0]], rel=1e-3, abs=1e-4)
    assert graph.weights.sum() == pytest.approx(found.edges["weight"].sum(), rel=1e-5)
    names = found.nodes["name"]
    features = [
        f"L{row['layer']}/{row['feature']}" for row in graph.nodes.iloc[graph.of_kind("feature")].to_dict("records")
    ]
    assert sorted(features) == sorted(names[found.nodes["kind"] == "feature"])
    for row in graph.nodes.iloc[graph.of_kind("feature")].to_dict("records"):
        own = found.nodes[names == f"L{row['layer']}/{row['feature']}"].iloc[0]
        assert graph.tokens[row["position"]] == own["genes"][0]
        assert row["value"] == own["value"]
    write_graph(graph, tmp_path / "g.json")
    assert read_graph(tmp_path / "g.json").is_merged
    other = found.graph(other=True)
    assert other.weights.sum() == pytest.approx(found.edges["other_weight"].sum(), rel=1e-5)


def test_paths_are_of_whole_features_and_pruning_holds() -> None:
    graph = circuit().graph()
    lines = path_lines(graph, strongest_paths(graph, 20))
    assert any(" -> L" in line for line in lines)
    assert not any(" at " in line for line in lines)
    assert np.isfinite(total_effects(graph)).all()
    prompt = [node.label for node in fold(graph).nodes if node.kind == "token" and not node.is_gene]
    assert prompt == ["prompt"]
    small = prune(graph)
    assert 0 < len(small.of_kind("feature")) <= 12


def test_features_of_the_other_label_alone_are_in_its_graph_alone() -> None:
    found = made(nodes=200, genes=60, features=15)
    features = found.nodes[found.nodes["kind"] == "feature"]
    for other, prefix in ((False, ""), (True, "other_")):
        graph = found.graph(other=other)
        assert len(graph.of_kind("feature")) == (features[f"{prefix}value"] > 0).sum() < len(features)
        assert strongest_paths(graph, 3)
        assert graph.weights.sum() == pytest.approx(found.edges[f"{prefix}weight"].sum(), rel=1e-4, abs=1e-4)


def test_features_and_genes_are_ranked_by_size() -> None:
    found: ClassCircuit = circuit()
    for by in ("effect", "influence", "difference"):
        ranked = found.features(by)
        values = found.nodes[found.nodes["kind"] == "feature"].set_index(["layer", "number"])[by].abs()
        assert values[ranked].is_monotonic_decreasing
        assert len(ranked) == 12
    with pytest.raises(InputError, match="choose of effect, influence, difference"):
        found.features("size")
    genes = found.genes()
    assert genes["effect"].abs().is_monotonic_decreasing
    assert len(genes) == 5
    assert "difference_se" in genes


def test_of_one_label_there_is_no_other_graph() -> None:
    alone = made(against=None, target="B cell", n_cells=1)
    with pytest.raises(InputError, match="is not held against another label"):
        alone.graph(other=True)
    assert np.isnan(alone.nodes["effect_sd"]).all()
    assert "difference" not in alone.genes()
    with pytest.raises(InputError, match="have no 'difference'; choose of effect, influence"):
        alone.features("difference")

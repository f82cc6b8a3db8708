"""The graph of means: it adds up, is drawn, pruned, walked; rankings are by what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellglass.circuits import path_lines, prune, strongest_paths, total_effects, write_graph
from cellglass.circuits.classes.circuit import ClassCircuit
from cellglass.circuits.classes.files import read_class, write_class
from cellglass.circuits.classes.making import class_circuit
from cellglass.circuits.folding import fold
from cellglass.circuits.json import read_graph
from cellglass.errors import InputError
from circuits.classes.made import ASKED, circuit, donor_cells, made, transcoders
from circuits.models import model_of


def test_the_graph_of_means_has_the_weights_of_the_table(tmp_path) -> None:
    found = circuit()
    graph = found.graph()
    graph.check()
    assert graph.is_merged
    answer = graph.of_kind("answer")
    assert graph.weights[answer].sum() == pytest.approx(graph.nodes["value"].iloc[answer[0]], rel=1e-3, abs=1e-4)
    edges = found.edges[(found.nodes["kind"] != "head").to_numpy()[found.edges["target"]]]
    assert graph.weights.sum() == pytest.approx(edges["weight"].sum(), rel=1e-5)
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
    assert other.weights.sum() == pytest.approx(edges["other_weight"].sum(), rel=1e-5)


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
    edges = found.edges[(found.nodes["kind"] != "head").to_numpy()[found.edges["target"]]]
    for other, prefix in ((False, ""), (True, "other_")):
        graph = found.graph(other=other)
        assert len(graph.of_kind("feature")) == (features[f"{prefix}value"] > 0).sum() < len(features)
        assert strongest_paths(graph, 3)
        assert graph.weights.sum() == pytest.approx(edges[f"{prefix}weight"].sum(), rel=1e-4, abs=1e-4)


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


def test_heads_are_nodes_with_share_spread_and_contrast_and_their_rows_add_up() -> None:
    found = circuit()
    heads = found.heads()
    assert list(heads.index) == sorted(heads.index, key=lambda pair: -abs(heads.loc[pair, "effect"]))
    assert len(heads) == 4
    assert {"share", "direct", "effect_sd", "other_effect", "difference", "difference_se", "genes"} <= set(heads)
    assert ((heads["share"] >= 0) & (heads["share"] <= 1)).all()
    assert heads["share"].max() > 0
    np.testing.assert_allclose(heads["difference"], heads["effect"] - heads["other_effect"], rtol=1e-6, atol=1e-9)
    for other, prefix in ((False, ""), (True, "other_")):
        graph = found.graph(other=other)
        graph.check()
        of_graph = graph.heads.table.set_index(["layer", "head"])["effect"]
        np.testing.assert_allclose(of_graph[heads.index], heads[f"{prefix}effect"])
        for part in (graph.heads.weights, graph.heads.seen):
            np.testing.assert_allclose(np.asarray(part.sum(1)).ravel(), of_graph, rtol=1e-4, atol=1e-5)
    seen = found.seen[found.seen["target"] == found.nodes.index[found.nodes["kind"] == "head"][0]]
    most = found.nodes["name"][seen.loc[seen["weight"].abs().idxmax(), "source"]]
    assert found.nodes.loc[found.nodes["kind"] == "head", "genes"].iloc[0][0] == most


def test_features_have_the_names_that_the_transcoders_have(tmp_path) -> None:
    plain = circuit()
    layer, number = plain.features("influence")[0]
    given = replace(transcoders(), names={(layer, number): "fires on CD79A, MS4A1"})
    found = class_circuit(model_of("gpt_neox"), donor_cells(), "B cell", given, **ASKED)
    named = found.nodes[found.nodes["called"] != ""]
    assert named[["layer", "number", "called"]].to_numpy().tolist() == [[layer, number, "fires on CD79A, MS4A1"]]
    graph = found.graph()
    assert (graph.nodes["label"] == "fires on CD79A, MS4A1").sum() == 1
    lines = path_lines(graph, strongest_paths(graph, 200))
    assert any(f"L{layer}/{number} [fires on CD79A, MS4A1]" in line for line in lines)
    files = write_class(found, tmp_path / "b.json")
    assert "fires on CD79A, MS4A1 (named by machine)" in files[3].read_text()
    assert "fires on CD79A, MS4A1" in files[1].read_text()
    assert read_class(files[0]).nodes["called"].tolist() == found.nodes["called"].tolist()

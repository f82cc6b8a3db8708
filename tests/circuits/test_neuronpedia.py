"""The file that Neuronpedia reads, checked node by node and link by link, and by what its schema requires."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellglass.circuits.graph import Graph
from cellglass.circuits.groups import given_groups, with_groups
from cellglass.circuits.neuronpedia import feature_number, write_neuronpedia
from cellglass.circuits.pruning import kept, prune
from cellglass.errors import InputError
from circuits.graphs import built, by_hand

NODE = {
    "node_id": str,
    "feature": int,
    "layer": str,
    "ctx_idx": int,
    "feature_type": str,
    "jsNodeId": str,
    "clerp": str,
}


def opened(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))


def follows_the_schema(held: dict[str, Any]) -> None:
    """What the public schema requires, with the types that it names."""
    assert {"metadata", "qParams", "nodes", "links"} <= set(held)
    for name, kind in {"slug": str, "scan": str, "prompt_tokens": list, "prompt": str}.items():
        assert isinstance(held["metadata"][name], kind)
    assert all(isinstance(text, str) for text in held["metadata"]["prompt_tokens"])
    for name in ("info", "generation_settings", "pruning_settings", "feature_details"):
        assert isinstance(held["metadata"].get(name, {}), dict)
    assert isinstance(held["metadata"].get("node_threshold", 0.5), float)
    state = held["qParams"]
    assert state == {"pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": ""}
    for node in held["nodes"]:
        assert all(type(node[name]) is kind for name, kind in NODE.items())
        assert all(node[name] is None or isinstance(node[name], float) for name in ("influence", "activation"))
    for link in held["links"]:
        assert [type(link[name]) for name in ("source", "target", "weight")] == [str, str, float]


def expected(graph: Graph, node: int, layers: int, v: int) -> dict[str, Any] | None:
    """What a node is to be, by the table."""
    one = graph.nodes.iloc[node]
    layer, place, f = int(one.layer), int(one.position), int(one.feature)
    if one.kind == "feature":
        return {
            "node_id": f"{layer}_{f}_{place}", "feature": sum(range(layer + f + 1)) + f, "layer": str(layer),
            "ctx_idx": place, "feature_type": "cross layer transcoder", "jsNodeId": f"{layer}_{f}-0",
            "activation": one.value, "clerp": "", "is_target_logit": False, "token_prob": 0,
        }  # fmt: skip
    if one.kind == "error":
        return {"node_id": f"{layer}_-1_{place}", "feature": -1, "layer": str(layer), "ctx_idx": place,
                "feature_type": "mlp reconstruction error", "jsNodeId": f"{layer}_-1-{place}"}  # fmt: skip
    if one.kind == "token":
        return {"node_id": f"E_{v}_{place}", "feature": place, "layer": "E", "ctx_idx": place,
                "feature_type": "embedding", "jsNodeId": f"E_{v}-{place}"}  # fmt: skip
    if one.kind == "answer":
        end = len(graph.tokens) - 1
        return {"node_id": f"{layers + 1}_{v}_{end}", "feature": v, "layer": str(layers + 1), "ctx_idx": end,
                "feature_type": "logit", "jsNodeId": f"L_{v}-{end}", "influence": None}  # fmt: skip
    return None


@pytest.mark.parametrize("is_pruned", [False, True])
def test_every_node_and_every_link(tmp_path: Path, is_pruned: bool) -> None:
    graph = built(tokens=7, answers=2)
    nodes, edges = kept(graph, 0.7, 0.9)
    told = prune(graph, 0.7, 0.9) if is_pruned else graph
    ids, answers = [11, 12, 13, 14, 15, 16, 11], [40, 41]
    path = write_neuronpedia(
        told, tmp_path, "a-cell", token_ids=ids, answer_ids=answers, node_share=0.7, edge_share=0.9
    )
    held = opened(path)
    follows_the_schema(held)
    wanted, strength = {}, graph.influence()
    for node in nodes.tolist():
        kind, place = graph.nodes["kind"][node], graph.nodes["position"][node]
        v = ids[place] if kind == "token" else answers[node - graph.of_kind("answer")[0]] if kind == "answer" else 0
        one = expected(graph, node, 3, v)
        if one is not None:
            wanted[node] = one
            if not is_pruned and kind != "answer":
                share = strength[strength >= strength[node] * (1 - 1e-12)].sum() / strength.sum()
                one["influence"] = pytest.approx(share, abs=1e-9)
    assert len(held["nodes"]) == len(wanted) == len({node["node_id"] for node in held["nodes"]})
    for node, theirs in zip(held["nodes"], wanted.values(), strict=True):
        assert {name: node[name] for name in theirs} == theirs
    links = {(link["source"], link["target"]): link["weight"] for link in held["links"]}
    assert len(links) == len(held["links"])
    dense, mask, seen = graph.weights.toarray(), edges.toarray(), 0
    for target in range(len(graph.nodes)):
        for source in range(len(graph.nodes)):
            if mask[target, source]:
                assert links[wanted[source]["node_id"], wanted[target]["node_id"]] == dense[target, source]
                seen += 1
    assert seen == len(links) > 20


def test_answers_are_said_with_their_weights(tmp_path: Path) -> None:
    held = opened(write_neuronpedia(built(tokens=5, answers=2), tmp_path, "x"))
    logits = [node for node in held["nodes"] if node["feature_type"] == "logit"]
    assert [node["clerp"] for node in logits] == [
        'Output "B cell against T cell" (p=0.778)',
        'Output "NK cell" (p=0.222)',
    ]
    assert [node["is_target_logit"] for node in logits] == [True, False]
    assert [node["token_prob"] for node in logits] == pytest.approx([7 / 9, 2 / 9])
    assert [node["feature"] for node in logits] == [0, 1]


def test_metadata_say_what_was_asked_and_what_is_not_there(tmp_path: Path) -> None:
    graph = built(tokens=5)
    held = opened(write_neuronpedia(graph, tmp_path, "x", transcoders=["t0"], details_url="https://example.org/f"))
    metadata = held["metadata"]
    assert metadata["scan"] == "cell2sentence"
    assert metadata["prompt"] == "List of CD79A MS4A1"
    assert (metadata["node_threshold"], metadata["schema_version"], metadata["transcoder_list"]) == (0.8, 1, ["t0"])
    assert metadata["pruning_settings"] == {"node_threshold": 0.8, "edge_threshold": 0.98}
    assert metadata["generation_settings"]["target"] == "label:B cell"
    assert metadata["feature_details"] == {"feature_json_base_url": "https://example.org/f"}
    absent = len(graph.of_kind("bias", "rest"))
    assert "Biases and what was left out" in metadata["info"]["description"]
    assert metadata["info"]["description"].endswith(f"Nodes not written: {absent}.")
    assert not any(node["ctx_idx"] < 0 for node in held["nodes"])
    again = opened(write_neuronpedia(prune(graph), tmp_path, "y"))["metadata"]
    assert "node_threshold" not in again
    assert again["pruning_settings"] == metadata["pruning_settings"]


def test_an_error_never_has_the_id_of_a_feature(tmp_path: Path) -> None:
    graph = by_hand()
    nodes = graph.nodes.assign(layer=[0, 0, 1, 1, -1, -1, -1, -1, 2], feature=[1, 8, 9, *[-1] * 6])
    nodes.loc[0, "position"] = 1  # feature 1 of layer 0, and the error of layer 1, both at token 1
    held = opened(write_neuronpedia(replace(graph, nodes=nodes), tmp_path, "x", node_share=1, edge_share=1))
    ids = [node["node_id"] for node in held["nodes"]]
    assert len(set(ids)) == len(ids) == 7
    assert len({node["jsNodeId"] for node in held["nodes"]}) == 7


def test_graphs_of_a_folder_are_listed_once(tmp_path: Path) -> None:
    first = write_neuronpedia(by_hand(), tmp_path / "new", "b")
    content = first.read_bytes()
    write_neuronpedia(by_hand(), tmp_path / "new", "a")
    write_neuronpedia(by_hand(), tmp_path / "new", "b")
    assert first.read_bytes() == content
    listed = opened(tmp_path / "new" / "graph-metadata.json")
    assert [one["slug"] for one in listed["graphs"]] == ["a", "b"]
    assert listed["graphs"][1] == opened(first)["metadata"]


@pytest.mark.parametrize("slug", ["", "../x", "a/b", "a b", "-a", "a" * 101, "ä"])
def test_a_slug_that_is_no_name_is_refused(tmp_path: Path, slug: str) -> None:
    with pytest.raises(InputError, match="is no name of a graph; use letters, digits"):
        write_neuronpedia(by_hand(), tmp_path, slug)


def test_wrong_numbers_and_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="token_ids are 1 numbers, but the graph has 2"):
        write_neuronpedia(by_hand(), tmp_path, "x", token_ids=[1])
    with pytest.raises(InputError, match="answer_ids has a number twice"):
        write_neuronpedia(built(tokens=3, answers=2), tmp_path, "x", answer_ids=[5, 5])
    (tmp_path / "graph-metadata.json").write_text("[]")
    with pytest.raises(InputError, match=r"graph-metadata\.json: this is no list of graphs"):
        write_neuronpedia(by_hand(), tmp_path, "x")
    assert not (tmp_path / "x.json").exists()


def test_numbers_of_features_are_all_different() -> None:
    numbers = [feature_number(layer, feature) for layer in range(30) for feature in range(60)]
    assert len(set(numbers)) == len(numbers)
    assert feature_number(0, 41) == 902
    assert np.all(np.array(numbers) >= 0)


def test_groups_are_supernodes(tmp_path: Path) -> None:
    graph = built(tokens=9)
    features = graph.nodes.iloc[graph.of_kind("feature")]
    some = list(dict.fromkeys(zip(features["layer"].tolist(), features["feature"].tolist(), strict=True)))
    named = with_groups(graph, given_groups(graph, {"first": some[:2], "second": some[2:4]}))
    held = opened(write_neuronpedia(named, tmp_path, "g", node_share=1, edge_share=1))
    ids = [node["node_id"] for node in held["nodes"]]
    for (name, *members), pairs in zip(held["qParams"]["supernodes"], (some[:2], some[2:4]), strict=True):
        assert name in ("first", "second")
        assert members == [one for one in ids if any(one.startswith(f"{layer}_{f}_") for layer, f in pairs)]
    pruned = opened(write_neuronpedia(named, tmp_path, "h", node_share=0.1))
    left = {node["node_id"] for node in pruned["nodes"]}
    assert all(one in left for _, *members in pruned["qParams"]["supernodes"] for one in members)

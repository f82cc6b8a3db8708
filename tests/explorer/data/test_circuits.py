"""The circuits of an atlas as files: which there are, what each file holds, and what is no circuit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellglass.atlas import open_atlas
from cellglass.circuits.classes.files import read_class
from cellglass.circuits.graph import Graph
from cellglass.circuits.json import read_graph, write_graph
from cellglass.circuits.neuronpedia import neuronpedia_document
from cellglass.errors import DamagedError
from cellglass.explorer import Tree
from cellglass.explorer.data import circuits as module
from cellglass.explorer.data.circuit_table import class_table, graph_table
from cellglass.explorer.data.circuit_view import graph_view
from cellglass.explorer.data.circuits import Circuits
from circuits.graphs import by_hand
from explorer.conftest import CIRCUIT, CLASS_CIRCUIT


@pytest.fixture(scope="module")
def graph(full_folder: Path) -> Graph:
    return read_graph(full_folder / "circuits" / f"{CIRCUIT}.json")


def test_all_are_listed_and_what_cannot_be_read_says_why(read: Any, full_folder: Path) -> None:
    listed = read("data/circuits.json")
    assert (
        [one["name"] for one in listed]
        == [CIRCUIT, "by-hand", "un-readable", CLASS_CIRCUIT]
        == read("data/manifest.json")["circuits"]
    )
    assert (listed[0]["cell"], listed[0]["target"], listed[0]["against"]) == ("cell-0", "B cell", "T cell")
    assert [one["of"] for one in listed[0]["scores"]] == ["graph", "bare", "random transcoders"]
    assert [bool(one["wrong"]) for one in listed] == [False, False, True, False]
    assert "about is missing" in listed[2]["wrong"] or "damaged" in listed[2]["wrong"]


def test_each_is_there_as_the_page_reads_it_and_to_be_saved(tree: Tree, graph: Graph, full_folder: Path) -> None:
    view = {**graph_view(graph), "table": graph_table(graph), "details": tree.circuits.features}
    assert json.loads(tree.get("data/circuits/0.json")) == json.loads(json.dumps(view))
    assert json.loads(tree.get("data/circuits/1.json"))["details"] == []
    assert tree.get("data/circuit-files/0.json") == (full_folder / "circuits" / f"{CIRCUIT}.json").read_bytes()
    held = json.loads(tree.get("data/neuronpedia/0.json"))
    assert held == neuronpedia_document(graph, CIRCUIT)
    assert "data/circuits/2.json" not in tree


def test_of_a_class_the_graph_of_the_means_is_there(read: Any, tree: Tree, full_folder: Path) -> None:
    listed, circuit = read("data/circuits.json")[3], read_class(full_folder / "circuits" / f"{CLASS_CIRCUIT}.json")
    assert (listed["cell"], listed["against"]) == ("cells of B cell", "T cell")
    view, graph = json.loads(tree.get("data/circuits/3.json")), circuit.graph()
    assert circuit.about["scores"] == pytest.approx(graph.scores()._asdict())
    expected = {**graph_view(graph), "table": class_table(circuit), "details": view["details"]}
    assert view == json.loads(json.dumps(expected))
    assert [one["is_class"] for one in read("data/circuits.json")] == [False, False, False, True]
    assert view["about"]["title"] == circuit.about["title"]
    value = circuit.nodes.set_index("kind").loc["answer", "value"]
    assert listed["answer"] == view["about"]["answer"] == pytest.approx(value, rel=1e-4)
    assert [one["of"] for one in listed["scores"]] == ["graph", "bare"]
    assert set(view["genes"]) - {""} >= set(circuit.genes().index)
    assert json.loads(tree.get("data/neuronpedia/3.json"))["metadata"]["slug"] == "classes-B-cell"


def test_what_a_feature_fires_on_is_there(tree: Tree) -> None:
    (number,) = tree.circuits.features
    held = json.loads(tree.get(f"data/circuit-features/{number}.json"))
    assert held["groups"][0]["name"] == "Top"
    assert held["groups"][0]["examples"] == [{"tokens": ["List", " CD79A", " <i>LYZ"], "values": [0, 2, 1]}]
    assert (held["top"], held["max"]) == (["B cell"], 2)
    assert held["frequency"] == pytest.approx(2 / 90, rel=1e-3)


def test_a_long_example_is_cut_around_its_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TOKENS", 5)
    values = [0.0] * 40
    values[30] = 2.0
    one = {"quantile_name": "all", "examples": [{"tokens": [str(i) for i in range(40)], "tokens_acts_list": values}]}
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "7.json").write_text(json.dumps({"examples_quantiles": [one]}))
    held = json.loads(Circuits(tmp_path).feature(7))
    assert held["groups"][0]["examples"][0]["tokens"] == ["28", "29", "30", "31", "32"]


@pytest.mark.parametrize("content", ["[]", "{}", '{"examples_quantiles": 3}', "{"])
def test_details_that_are_none_are_refused(full_folder: Path, tmp_path: Path, content: str) -> None:
    folder = tmp_path / "circuits"
    (folder / "features").mkdir(parents=True)
    (folder / "features" / "5.json").write_text(content)
    circuits = Circuits(folder)
    assert circuits.features == [5]
    with pytest.raises(Exception, match=r"5\.json"):
        circuits.feature(5)


def test_only_plain_files_of_graphs_are_taken(
    full_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "circuits"
    shutil.copytree(full_folder / "circuits", folder)
    (folder / "secret.json").symlink_to(folder / "by-hand.json")
    (folder / ".writing-1-x.json").write_text("{")
    (folder / "sub.json").mkdir()
    (folder / "picture.svg").write_text("<svg/>")
    (folder / "features" / "01.json").write_text("{}")
    (folder / "features" / "a.json").write_text("{}")
    assert Circuits(folder).names == [CIRCUIT, "by-hand", "un-readable", CLASS_CIRCUIT]
    assert len(Circuits(folder).features) == 1
    assert Circuits(tmp_path / "nothing").names == Circuits(tmp_path / "nothing").shown == []
    monkeypatch.setattr(module, "LARGEST", (folder / "by-hand.json").stat().st_size)
    assert Circuits(folder).shown == [1]


def test_a_file_that_is_damaged_further_on_is_the_atlas_s_fault(full_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(full_folder, tmp_path / "atlas")
    path = folder / "circuits" / "by-hand.json"
    path.write_text(path.read_text().replace('"CD79A"', "0"))
    tree = Tree(open_atlas(folder))
    assert tree.get("data/circuits/0.json")
    with pytest.raises(DamagedError, match="by-hand"):
        tree.get("data/circuits/1.json")


def test_a_large_graph_goes_to_neuronpedia_with_its_strongest_nodes(
    graph: Graph, full_folder: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "MOST_PRUNED", 3)
    held = json.loads(Circuits(full_folder / "circuits").neuronpedia(0))
    strong = [node for node in held["nodes"] if node["feature_type"] not in ("embedding", "logit")]
    assert 1 <= len(strong) <= 3
    assert np.isfinite([link["weight"] for link in held["links"]]).all()


def test_a_circuit_that_is_written_later_is_seen_and_places_stay(full_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(full_folder, tmp_path / "atlas")
    tree = Tree(open_atlas(folder))
    first, manifest = tree.get("data/circuits/1.json"), tree.get("data/manifest.json")
    assert tree.get("data/manifest.json") is manifest, "what did not change is not made again"
    places = list(tree.circuits.names)
    write_graph(by_hand(), folder / "circuits" / "a-new-one.json")
    assert tree.circuits.names == [*places, "a-new-one"]
    assert json.loads(tree.get("data/manifest.json"))["circuits"] == tree.circuits.names
    assert json.loads(tree.get("data/circuits.json"))[-1]["name"] == "a-new-one"
    assert tree.get("data/circuits/1.json") == first
    new = f"data/circuits/{len(places)}.json"
    assert json.loads(tree.get(new))["nodes"] == json.loads(first)["nodes"]
    write_graph(replace(by_hand(), about={"target": "another"}), folder / "circuits" / "a-new-one.json")
    assert json.loads(tree.get(new))["about"]["target"] == "another"
    (folder / "circuits" / "by-hand.json").unlink()
    assert tree.circuits.names == [*places, "a-new-one"]
    assert "by-hand.json" in tree.circuits.listed[1]["wrong"]
    assert "data/circuits/1.json" not in tree
    assert tree.get(new)

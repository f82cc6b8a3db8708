"""Names of features: read as they were written, put on the nodes of graphs, into paths and into Neuronpedia's files."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from cellglass.circuits.draw import draw_graph
from cellglass.circuits.json import read_graph, write_graph
from cellglass.circuits.meanings import (
    FEATURES,
    TEXTS,
    explained,
    named,
    read_details,
    read_features,
    read_names,
    told_of,
)
from cellglass.circuits.neuronpedia import write_neuronpedia
from cellglass.circuits.paths import path_lines, strongest_paths
from cellglass.errors import InputError
from circuits.graphs import by_hand


def table() -> pd.DataFrame:
    texts = {name: ["", "NA"] for name in TEXTS}
    return pd.DataFrame(
        {"layer": [0, 1], "feature": [7, 9], **texts, "interpretable": [False, True], "null_q": [None, 0.01]}
    )


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table().to_csv(tmp_path / FEATURES, index=False)
    pd.testing.assert_frame_equal(read_features(tmp_path), table(), check_dtype=False)
    assert read_features(tmp_path)["interpretable"].dtype == bool
    assert read_names(tmp_path) == {(1, 9): "NA"}
    blank = table().assign(null_q=float("nan"))
    blank.to_csv(tmp_path / FEATURES, index=False)
    assert read_features(tmp_path)["null_q"].isna().all()


def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path) -> None:
    assert read_names(tmp_path) == {}
    with pytest.raises(InputError, match=r"features have not been explained; write it again: cellglass circuits feat"):
        read_features(tmp_path)
    table().drop(columns="interpretable").to_csv(tmp_path / FEATURES, index=False)
    with pytest.raises(InputError, match="has no column 'interpretable'"):
        read_features(tmp_path)
    for damaged in ("", "layer,feature,name,interpretable\nx,1,a,True\n", "feature,name,interpretable\n1,a,True\n"):
        (tmp_path / FEATURES).write_text(damaged)
        with pytest.raises(InputError, match="is damaged") as error:
            read_features(tmp_path)
        assert "\n" not in str(error.value)


def test_names_go_to_graphs_files_paths_and_neuronpedia(tmp_path: Path) -> None:
    plain = by_hand()
    graph = named(plain, {(0, 7): "fires on CD79A", (1, 153): "of no node"})
    assert graph.nodes["label"].tolist() == ["fires on CD79A", *plain.nodes["label"][1:]]
    assert plain.nodes["label"][0] == ""
    assert named(plain, {}) is plain
    write_graph(graph, tmp_path / "graph.json")
    assert read_graph(tmp_path / "graph.json").nodes["label"][0] == "fires on CD79A"
    assert any("-> L0/7 [fires on CD79A] ->" in line for line in path_lines(graph, strongest_paths(graph, 10)))
    draw_graph(graph, tmp_path / "graph.svg")
    picture = (tmp_path / "graph.svg").read_text()
    assert "L0/7: fires on CD79A (named by machine), feature of layer 0" in picture
    assert "L0/8: feature of layer 0" in picture
    held = json.loads(write_neuronpedia(graph, tmp_path, "b", node_share=1, edge_share=1).read_text())
    called = {node["node_id"]: node["clerp"] for node in held["nodes"]}
    assert called["0_7_0"] == "fires on CD79A (named by machine)"
    assert called["0_8_1"] == ""


def test_what_is_told_of_features_goes_with_a_graph(tmp_path: Path) -> None:
    assert read_details(tmp_path) == {}
    given = table().assign(name=["fires on CD79A", ""], genes=["CD79A;MS4A1", ""], frequency=[0.25, 0.0])
    given.to_csv(tmp_path / FEATURES, index=False)
    details = read_details(tmp_path)
    assert list(details) == [(0, 7)]
    graph = explained(by_hand(), details)
    (row,) = graph.about["explained"]
    assert (row["layer"], row["feature"], row["genes"], row["frequency"]) == (0, 7, "CD79A;MS4A1", 0.25)
    write_graph(graph, tmp_path / "g.json")
    assert read_graph(tmp_path / "g.json").about["explained"][0]["genes"] == "CD79A;MS4A1"
    assert explained(by_hand(), {}).about == by_hand().about
    assert told_of(details, [(1, 9), (0, 7), (0, 7)]) == [row]
    path = write_neuronpedia(graph, tmp_path / "np", "g")
    assert "explained" not in json.loads(path.read_text())["metadata"]["generation_settings"]

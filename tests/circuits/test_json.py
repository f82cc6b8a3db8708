"""A graph comes back from its file to the last bit; what is no such file is refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.circuits.graph import Graph
from cellglass.circuits.json import graph_bytes, read_about, read_graph, write_graph
from cellglass.circuits.pruning import prune
from cellglass.errors import InputError
from circuits.graphs import built, by_hand


def same(a: Graph, b: Graph) -> None:
    pd.testing.assert_frame_equal(a.nodes, b.nodes)
    assert a.weights.dtype == b.weights.dtype
    assert (a.weights != b.weights).nnz == 0
    np.testing.assert_array_equal(a.answer_weights, b.answer_weights)
    assert (a.tokens, a.genes, a.about) == (b.tokens, b.genes, b.about)


def test_a_graph_comes_back_whole(tmp_path: Path) -> None:
    graph = built(tokens=8, answers=2, most=50)
    for number, one in enumerate([graph, prune(graph), graph.bare()]):
        write_graph(one, tmp_path / f"{number}.json")
        back = read_graph(tmp_path / f"{number}.json")
        same(one, back)
        back.check()
        write_graph(back, tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == (tmp_path / f"{number}.json").read_bytes()


def test_what_a_graph_is_about_is_read_from_its_beginning(tmp_path: Path) -> None:
    graph = replace(by_hand(), about={"cell": 'a "c" {', "genes": [{"gene": "CD79A", "total": 0.1}]})
    path = tmp_path / "g.json"
    write_graph(graph, path)
    assert path.read_bytes() == graph_bytes(graph)
    assert read_about(path) == read_graph(path).about == graph.about
    whole = path.read_text()
    path.write_text(whole[: whole.index('"tokens"')])  # nothing behind it is looked at
    assert read_about(path) == graph.about
    path.write_text(json.dumps(json.loads(whole), indent=1))  # whoever wrote it so: all of it is read
    assert read_about(path) == graph.about
    long = replace(graph, about={"note": "x" * (2 << 20)})
    write_graph(long, path)
    assert read_about(path) == long.about
    path.write_text('{"format":"cellglass-circuit","version":1,"about":[]}')
    with pytest.raises(InputError, match="damaged"):
        read_about(path)
    with pytest.raises(InputError, match="no such file"):
        read_about(tmp_path / "none.json")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_bit_of_a_weight_comes_back(tmp_path: Path, dtype: type) -> None:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 256, size=40_000, dtype=np.uint8).view(dtype)
    drawn = drawn[np.isfinite(drawn) & (drawn != 0)][:2000]
    graph = by_hand()
    nodes = pd.concat([graph.nodes.iloc[:3], *[graph.nodes.iloc[4:5]] * 2000, graph.nodes.iloc[8:]], ignore_index=True)
    row = np.full(len(drawn), len(nodes) - 1)
    weights = sp.csr_matrix((drawn, (row, 3 + np.arange(len(drawn)))), shape=(len(nodes), len(nodes)))
    graph = replace(graph, nodes=nodes, weights=weights)
    write_graph(graph, tmp_path / "g.json")
    assert read_graph(tmp_path / "g.json").weights.data.tobytes() == weights.data.tobytes()


def test_texts_and_plain_values_come_back(tmp_path: Path) -> None:
    about = {"b": [1, 2.5, None], "a": {"t": "µ </script> \ud800 \u2028"}, "yes": True}
    graph = replace(by_hand(), tokens=["\n", '"'], about=about)
    write_graph(graph, tmp_path / "g.json")
    same(graph, read_graph(tmp_path / "g.json"))
    other = replace(graph, about={"yes": np.bool_(True), "a": about["a"], "b": (1, np.float64(2.5), float("nan"))})
    write_graph(other, tmp_path / "h.json")
    assert (tmp_path / "h.json").read_bytes() == (tmp_path / "g.json").read_bytes()


def test_the_order_of_weights_in_memory_does_not_tell(tmp_path: Path) -> None:
    graph = by_hand()
    coo = graph.weights.tocoo()
    mixed = sp.csr_matrix((coo.data[::-1], (coo.row[::-1], coo.col[::-1])), shape=coo.shape)
    write_graph(graph, tmp_path / "a.json")
    write_graph(replace(graph, weights=mixed), tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_file_without_numbers_for_missing_values_is_plain_json(tmp_path: Path) -> None:
    write_graph(by_hand(), tmp_path / "g.json")
    held = json.loads((tmp_path / "g.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (held["format"], held["version"]) == ("cellglass-circuit", 2)
    assert held["nodes"]["value"] == [2, 4, 5, None, None, None, None, None, 10]
    first = slice(held["weights"]["start"][2], held["weights"]["start"][3])
    assert held["weights"]["source"][first] == [0, 1, 3, 5]
    assert held["weights"]["weight"][first] == [4, -1, 0.5, 1.5]


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    graph = by_hand()
    with pytest.raises(InputError, match=r"about\.model is a set"):
        write_graph(replace(graph, about={"model": {1}}), tmp_path / "g.json")
    with pytest.raises(InputError, match="weights that are no finite numbers"):
        write_graph(replace(graph, weights=graph.weights * np.inf), tmp_path / "g.json")
    assert not list(tmp_path.iterdir())


def changed(path: Path, change: Any) -> Path:
    write_graph(by_hand(), path)
    held = json.loads(path.read_text())
    path.write_text(json.dumps(change(held) or held))
    return path


def put(*where: Any) -> Any:
    *way, name, value = where

    def change(held: dict[str, Any]) -> None:
        for step in way:
            held = held[step]
        held[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: [1], "this is no circuit of cellglass"),
        (put("format", "other"), "this is no circuit of cellglass"),
        (put("version", 3), "a newer cellglass wrote it; update"),
        (put("version", True), "states no version"),
        (lambda held: held.pop("tokens") and None, "damaged .tokens is missing"),
        (lambda held: held["nodes"].pop("kind") and None, "damaged .kind is missing"),
        (put("tokens", ["a"]), "damaged .1 tokens, but the genes of 2"),
        (put("about", []), "about is no mapping"),
        (put("nodes", "kind", 0, "other"), "there is no kind of node 'other'"),
        (put("nodes", "layer", 0, 0.5), "nodes.layer are no whole numbers"),
        (put("nodes", "label", 0, 3), "label are no texts"),
        (put("nodes", "value", [1.0]), "columns of the nodes have different lengths"),
        (put("nodes", "position", 0, 2), "at a token that is not there"),
        (put("nodes", "position", 4, -1), "at a token that is not there"),
        (put("answer_weights", [0.5, 0.5]), "not one number for each answer"),
        (put("weights", "dtype", "object"), "weights are of float32 or float64"),
        (put("weights", "start", [0]), "does not tell the rows"),
        (put("weights", "source", 0, 9), "a node that is not there"),
        (put("weights", "weight", 0, None), "not one number for each source"),
        (put("weights", "source", 0, 0), "the graph has a circle"),
        (put("weights", "source", 0, 8), "the graph has a circle"),
        (put("nodes", "kind", 0, "token"), "neither feature nor answer has a row"),
    ],
)
def test_damaged_and_other_files_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_graph(changed(tmp_path / "g.json", change))
    assert str(tmp_path / "g.json") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_was_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_graph(tmp_path / "none.json")
    write_graph(by_hand(), tmp_path / "g.json")
    (tmp_path / "g.json").write_bytes((tmp_path / "g.json").read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be read as JSON"):
        read_graph(tmp_path / "g.json")

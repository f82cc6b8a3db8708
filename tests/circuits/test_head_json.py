"""Heads on disk: the same again to the bit, in plain JSON; what is damaged is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellglass.circuits.graph import Graph
from cellglass.circuits.json import read_graph, write_graph
from cellglass.errors import InputError
from circuits.graphs import with_heads


@pytest.fixture(scope="module")
def graph() -> Graph:
    return with_heads()


def test_heads_come_back_to_the_bit(graph: Graph, tmp_path: Path) -> None:
    single = replace(graph.heads, weights=graph.heads.weights.astype(np.float32))
    for heads in (graph.heads, single):
        write_graph(replace(graph, heads=heads), tmp_path / "g.json")
        again = read_graph(tmp_path / "g.json").heads
        pd.testing.assert_frame_equal(again.table, heads.table, check_exact=True)
        for name in ("to", "parts"):
            pd.testing.assert_frame_equal(getattr(again, name), getattr(heads, name), check_exact=True)
        for name in ("seen", "weights"):
            one, other = getattr(again, name), getattr(heads, name)
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one.toarray(), other.toarray())
        assert again.looks == heads.looks
        write_graph(read_graph(tmp_path / "g.json"), tmp_path / "h.json")
        assert (tmp_path / "g.json").read_bytes() == (tmp_path / "h.json").read_bytes()


def test_a_file_of_the_first_version_has_none(graph: Graph, tmp_path: Path) -> None:
    write_graph(graph, tmp_path / "g.json")
    held = json.loads((tmp_path / "g.json").read_text())
    del held["heads"]
    (tmp_path / "g.json").write_text(json.dumps({**held, "version": 1}))
    assert read_graph(tmp_path / "g.json").heads is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: held["table"].pop("effect"), r"heads.table.effect is missing"),
        (lambda held: held["table"]["effect"].pop(), "columns of the heads have different lengths"),
        (lambda held: held["table"]["layer"].__setitem__(0, 0.5), "heads.layer are no whole numbers"),
        (lambda held: held["weights"]["place"].__setitem__(0, 10**6), "is of something that is not there"),
        (lambda held: held["seen"]["start"].pop(), "does not tell the heads apart"),
        (lambda held: held["parts"]["head"].__setitem__(0, 99), "an edge of heads has a head that is not there"),
        (lambda held: held["parts"]["weight"].pop(), "columns of edges of heads have different lengths"),
        (lambda held: held["to"].__setitem__("dtype", "int8"), "not of 'int8'"),
        (lambda held: held.__setitem__("looks", [3]), "heads.looks is no list of mappings"),
    ],
)
def test_damaged_heads_are_refused(
    graph: Graph, tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    write_graph(graph, tmp_path / "g.json")
    held = json.loads((tmp_path / "g.json").read_text())
    change(held["heads"])
    (tmp_path / "g.json").write_text(json.dumps(held))
    with pytest.raises(InputError, match=message) as error:
        read_graph(tmp_path / "g.json")
    assert "\n" not in str(error.value)


def test_weights_that_are_none_are_not_written(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="heads have weights that are no finite numbers"):
        write_graph(replace(graph, heads=replace(graph.heads, seen=graph.heads.seen * np.nan)), tmp_path / "g.json")
    assert not list(tmp_path.iterdir())

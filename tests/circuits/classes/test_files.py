"""A class circuit on disk: the same again, tables and a picture beside it, anything else refused in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from cellglass.circuits.classes.files import FORMAT, read_class, write_class
from cellglass.errors import InputError
from circuits.classes.made import circuit


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_class(circuit(), tmp_path_factory.mktemp("class") / "deep" / "b.json")


def test_what_is_written_is_read_again_to_the_bit(written: list[Path], tmp_path: Path) -> None:
    again = read_class(written[0])
    pd.testing.assert_frame_equal(again.nodes, circuit().nodes, check_exact=True)
    pd.testing.assert_frame_equal(again.edges, circuit().edges, check_exact=True)
    pd.testing.assert_frame_equal(again.seen, circuit().seen, check_exact=True)
    assert again.about == circuit().about
    assert [path.name for path in written] == ["b.json", "b.nodes.csv", "b.edges.csv", "b.svg"]
    twice = write_class(again, tmp_path / "b.json")
    assert [a.read_bytes() for a in twice] == [b.read_bytes() for b in written]


def test_tables_and_picture_are_of_the_circuit(written: list[Path]) -> None:
    nodes, edges = (pd.read_csv(path) for path in written[1:3])
    own = circuit()
    assert nodes["name"].tolist() == own.nodes["name"].tolist()
    assert nodes["effect"].to_numpy() == pytest.approx(own.nodes["effect"].to_numpy())
    first = own.edges.iloc[0]
    assert edges["source"][0] == own.nodes["name"][first["source"]]
    assert edges["weight"].to_numpy() == pytest.approx(own.edges["weight"].to_numpy(), rel=1e-5)
    picture = " ".join(re.sub("<[^>]+>", " ", written[3].read_text()).split())
    assert "B cell against T cell in 4 cells of B cell" in picture
    assert "means over cells" in picture
    assert "most active at" in picture


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "cellglass-circuit"}, f'this is no circuit of cellglass, which says "format": "{FORMAT}"'),
        ({"version": 3}, "a newer cellglass wrote it"),
        ({"version": True}, "states no version"),
        ({"nodes": {}}, "nodes.kind is missing"),
        ({"about": []}, "about is no mapping"),
    ],
)
def test_another_file_is_refused(written: list[Path], tmp_path: Path, change: dict, message: str) -> None:
    held = json.loads(written[0].read_text())
    (tmp_path / "c.json").write_text(json.dumps({**held, **change}))
    with pytest.raises(InputError, match=message):
        read_class(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        ("edges", "target", 10**6, "an edge is of a node that is not there"),
        ("edges", "source", 0.5, "source are no whole numbers"),
        ("nodes", "kind", "thing", "there is no kind of node 'thing'"),
    ],
)
def test_a_damaged_one_is_refused(written: list[Path], tmp_path: Path, table, column, value, message) -> None:
    held = json.loads(written[0].read_text())
    held[table][column][0] = value
    (tmp_path / "c.json").write_text(json.dumps(held))
    with pytest.raises(InputError, match=message):
        read_class(tmp_path / "c.json")
    held[table][column].pop()
    (tmp_path / "c.json").write_text(json.dumps(held))
    with pytest.raises(InputError, match="have different lengths"):
        read_class(tmp_path / "c.json")


def test_only_json_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"end the file's name in \.json"):
        write_class(circuit(), tmp_path / "b.txt")
    with pytest.raises(InputError, match="there is no such file"):
        read_class(tmp_path / "b.json")

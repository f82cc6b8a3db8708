"""The option --groups: auto, a file, or one line that says what is wrong with it."""

from __future__ import annotations

import json

import pytest

from cellglass.circuits.groups import groups_of
from cellglass.cli.groups import grouped, wanted_groups
from cellglass.errors import InputError
from circuits.graphs import by_hand


def test_auto_a_file_or_nothing(tmp_path) -> None:
    assert wanted_groups(None) is None
    assert wanted_groups("auto") == {}
    (tmp_path / "g.json").write_text(json.dumps({"mine": ["L0/7", "L1/9"]}))
    wanted = wanted_groups(str(tmp_path / "g.json"))
    graph = by_hand()
    assert grouped(graph, None) is graph
    assert groups_of(grouped(graph, wanted).about)[0].members == ((0, 7), (1, 9))
    assert groups_of(grouped(graph, {}).about) == []  # no two of its features are alike


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({}, "this holds no groups"),
        (["L0/7"], "this holds no groups"),
        ({"g": "L0/7"}, "the group 'g' is no list of names of features"),
        ({"g": [7]}, "the group 'g' is no list of names of features"),
    ],
)
def test_another_file_is_one_line(held, message, tmp_path) -> None:
    (tmp_path / "g.json").write_text(json.dumps(held))
    with pytest.raises(InputError, match=message):
        wanted_groups(str(tmp_path / "g.json"))

"""Selections that go from hand to hand: nothing is lost, nothing foreign gets in."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from cellglass.errors import InputError
from cellglass.explorer.notes.store import Notes
from cellglass.explorer.selections.exchange import export_selections, merge_selections
from cellglass.explorer.selections.store import Selections

from .test_store import N, told


def test_files_merge_once_and_a_table_has_every_cell(tmp_path: Path) -> None:
    with Notes(tmp_path / "a.sqlite") as a, Notes(tmp_path / "b.sqlite") as b:
        one, other = Selections(a, "c", N), Selections(b, "c", N)
        made = one.add(told("=x", [0, 7]))
        one.change({"selection": made["selection"], "base": made["head"], "who": "Ben", "name": "=y"})
        other.add(told("mine", [3]))
        file = export_selections(one, tmp_path / "a.json", str)
        assert [merge_selections(other, [file]), merge_selections(other, [file, tmp_path / "a.sqlite"])] == [2, 0]
        assert sorted(state["name"] for state in other.states().values()) == ["=y", "mine"]
        assert other.rows(made["selection"]).tolist() == [0, 7]
        table = export_selections(other, tmp_path / "b.csv", lambda row: f"-cell{row}")
        with table.open(newline="") as lines:
            assert sorted(map(tuple, csv.reader(lines)))[0:2] == [("'=y", "'-cell0"), ("'=y", "'-cell7")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cells": "d"}, "of other cells"), ({"format": "x"}, "no file of cellglass selections"),
        ({"schema": 2}, "newer"), ({"revisions": 3}, "no list"), ({"one": {"bits": "AAAA"}}, "selection 1: bits"),
        ({"one": {"name": ""}}, "name"),
        ({"one": {"base": "a" * 32, "bits": None}}, "does not hold"), ({"one": {"id": "x"}}, "id: it must"),
        ({"one": {"bits": None}}, "must hold its cells"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_whole(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with Notes(tmp_path / "a.sqlite") as notes, Notes(tmp_path / "b.sqlite") as b:
        kept, other = Selections(notes, "c", N), Selections(b, "c", N)
        kept.add(told("x"))
        document = json.loads(export_selections(kept, tmp_path / "a.json", str).read_text())
        document["revisions"][0] |= change.pop("one", {}) if isinstance(document["revisions"], list) else {}
        (tmp_path / "w.json").write_text(json.dumps(document | change))
        with pytest.raises(InputError, match=says):
            merge_selections(other, [tmp_path / "w.json"])
        assert other.revisions() == []

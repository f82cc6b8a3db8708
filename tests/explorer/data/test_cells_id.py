"""The digest of the cells: of names and order alone, whatever else is in the atlas."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cellglass.explorer.data.cells_id import cells_id


def source(*names: str) -> Any:
    return SimpleNamespace(n_cells=len(names), cell_names=lambda first, last: list(names)[first:last])


def test_other_names_and_another_order_are_other_cells(read: Any) -> None:
    every = [("a", "b"), ("b", "a"), ("ab", ""), ("", "ab"), ("a", "b", ""), ("a",)]
    assert len({cells_id(source(*names)) for names in every}) == len(every)
    assert read("data/cells-id.json") == {"cells": cells_id(source(*(f"cell-{i}" for i in range(700)))), "n": 700}

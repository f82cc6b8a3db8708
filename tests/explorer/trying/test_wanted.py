"""What a reader may ask: whole questions are read as they are, and every wrong part is named."""

from __future__ import annotations

from typing import Any

import pytest

from cellglass.errors import InputError
from cellglass.explorer.trying.wanted import Count, Features, read_wanted

CELL: dict[str, Any] = {"circuit": "one", "changes": [{"gene": "LYZ", "count": 0}], "cell": "cell-0"}


def test_a_question_is_read_with_what_it_leaves_out() -> None:
    found = read_wanted(
        {**CELL, "changes": [{"features": [[0, 7], [1, 2]], "factor": 2, "gene": ""}, *CELL["changes"]]}
    )
    assert found.changes == [Features([(0, 7), (1, 2)], 2.0, ""), Count("LYZ", 0)]
    assert (found.circuit, found.cell, found.label, found.n, found.draws) == ("one", "cell-0", None, 30, 20)
    many = read_wanted({"circuit": "one", "changes": CELL["changes"], "label": "B", "n": 5, "draws": 3, "column": "C"})
    assert (many.cell, many.label, many.n, many.draws, many.column) == (None, "B", 5, 3, "C")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"circuit": 3}, "circuit"),
        ({"circuit": ""}, "circuit"),
        ({"changes": []}, "changes"),
        ({"changes": [1]}, "changes"),
        ({"changes": [{"gene": "LYZ"}]}, "a gene with a count"),
        ({"changes": [{"gene": "LYZ", "count": 0, "features": []}]}, "a gene with a count"),
        ({"changes": [{"gene": "LYZ", "count": -1}]}, "the count of LYZ"),
        ({"changes": [{"gene": "LYZ", "count": 1.5}]}, "the count of LYZ"),
        ({"changes": [{"gene": "LYZ", "count": True}]}, "the count of LYZ"),
        ({"changes": [{"gene": "LYZ", "count": 10**9}]}, "1,000,000"),
        ({"changes": [{"gene": None, "count": 1}]}, "gene"),
        ({"changes": [{"gene": "x" * 301, "count": 1}]}, "gene"),
        ({"changes": [{"features": [[0]], "factor": 0}]}, "pairs of layer and number"),
        ({"changes": [{"features": [[0, -1]], "factor": 0}]}, "pairs of layer and number"),
        ({"changes": [{"features": [[0, True]], "factor": 0}]}, "pairs of layer and number"),
        ({"changes": [{"features": [[0, 1]] * 501, "factor": 0}]}, "1 to 500"),
        ({"changes": [{"features": [[0, 1]]}]}, "factor"),
        ({"changes": [{"features": [[0, 1]], "factor": 4.5}]}, "from 0 to 4"),
        ({"changes": [{"features": [[0, 1]], "factor": float("nan")}]}, "from 0 to 4"),
        ({"changes": [{"features": [[0, 1]], "factor": 0, "gene": 3}]}, "gene"),
        ({"changes": CELL["changes"] * 21}, "1 to 20"),
        ({"cell": None}, "one of both"),
        ({"label": "B"}, "one of both"),
        ({"column": 3}, "column"),
        ({"n": 0}, "n: "),
        ({"n": 201}, "1 to 200"),
        ({"draws": 101}, "1 to 100"),
        ({"draws": "many"}, "draws"),
    ],
)
def test_a_wrong_part_is_named(more: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_wanted({**CELL, **more})

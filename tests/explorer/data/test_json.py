from __future__ import annotations

import numpy as np
import pytest

from cellglass.explorer.data.json import dumps, short, shorts


@pytest.mark.parametrize("digits", [4, 5, 6])
def test_many_numbers_are_shortened_like_one(digits: int) -> None:
    rng = np.random.default_rng(0)
    values = np.r_[
        rng.normal(size=300) * 10.0 ** rng.integers(-300, 300, 300), rng.normal(size=300), 0, -0.0, 1, 250000, 1e-30
    ]
    found = shorts(values, digits)
    assert found == pytest.approx([short(value, digits) for value in values], rel=1e-12)
    assert all(
        len(repr(number).strip("-").split("e")[0].replace(".", "").lstrip("0").rstrip("0")) <= digits
        for number in found
    )
    assert shorts([np.nan, np.inf, -np.inf, 2.0]) == [None, None, None, 2]
    assert shorts(np.zeros(0)) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.123456, 0.1235), (1234.0, 1234), (np.nan, None), (None, None), (np.inf, None), (1e-12, 1e-12)],
)
def test_short_numbers(value: float | None, expected: float | None) -> None:
    assert short(value) == expected


def test_json_is_text_in_utf_8_without_spaces() -> None:
    assert dumps({"a": ["<é>", None, 1.5]}) == '{"a":["<é>",null,1.5]}'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        dumps(float("nan"))

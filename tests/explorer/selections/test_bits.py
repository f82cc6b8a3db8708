"""Selections as bytes: there and back, and bytes that are none."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from cellglass.errors import InputError
from cellglass.explorer.selections.bits import from_text, pack, to_text, unpack


@pytest.mark.parametrize("n", [1, 7, 8, 9, 4097])
def test_cells_come_back(n: int) -> None:
    rows = np.flatnonzero(np.random.default_rng(n).random(n) < 0.3)
    packed = pack(rows, n)
    np.testing.assert_array_equal(unpack(from_text(to_text(packed)), n), rows)
    assert zlib.decompress(pack(np.array([0]), 9)) == b"\x01\x00", "little end first, as the page has it"


@pytest.mark.parametrize(
    "packed",
    [b"", b"x", pack(np.arange(3), 90), pack(np.arange(9), 10)[:-2], pack(np.arange(9), 10) + b"x",
     zlib.compress(b"\xff\xff"), zlib.compress(bytes(1 << 26))],
)  # fmt: skip
def test_what_is_not_of_these_cells_is_refused(packed: bytes) -> None:
    with pytest.raises(InputError, match="bits: they"):
        unpack(packed, 10)

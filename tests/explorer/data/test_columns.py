from __future__ import annotations

import numpy as np
import pytest

from cellglass.atlas.columns import Column
from cellglass.errors import InputError
from cellglass.explorer.data.columns import from_bytes, to_bytes


def test_a_column_file_is_little_endian_and_read_back() -> None:
    content = to_bytes(Column(np.array([1, 258]), np.array([0.5, -2.0])))
    assert content.hex() == "02000000" + "01000000" + "02010000" + "0000003f" + "000000c0"
    rows, values = from_bytes(content)
    assert rows.tolist() == [1, 258]
    assert values.tolist() == [0.5, -2.0]
    assert len(from_bytes(to_bytes(Column(np.zeros(0), np.zeros(0)))).rows) == 0
    with pytest.raises(InputError, match="20 bytes, but these are 19"):
        from_bytes(content[:-1])

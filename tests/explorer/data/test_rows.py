from __future__ import annotations

import numpy as np
import pandas as pd

from cellglass.explorer.data.rows import Rows


def test_groups_are_those_of_pandas_in_their_order() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"a": rng.choice(["x", "y"], 50), "b": pd.Categorical(rng.choice(["p", "q", "r"], 50)), "n": range(50)}
    )
    rows, at = Rows(table), np.arange(10, 50)
    found = {key: places.tolist() for key, places in rows.groups(at, "a", "b")}
    expected = {
        key: (part.index + 10).tolist() for key, part in table[10:].reset_index().groupby(["a", "b"], observed=True)
    }
    assert found == expected
    assert rows.groups(np.zeros(0, dtype=np.int64), "a", "b") == []
    assert rows.where("n", 7).tolist() == [7]
    assert [rows.text("a", place) for place in range(50)] == table["a"].tolist()


def test_text_that_is_missing_is_empty() -> None:
    assert Rows(pd.DataFrame({"a": ["x", None]})).text("a", 1) == ""

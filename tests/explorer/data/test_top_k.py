from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellglass.explorer.data import top_k
from cellglass.explorer.data.top_k import TopK


@pytest.mark.parametrize("waiting", [10, 1 << 21])
def test_it_keeps_what_sorting_everything_would_keep(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_k, "WAITING", waiting)
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"group": rng.integers(0, 9, 400), "rank": rng.integers(0, 5, 400), "latent": rng.permutation(400)}
    )
    found = TopK("group", ("rank", "latent"), 6)
    for start in range(0, 400, 23):
        found.add(**{name: rows[name].to_numpy()[start : start + 23] for name in rows})
    expected = rows.sort_values(["group", "rank", "latent"]).groupby("group").head(6)
    pd.testing.assert_frame_equal(pd.DataFrame(found.table()), expected.reset_index(drop=True))


def test_nothing_gives_empty_columns() -> None:
    assert len(TopK("group", ("rank",), 2).table()["key"]) == 0

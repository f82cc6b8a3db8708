from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas.read import Atlas
from cellglass.explorer import Tree
from cellglass.explorer.data import counterfactual


@pytest.mark.parametrize("latent", [0, 17])
def test_genes_that_differ_between_a_prototype_and_its_partners(
    read: Any, atlas: Atlas, full_folder: Path, latent: int
) -> None:
    counts = atlas.expression.to_memory().X.toarray()
    y = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    table = pd.read_parquet(full_folder / "pairs.parquet")
    table = table[(table["concept"] == latent) & (table["kind"] == "real")]
    found = read(f"data/pairs/{latent}.json")
    assert [one["prototype"] for one in found] == table["prototype"].drop_duplicates().tolist()[
        : counterfactual.PROTOTYPES
    ]
    for one in found:
        partners = table.loc[table["prototype"] == one["prototype"], "partner"].tolist()
        assert [other["partner"] for other in one["partners"]] == partners[: counterfactual.PARTNERS]
        for other in one["partners"]:
            mine, theirs = counts[one["prototype"]], counts[other["partner"]]
            away = y[one["prototype"]] - y[other["partner"]]
            gap = np.where(mine != theirs, np.abs(away), 0)
            assert other["differ"] == (mine != theirs).sum()
            rows = np.array(other["genes"])
            assert len(rows) == min(counterfactual.TOP, other["differ"])
            where = rows[:, 0].astype(int)
            np.testing.assert_array_equal(rows[:, 1], mine[where])
            np.testing.assert_array_equal(rows[:, 2], theirs[where])
            np.testing.assert_allclose(gap[where], np.sort(gap)[::-1][: len(rows)], rtol=1e-5)
            np.testing.assert_allclose(rows[:, 3], away[where], rtol=1e-3, atol=1e-5)


def test_fewer_prototypes_where_cells_have_many_counts(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    per_cell = atlas.expression.to_memory().X.nnz / 700
    monkeypatch.setattr(counterfactual, "MAX_ENTRIES", int(per_cell * 300))
    made = Tree(atlas).counterfactual
    sizes = {len(pairs) for pairs in made.shown.values()}
    assert len(sizes) == 1
    assert 1 <= sizes.pop() < counterfactual.PROTOTYPES
    assert len(made._counts[0]) <= 300

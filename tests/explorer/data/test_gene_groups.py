"""Expression by label, against a dense table."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas.read import Atlas
from cellglass.explorer import Tree
from cellglass.explorer.data import gene_groups
from cellglass.explorer.data.columns import from_bytes


def dense(atlas: Atlas) -> np.ndarray:
    counts = atlas.expression.to_memory().X.toarray().astype(np.float64)
    return np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))


def test_shares_and_means_are_those_of_pandas_and_the_files_of_genes_are_on_the_scale(atlas: Atlas, tree: Tree) -> None:
    values = dense(atlas)
    obs = atlas.concepts.obs
    for gene in (0, 31, 32, 123):
        found = json.loads(tree.get(f"data/gene-groups/{gene // 32}.json"))[str(gene)]
        assert set(found) == {"cell type", "phase"}
        for name, rows in found.items():
            for code, having, n, mean, mean_having in rows:
                of = values[(obs[name].cat.codes == code - 1).to_numpy(), gene]
                assert (having, n) == ((of > 0).sum(), len(of))
                assert mean == pytest.approx(of.mean(), rel=1e-3)
                assert mean_having == (pytest.approx(of[of > 0].mean(), rel=1e-3) if having else None)
        column = from_bytes(tree.get(f"data/expression/{gene}.bin"))
        np.testing.assert_array_equal(column.rows, np.flatnonzero(values[:, gene]))
        np.testing.assert_allclose(column.values, values[column.rows, gene], rtol=1e-5)
    assert sorted(map(int, json.loads(tree.get("data/gene-groups/3.json")))) == list(range(96, 124))


def test_of_many_values_the_largest_are_told_of_and_cells_without_one_have_code_0(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tree.source
    codes = np.zeros(700, dtype=np.uint16)
    codes[:40] = np.repeat([1, 2, 3, 4], [5, 20, 5, 10])
    monkeypatch.setitem(source.codes, "phase", codes)
    monkeypatch.setitem(source.totals, "phase", np.bincount(codes, minlength=6))
    monkeypatch.setattr(gene_groups, "MOST_VALUES", 3)
    rows = gene_groups.groups(source, next(source.expressed([0]))[1])["phase"]
    assert [(code, n) for code, _, n, *_ in rows] == [(0, 660), (2, 20), (4, 10)]
    assert pd.DataFrame(rows).notna().all(axis=None)

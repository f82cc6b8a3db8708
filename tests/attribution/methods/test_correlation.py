"""Correlation of expression with activation against SciPy, gene by gene."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from cellglass.attribution.methods import correlation
from cellglass.attribution.methods.correlation import ENTRY


def test_each_gene_is_that_of_scipy(toy, monkeypatch):
    monkeypatch.setattr(correlation, "_CELLS", 37)  # several pieces
    toy.cells.counts.data[toy.cells.counts.indices == 7] = 0  # a gene that does not vary
    block = toy.block((0, 3), methods=("correlation",))
    rows = ENTRY.rows(block, "expression")
    counts = toy.cells.counts.toarray()
    totals = counts.sum(axis=1)
    x = np.log1p(counts * (np.median(totals) / np.maximum(totals, 1))[:, None])
    for concept in (0, 3):
        mine = rows[rows["concept"] == concept].set_index("gene").loc[toy.cells.genes.index]
        a = toy.codes[:, concept].toarray().ravel()
        varies = np.arange(40) != 7
        found = [scipy.stats.pearsonr(x[:, g], a) for g in np.flatnonzero(varies)]
        r, p = (np.array([getattr(one, name) for one in found]) for name in ("statistic", "pvalue"))
        assert mine["effect"][varies].to_numpy() == pytest.approx(r, abs=1e-5)
        assert mine["score"].equals(mine["effect"])
        q = scipy.stats.false_discovery_control(p)
        assert mine["q"][varies].to_numpy() == pytest.approx(q, rel=1e-3, abs=1e-7)
        assert mine["se"][varies].to_numpy() == pytest.approx((1 - r**2) / np.sqrt(159), rel=1e-4)
        assert mine.iloc[7][["effect", "q"]].tolist() == [0, pytest.approx(np.nan, nan_ok=True)]
        assert set(mine["n"]) == {160}


def test_of_many_cells_a_sample_is_looked_at(toy):
    work = toy.work(methods=("correlation",), max_candidates=50)
    chosen = correlation.sample(work)
    assert len(chosen.rows) == 50
    assert np.array_equal(np.unique(chosen.rows), chosen.rows)
    assert np.array_equal(correlation.sample(toy.work(max_candidates=50)).rows, chosen.rows)
    other = dataclasses.replace(work, seed=1)
    assert not np.array_equal(correlation.sample(other).rows, chosen.rows)
    r = correlation.correlations(work, [3], chosen)[:, 0]
    x = np.log1p(toy.cells.counts[chosen.rows].toarray() * chosen.scale[:, None])
    a = toy.codes[chosen.rows][:, 3].toarray().ravel()
    assert r[0] == pytest.approx(np.corrcoef(x[:, 0], a)[0, 1], abs=1e-6)

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from cellglass.attribution import Block
from cellglass.attribution.methods.de import ENTRY, Expressed
from cellglass.errors import InputError


def test_expression_equals_a_loop_over_scipy(toy):
    counts = toy.cells.counts.toarray().astype(float)
    totals = np.maximum(counts.sum(axis=1), 1)
    logs = np.log1p(counts / totals[:, None] * np.median(totals))
    active = np.flatnonzero(toy.codes[:, 0].toarray().ravel() > 0)
    rest = np.setdiff1d(np.arange(toy.cells.n_cells), active)
    found = Expressed(toy.cells).compare(active, 0)
    one = 1 / min(len(active), len(rest))
    p = []
    for g in range(toy.cells.n_genes):
        expected = stats.ttest_ind(logs[active, g], logs[rest, g], equal_var=False)
        p.append(expected.pvalue)
        assert found.t[g] == pytest.approx(expected.statistic, rel=1e-3, abs=1e-4)
        a, b = (np.expm1(logs[side, g].mean()) for side in (active, rest))
        assert found.fold[g] == pytest.approx(np.log2((a + one) / (b + one)), rel=1e-3, abs=1e-4)
    np.testing.assert_allclose(found.q, stats.false_discovery_control(p), rtol=1e-2, atol=1e-6)
    assert found.n == toy.cells.n_cells


def test_a_gene_that_nobody_expresses_is_no_gap_in_the_table(toy):
    counts = toy.cells.counts.toarray()
    counts[:, 5] = 0
    import scipy.sparse as sp

    silent = toy.cells.with_counts(sp.csr_matrix(counts))
    found = Expressed(silent).compare(np.arange(40), 0)
    assert (found.fold[5], found.t[5], found.q[5]) == (0.0, 0.0, 1.0)
    assert all(np.isfinite(x).all() for x in found[:3])


def test_a_gene_that_one_side_lacks_has_no_fold_change_made_of_nothing(toy):
    import scipy.sparse as sp

    counts = toy.cells.counts.toarray()
    counts[:, 5] = 0
    counts[0, 5] = 1  # one count in one of forty cells
    found = Expressed(toy.cells.with_counts(sp.csr_matrix(counts))).compare(np.arange(40), 0)
    assert 0 < found.fold[5] < 1.1, "as much as one count can say: at most twice"


def test_many_cells_are_sampled_with_the_seed(toy):
    first = Expressed(toy.cells, at_most=20, seed=1).compare(np.arange(60), 0)
    again = Expressed(toy.cells, at_most=20, seed=1).compare(np.arange(60), 0)
    other = Expressed(toy.cells, at_most=20, seed=2).compare(np.arange(60), 0)
    assert first.n == 40
    np.testing.assert_array_equal(first.t, again.t)
    assert (first.t != other.t).any()
    before = toy.cells.counts.copy()
    assert (before != toy.cells.counts).nnz == 0


def test_no_cell_is_drawn_twice(toy):
    seen = []

    class Seen(Expressed):
        def _test(self, rows, n_active):
            seen.append(rows)
            return super()._test(rows, n_active)

    Seen(toy.cells, at_most=20).compare(np.arange(24), 0)
    assert len(np.unique(seen[0])) == len(seen[0]) == 40


def test_counts_stay_as_they_are(toy):
    before = toy.cells.counts.copy()
    Expressed(toy.cells).compare(np.arange(60), 0)
    assert (before != toy.cells.counts).nnz == 0


def test_one_sided_concepts_have_no_comparison(toy):
    expressed = Expressed(toy.cells)
    assert expressed.compare(np.array([3]), 0) is None
    assert expressed.compare(np.arange(toy.cells.n_cells), 0) is None
    with pytest.raises(InputError, match="at_most"):
        Expressed(toy.cells, at_most=1)


def test_rows_are_all_genes_with_t_as_the_score(toy):
    block = toy.block((0, 4), methods=("de",), max_cells=30)
    rows = ENTRY.rows(block, "expression")
    assert rows["gene"].tolist() == 2 * toy.cells.genes.index.tolist()
    for concept in (0, 4):
        value = toy.codes[:, concept].toarray().ravel()
        on = np.flatnonzero(value >= np.quantile(value[value > 0], 0.99) / 2)  # on, not just above 0
        found = Expressed(toy.cells, at_most=30).compare(on, concept)
        mine = rows[rows["concept"] == concept]
        np.testing.assert_array_equal(mine["score"], found.t)
        np.testing.assert_array_equal(mine["effect"], found.fold)
        np.testing.assert_array_equal(mine["q"], found.q)
        assert mine["se"].isna().all()
        assert (mine["n"] == found.n).all()


def test_a_concept_of_all_cells_has_no_rows(toy):
    codes = toy.codes.tolil()
    codes[:, 4] = 1
    toy.codes = codes.tocsc()
    rows = ENTRY.rows(toy.block((0, 4), methods=("de",)), "expression")
    assert rows["concept"].unique().tolist() == [0]


def test_a_threshold_that_is_given_says_which_cells_are_on(toy):
    value = toy.codes[:, 0].toarray().ravel()
    level = np.quantile(value[value > 0], 0.3)
    given = np.full(toy.dictionary.n_latents, np.nan)
    given[0] = level
    work = replace(toy.work(methods=("de",)), thresholds=given)
    rows = ENTRY.rows(Block(work, (0,), toy.block((0,)).pairs), "expression")
    found = Expressed(toy.cells).compare(np.flatnonzero(value >= level), 0)
    np.testing.assert_array_equal(rows["score"], found.t)
    assert work.on(4).tolist() == work.strong(4).tolist()
    assert len(work.on(0)) > len(work.strong(0))

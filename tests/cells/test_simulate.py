"""Simulated cells carry the truth that they claim."""

import numpy as np
import pytest

from cellglass.cells import simulate
from cellglass.errors import InputError


@pytest.fixture(scope="module")
def simulated():
    return simulate(seed=3, n_batches=2)


def test_shapes_and_counts(simulated):
    cells = simulated.cells
    assert cells.counts.shape == (2000, 1000)
    assert (cells.counts.data == np.rint(cells.counts.data)).all()
    assert cells.counts.data.min() >= 1
    assert cells.counts.has_sorted_indices
    assert simulated.activity.shape == (2000, 20)
    assert simulated.programs.shape == simulated.membership.shape == (1000, 20)
    assert cells.obs["cell_type"].nunique() == 6
    assert cells.obs["batch"].nunique() == 2


def test_members_are_where_loadings_are_and_overlap_as_asked(simulated):
    members = simulated.membership.to_numpy()
    assert ((simulated.programs.to_numpy() > 0) == members).all()
    assert (members.sum(axis=0) == 30).all()
    assert members.sum(axis=1).max() == 2
    shared = members.T.astype(int) @ members
    assert all(shared[p, (p + 1) % 20] == 6 for p in range(20))
    assert np.triu(shared, 1).sum() == 20 * 6


def test_programs_are_off_in_most_cells_and_belong_to_types(simulated):
    on = simulated.activity > 0
    assert on.mean() < 0.3
    types = simulated.cells.obs["cell_type"].cat.codes.to_numpy()
    rates = np.array([on[types == t].mean(axis=0) for t in range(6)])
    for p in range(10):
        assert rates[p % 6, p] > 0.8
        assert np.delete(rates[:, p], p % 6).max() < 0.1
    assert np.abs(rates[:, 10:] - 0.15).max() < 0.1
    np.testing.assert_allclose(simulated.activity[on].mean(), 1, atol=0.02)


def test_members_rise_with_their_program(simulated):
    counts = simulated.cells.counts
    share = counts.multiply(1 / counts.sum(axis=1)).tocsr()
    wins = []
    for p in range(20):
        on = simulated.activity[:, p] > 0
        change = np.log((np.asarray(share[on].mean(axis=0)) + 1e-6) / (np.asarray(share[~on].mean(axis=0)) + 1e-6))[0]
        member = simulated.membership.to_numpy()[:, p]
        wins.append((change[member][:, None] > change[~member]).mean())
    assert min(wins) > 0.85
    assert np.mean(wins) > 0.95


def test_depth_and_dispersion_are_as_asked():
    depths = np.asarray(simulate(n_cells=4000, n_genes=300, n_programs=3, depth=500, seed=1).cells.counts.sum(axis=1))
    assert abs(np.median(depths) - 500) < 25
    plain = {"n_cells": 4000, "n_genes": 50, "n_programs": 1, "genes_per_program": 1, "effect": 0.0}
    for dispersion in (0.0, 0.5):
        counts = simulate(**plain, depth=20_000, dispersion=dispersion, seed=2).cells.counts.toarray()
        total = counts.sum(axis=1, keepdims=True)
        residual = counts / total
        spread = (residual.std(axis=0) / residual.mean(axis=0)) ** 2
        likely = np.median(spread - 1 / counts.mean(axis=0))
        assert abs(likely - dispersion) < 0.1


def test_batches_differ_by_gene_and_can_be_silent():
    def between(spread):
        out = simulate(n_cells=3000, n_genes=200, n_programs=2, n_batches=2, batch_spread=spread, dispersion=0, seed=5)
        codes = out.cells.obs["batch"].cat.codes.to_numpy()
        means = [np.asarray(out.cells.counts[codes == b].mean(axis=0))[0] + 0.01 for b in (0, 1)]
        return np.std(np.log(means[0] / means[1]))

    assert between(0.0) < 0.15
    assert 0.3 < between(0.5) < 0.7


def test_the_seed_decides_everything():
    a, b, c = (simulate(n_cells=1100, n_genes=100, n_programs=3, seed=seed) for seed in (1, 1, 2))
    assert (a.cells.counts != b.cells.counts).nnz == 0
    np.testing.assert_array_equal(a.activity, b.activity)
    assert (a.cells.counts != c.cells.counts).nnz > 0


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"overlap": 0.7}, "overlap"),
        ({"n_genes": 100}, "raise it"),
        ({"n_types": 0}, "at least 1"),
        ({"depth": -1}, "depth"),
    ],
)
def test_impossible_sizes_are_refused(wrong, expected):
    with pytest.raises(InputError, match=expected):
        simulate(**wrong)

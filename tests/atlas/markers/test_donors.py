"""One set against another, and donors as the unit, against SciPy in plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from atlas.markers.test_rank_sum import M, N, make
from cellglass.atlas.markers.donors import FEWEST_CELLS
from cellglass.atlas.markers.rank_sum import Marker, top_k
from cellglass.errors import InputError

RNG = np.random.default_rng(5)
A, B = np.arange(0, 90), np.arange(80, 200, 2)  # 80, 82, ... 88 are in both
ONLY_A, ONLY_B = np.setdiff1d(A, B), np.setdiff1d(B, A)


def test_two_sets_are_compared_without_the_cells_of_both(tmp_path: Path) -> None:
    atlas, dense, counts = make(tmp_path)
    marker = Marker(atlas)
    concepts, genes = marker.concepts(A, B), marker.genes(A, B)
    y = np.log1p(1e4 * counts / np.maximum(counts.sum(1, keepdims=True), 1))
    for j in range(M):
        one, other = dense[ONLY_A, j], dense[ONLY_B, j]
        test = scipy.stats.mannwhitneyu(one, other, method="asymptotic")
        np.testing.assert_allclose(concepts.auc[j], test.statistic / len(one) / len(other), rtol=1e-12)
        varies = np.r_[one, other].any()
        np.testing.assert_allclose(concepts.p[j], test.pvalue if varies else 1.0, rtol=1e-9)
        np.testing.assert_allclose(concepts.difference[j], one.mean() - other.mean(), atol=1e-6)
        assert concepts.share_out[j] == (other > 0).mean()
    for j in (0, 4, 9, 20):
        test = scipy.stats.ttest_ind(y[ONLY_A, j], y[ONLY_B, j], equal_var=False)
        np.testing.assert_allclose([genes.t[j], genes.p[j]], [test.statistic, test.pvalue], rtol=1e-3)
        assert genes.share_in[j] == (counts[ONLY_A, j] > 0).mean()
    with pytest.raises(InputError, match="not in both"):
        marker.concepts(A, A[:50])


@pytest.mark.parametrize("kind", ["paired", "unpaired", "none"])
def test_donors_are_as_scipy_has_their_means(tmp_path: Path, kind: str) -> None:
    atlas, dense, counts = make(tmp_path)
    marker = Marker(atlas)
    donor = RNG.integers(0, 5, N).astype(np.uint8)  # 0: without one
    if kind == "unpaired":
        donor[ONLY_A] = 1 + ONLY_A % 4
        donor[ONLY_B] = 5 + ONLY_B % 3
    elif kind == "none":
        donor[:] = 1 + np.arange(N) % 2
    donor[ONLY_A[:2]] = 9  # a donor with too few cells counts nowhere
    y = np.log1p(1e4 * counts / np.maximum(counts.sum(1, keepdims=True), 1))
    for of, values in (("concepts", dense), ("genes", y)):
        found = marker.donors(of, A, B, donor)
        assert found.test == kind
        if kind == "none":
            assert (found.n, len(found.p)) == ((2, 1), 0)
            assert "too few donors: 2" in found.why
            continue
        means = [
            {
                d: values[cells[donor[cells] == d]].mean(0)
                for d in range(1, 10)
                if (donor[cells] == d).sum() >= FEWEST_CELLS
            }
            for cells in (ONLY_A, ONLY_B)
        ]
        both = sorted(set(means[0]) & set(means[1]))
        used = [[side[d] for d in (both if kind == "paired" else side)] for side in means]
        one, other = np.array(used[0]), np.array(used[1])
        assert found.n == (len(one), len(other))
        np.testing.assert_allclose(found.difference, one.mean(0) - other.mean(0), atol=1e-5)
        varies = np.flatnonzero(np.abs(one).sum(0) + np.abs(other).sum(0))
        for j in varies:
            test = (
                scipy.stats.ttest_rel(one[:, j], other[:, j])
                if kind == "paired"
                else scipy.stats.ttest_ind(one[:, j], other[:, j], equal_var=False)
            )
            np.testing.assert_allclose([found.t[j], found.p[j]], [test.statistic, test.pvalue], rtol=2e-3)
        np.testing.assert_allclose(found.q, scipy.stats.false_discovery_control(found.p))


def test_rows_have_what_donors_say_and_their_order(tmp_path: Path) -> None:
    atlas, _, _ = make(tmp_path)
    marker, donor = Marker(atlas), np.where(np.arange(N) < 297, 1 + np.arange(N) % 6, 0)
    by = marker.donors("concepts", np.arange(40), None, donor)
    rows = top_k(marker.concepts(np.arange(40)), np.arange(M) + 100, by=by)
    assert (rows[0]["latent"], rows[0]["donor_q"] < 1e-3) == (107, True)
    assert [abs(row["donor_t"]) for row in rows] == sorted((abs(row["donor_t"]) for row in rows), reverse=True)

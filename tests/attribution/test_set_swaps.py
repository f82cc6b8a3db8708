"""Swaps of sets against one cell at a time; drawn sets are matched; nothing is found where sets mean nothing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.attribution.set_swaps import matched_bins, pooled_p, swap_sets
from cellglass.errors import InputError


def pairs_of(toy, concept=3, n=6):
    pairs = toy.block((concept,)).pairs
    real = pairs[pairs["kind"] == "real"].iloc[:n]
    return real["prototype"].to_numpy(dtype=np.int64), real["partner"].to_numpy(dtype=np.int64)


@pytest.mark.parametrize("fast", [True, False])
def test_all_genes_of_a_set_take_the_partners_counts_at_once(toy, fast):
    toy.model.fast = fast
    prototype, partner = pairs_of(toy)
    members = sp.csr_matrix(np.random.default_rng(0).random((3, 40)) < np.array([[0.2], [0.5], [0.0]]))
    found = swap_sets(toy.work(), prototype, partner, 3, members, draws=5)
    for i, genes in enumerate(members.toarray()):
        shares = []
        for cell, other in zip(prototype, partner, strict=True):
            counts = np.where(genes, toy.cells.counts[other].toarray(), toy.cells.counts[cell].toarray())
            whole = toy.read(toy.cells.counts[cell], cell, 3, "activation")
            shares.append((whole - toy.read(sp.csr_matrix(counts), cell, 3, "activation")) / whole)
        assert found.effect[i] == pytest.approx(np.mean(shares), abs=1e-4)
        assert found.se[i] == pytest.approx(np.std(shares, ddof=1) / np.sqrt(6), abs=1e-4)
    assert np.isnan(found.p[2])  # no gene, so nothing to test
    assert found.changed[2] == 0
    again = swap_sets(toy.work(), prototype, partner, 3, members, draws=5)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(found, again, strict=True))


def test_a_set_of_the_genes_that_drive_a_concept_is_found_and_random_sets_are_not(toy):
    prototype, partner = pairs_of(toy, n=15)
    rng, work = np.random.default_rng(1), toy.work()
    single = swap_sets(work, prototype, partner, 3, sp.identity(40, dtype=bool, format="csr"), draws=5).effect
    sets = [rng.permutation(40)[:6] for _ in range(60)]
    members = np.zeros((61, 40), dtype=bool)
    for row, genes in enumerate([np.argsort(-single)[:6], *sets]):
        members[row, genes] = True
    found = swap_sets(work, prototype, partner, 3, sp.csr_matrix(members), draws=40, seed=1)
    assert found.p[0] < 0.02
    assert found.effect[0] > found.null[0]
    assert 0.2 < np.median(found.p[1:]) < 0.8
    assert (found.q[1:] < 0.05).sum() <= 3


def test_genes_are_exchanged_within_bins_of_expression_and_difference(toy):
    difference = np.random.default_rng(2).random(40)
    bins = matched_bins(toy.work(), difference)
    expression = np.asarray(toy.cells.counts.mean(axis=0)).ravel()
    levels = bins // 5
    assert [expression[levels == one].max() for one in (0,)] < [expression[levels == one].min() for one in (1,)]
    for level in (0, 1):
        of_level = [difference[bins == one] for one in np.unique(bins[levels == level])]
        assert all(a.max() < b.min() for a, b in pairwise(of_level))


def test_p_is_that_of_a_plain_count():
    rng = np.random.default_rng(3)
    drawn = rng.normal(size=(8, 3)) * [1, 5, 0] + [0, 2, 1]
    effect = np.array([2.0, 2.5, 1.0])
    null = []
    for draw in range(8):
        for one in (0, 1):
            others = np.delete(drawn[:, one], draw)
            null.append(abs(drawn[draw, one] - others.mean()) / others.std(ddof=1))
    for one in (0, 1):
        z = abs(effect[one] - drawn[:, one].mean()) / drawn[:, one].std(ddof=1)
        assert pooled_p(effect, drawn)[one] == pytest.approx((1 + sum(v >= z for v in null)) / 17)
    assert np.isnan(pooled_p(effect, drawn)[2])


def test_what_cannot_be_is_refused(toy):
    prototype, partner = pairs_of(toy)
    members, work = sp.csr_matrix(np.ones((1, 40), dtype=bool)), toy.work()
    with pytest.raises(InputError, match="sets are of 39 genes, but the cells have 40"):
        swap_sets(work, prototype, partner, 3, members[:, :39])
    with pytest.raises(InputError, match="0 pairs and 1 sets"):
        swap_sets(work, prototype[:0], partner[:0], 3, members)
    with pytest.raises(InputError, match="draws is 2; it must be at least 5"):
        swap_sets(work, prototype, partner, 3, members, draws=2)
    off = np.flatnonzero(toy.codes[:, 3].toarray().ravel() == 0)[:1]
    with pytest.raises(InputError, match="does not have concept 3"):
        swap_sets(work, off, partner[:1], 3, members)

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from cellglass import threads
from cellglass.enrichment.gsea import (
    TAIL,
    enrichment_scores,
    gsea,
    null_distribution,
    random_ranks,
    tail_p,
)
from cellglass.enrichment.members import Members
from cellglass.enrichment.ranks import rank
from cellglass.errors import InputError

RNG = np.random.default_rng(0)


def slow_score(scores, genes):
    """Read the running sum at each distinct score: weighted share of the set minus share of the rest at or above it."""
    inside = np.zeros(len(scores), dtype=bool)
    inside[genes] = True
    weight = np.abs(scores)
    if weight[inside].sum() == 0:
        return 0.0
    sums = [0.0]
    for cut in np.unique(scores)[::-1]:
        above = scores >= cut
        sums.append(weight[inside & above].sum() / weight[inside].sum() - (~inside & above).sum() / (~inside).sum())
    return max(sums) if max(sums) > -min(sums) else min(sums)


def effects(n, genes, rng=RNG):
    """Like real effects: most are exactly 0, some are negative."""
    values = np.where(rng.random((n, genes)) < 0.5, 0.0, rng.exponential(size=(n, genes)))
    return np.where(rng.random((n, genes)) < 0.1, -values / 3, values)


@pytest.mark.slow
def test_scores_equal_decouplers(random_sets):
    import decoupler

    _, sets = random_sets(300, [5, 5, 8, 20, 40, 80, 150])
    scores = RNG.normal(size=(6, 300)) + np.linspace(-1, 1, 6)[:, None]
    es, edge = enrichment_scores(rank(scores), sets)
    rows = sets.matrix.tocoo()
    net = pd.DataFrame({"source": [sets.terms[i] for i in rows.col], "target": [f"g{i}" for i in rows.row]})
    data = pd.DataFrame(scores, index=[f"c{i}" for i in range(6)], columns=[f"g{i}" for i in range(300)])
    theirs, _ = decoupler.mt.gsea(data, net, tmin=1, times=0)
    np.testing.assert_allclose(es, theirs[list(sets.terms)].to_numpy(), atol=1e-9)
    for c, t in np.ndindex(*es.shape):
        walk = np.zeros(300)
        order = np.argsort(-scores[c])
        hit = np.isin(order, sets.genes_of(t))
        walk = np.cumsum(np.where(hit, np.abs(scores[c][order]), 0)) / np.abs(scores[c][sets.genes_of(t)]).sum()
        walk -= np.cumsum(~hit) / (~hit).sum()
        reached = walk[edge[c, t]] if es[c, t] > 0 else walk[edge[c, t] - 1]
        assert reached == pytest.approx(es[c, t], abs=1e-9)


def test_normalised_scores_and_p_come_close_to_decouplers(random_sets):
    import decoupler

    _, sets = random_sets(200, [10, 10, 25, 60])
    scores = RNG.normal(size=(3, 200))
    ours = gsea([scores], sets, permutations=2000)
    rows = sets.matrix.tocoo()
    net = pd.DataFrame({"source": [sets.terms[i] for i in rows.col], "target": [f"g{i}" for i in rows.row]})
    data = pd.DataFrame(scores, index=list("abc"), columns=[f"g{i}" for i in range(200)])
    theirs, _ = decoupler.mt.gsea(data, net, tmin=1, times=2000, seed=1)
    np.testing.assert_allclose(ours.statistic[0], theirs[list(sets.terms)].to_numpy(), rtol=0.06)


def test_ties_are_read_between_blocks_only(random_sets):
    _, sets = random_sets(120, [5, 9, 30, 60])
    scores = np.round(effects(8, 120), 1)
    es, _ = enrichment_scores(rank(scores), sets)
    slow = [[slow_score(row, sets.genes_of(t)) for t in range(4)] for row in scores]
    np.testing.assert_allclose(es, slow, atol=1e-12)


def test_the_order_of_genes_decides_nothing(random_sets):
    _, sets = random_sets(150, [5, 12, 12, 40])
    scores = np.round(effects(5, 150), 1)
    shuffled = RNG.permutation(150)
    moved = Members(sets.terms, sets.matrix[shuffled].tocsc())
    one, two = gsea([scores], sets, permutations=200), gsea([scores[:, shuffled]], moved, permutations=200)
    np.testing.assert_allclose(one.statistic, two.statistic, atol=1e-9)
    assert np.array_equal(one.p, two.p)
    assert np.array_equal(one.edge, two.edge)


@pytest.mark.parametrize("size", [1, 7, 60])
def test_the_null_are_scores_of_random_sets(size):
    scores = np.round(effects(4, 90), 2)
    scores[3] = 0
    positions = np.sort(random_ranks(90, size, 40, seed=3), axis=1)
    ranked = rank(scores)
    null = null_distribution(ranked, positions)
    slow = [[slow_score(ranked.score[c], ranks) for ranks in positions] for c in range(4)]
    np.testing.assert_allclose(null, slow, atol=1e-12)


def test_p_and_normalised_score_follow_the_formula(random_sets):
    _, sets = random_sets(100, [6, 6, 20])
    scores = effects(3, 100)
    tested = gsea([scores], sets, permutations=100, seed=5)
    es, _ = enrichment_scores(rank(scores), sets)
    shuffles = random_ranks(100, 20, 100, seed=5)
    for c, t in np.ndindex(*es.shape):
        positions = np.sort(shuffles[:, : sets.sizes[t]], axis=1)
        null = null_distribution(rank(scores[c : c + 1]), positions)[0]
        side = null[null >= 0] if es[c, t] >= 0 else null[null < 0]
        extreme = (np.abs(side) >= abs(es[c, t]) - 1e-10).sum()
        if extreme >= TAIL or len(side) < 2 * TAIL:
            assert tested.p[0, c, t] == (1 + extreme) / (1 + len(side))
        else:
            assert 0 < tested.p[0, c, t] <= (1 + TAIL) / (1 + len(side))
        assert tested.statistic[0, c, t] == pytest.approx(es[c, t] / abs(side.mean()))


def test_tail_goes_on_where_counts_end():
    null = np.sort(RNG.gamma(10, 0.03, size=1000))
    p = tail_p(np.sort(np.r_[null[-TAIL - 3 :] + 1e-9, np.linspace(0.8, 3, 50)]), null)
    assert (np.diff(p) < 0).all()
    assert (p > 0).all()
    assert tail_p(null[[-TAIL]], null)[0] == (1 + TAIL) / 1001
    assert tail_p(null[[-TAIL]] + 1e-6, null)[0] == pytest.approx((1 + TAIL) / 1001, rel=1e-3)
    assert tail_p(np.array([0.9]), null[:15])[0] == 1 / 16  # too few to fit a tail
    assert tail_p(np.array([0.5, 0.6]), np.full(100, 0.5)).tolist() == [1.0, 1 / 101]
    assert tail_p(np.array([0.5]), null[:0])[0] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("size", "too_high"), [(15, 100), (50, 10), (150, 10)])
def test_tail_agrees_with_many_more_permutations(size, too_high):
    """Small sets have a bounded score, of which a gamma tail knows nothing: their p are too high, never far too low."""
    scores = effects(1, 1000, np.random.default_rng(0))
    positions = np.sort(random_ranks(1000, size, 60_000, seed=1), axis=1)
    null = null_distribution(rank(scores), positions)[0]
    score = np.quantile(null[null >= 0], [1 - 2e-4])
    parts = null.reshape(60, 1000)
    found = np.median([tail_p(score, np.sort(part[part >= 0]))[0] for part in parts])
    assert 2e-4 / 4 < found < 2e-4 * too_high


def test_a_permuted_ranking_is_tested_as_if_alone(random_sets):
    _, sets = random_sets(100, [6, 20, 20])
    scores = effects(3, 100)
    permuted = RNG.permuted(scores, axis=1)
    both, alone = gsea([scores, permuted], sets, permutations=100), gsea([permuted], sets, permutations=100)
    np.testing.assert_allclose(both.statistic[1], alone.statistic[0], atol=1e-12)
    assert np.array_equal(both.p[1], alone.p[0])


def test_threads_pieces_and_repeats_change_nothing(random_sets, monkeypatch):
    monkeypatch.setattr(threads, "_ALONE", 0)
    _, sets = random_sets(100, [6, 6, 20, 20, 20])
    scores = effects(5, 100)
    one, three = gsea([scores], sets, workers=1), gsea([scores], sets, workers=3)
    assert np.array_equal(one.statistic, three.statistic)
    assert np.array_equal(one.p, three.p)
    pieces = [gsea([scores], sets.take(part)) for part in (slice(0, 3), slice(3, 5))]
    assert np.array_equal(one.p, np.concatenate([piece.p for piece in pieces], axis=2))
    assert not np.array_equal(one.p, gsea([scores], sets, seed=1).p)


def test_p_of_random_rankings_is_uniform(random_sets):
    _, sets = random_sets(400, [15])
    p = gsea([RNG.normal(size=(600, 400))], sets, permutations=500).p.ravel()
    assert kstest(p, "uniform").pvalue > 1e-3


def test_a_ranking_of_zeros_says_nothing(random_sets):
    _, sets = random_sets(50, [5, 10])
    tested = gsea([np.zeros((2, 50))], sets, permutations=50)
    assert np.array_equal(tested.statistic, np.zeros((1, 2, 2)))
    assert np.array_equal(tested.p, np.ones((1, 2, 2)))


def test_scores_of_which_one_holds_all_and_a_null_without_one_sign_have_a_finite_result(random_sets):
    """Every random set without the one gene has a score of 0, and no null score is below 0."""
    _, sets = random_sets(50, [5, 10])
    scores = np.zeros((2, 50))
    scores[0, sets.genes_of(0)[0]] = 1e-30
    scores[1, :] = 1.0
    tested = gsea([scores], sets, permutations=50)
    assert np.isfinite(tested.statistic).all()
    assert ((tested.p > 0) & (tested.p <= 1)).all()


@pytest.mark.parametrize("relative_sd", [0.0, 1e-11, 1e-9, 1e-6])
def test_a_null_that_hardly_varies_has_p_between_0_and_1(relative_sd):
    null = np.sort(0.5 * (1 + relative_sd * RNG.normal(size=100)))
    p = tail_p(np.array([0.0, 0.5, 0.5 + 1e-9, 1.0]), null)
    assert ((p > 0) & (p <= 1)).all()
    assert p[-1] <= 1 / 101 + 1e-12


def test_no_permutations_are_refused(random_sets):
    with pytest.raises(InputError, match="use at least 1"):
        gsea([np.ones((1, 50))], random_sets(50, [5])[1], permutations=0)

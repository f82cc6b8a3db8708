import numpy as np
import pytest
from scipy import stats

from cellglass.attribution.statistics import knocked_out, paired, two_sided


def drawn(rng, n_genes=60, n_prototypes=12, sparse=0.6, shift=0.0):
    """Effects of 3 to 5 real and 2 to 5 null partners of each prototype, many exactly 0."""
    prototype, null = [], []
    for p in range(n_prototypes):
        real, nothing = rng.integers(3, 6), rng.integers(2, 6)
        prototype += [p * 10] * (real + nothing)
        null += [False] * real + [True] * nothing
    prototype, null = np.array(prototype), np.array(null)
    effects = rng.normal(0.0, 0.1, (len(null), n_genes)) * (rng.random((len(null), n_genes)) > sparse)
    effects[~null] += shift
    return effects.astype(np.float32), prototype, null


def test_paired_equals_a_double_loop_over_scipy():
    effects, prototype, null = drawn(np.random.default_rng(0), shift=np.linspace(-0.1, 0.1, 60, dtype=np.float32))
    effects[:, 7] = 0.0
    family = np.arange(60) % 5 > 0
    found = paired(effects, prototype, null, family)
    p = np.full(60, np.nan)
    for g in range(60):
        real = effects[~null, g].astype(float)
        assert found.effect[g] == pytest.approx(real.mean(), rel=1e-5, abs=1e-9)
        assert found.se[g] == pytest.approx(stats.sem(real), rel=1e-5, abs=1e-9)
        means = [
            (
                effects[(prototype == c) & ~null, g].mean(dtype=float),
                effects[(prototype == c) & null, g].mean(dtype=float),
            )
            for c in np.unique(prototype)
        ]
        if family[g]:
            p[g] = 1.0 if g == 7 else stats.ttest_rel(*np.array(means).T).pvalue
    np.testing.assert_allclose(found.p, p, rtol=1e-4)
    np.testing.assert_allclose(found.q[family], stats.false_discovery_control(p[family]), rtol=1e-4)
    assert np.isnan(found.q[~family]).all()


def test_prototypes_without_null_partners_count_for_the_effect_alone():
    effects, prototype, null = drawn(np.random.default_rng(1))
    lonely = (prototype == 30) & null
    found = paired(effects[~lonely], prototype[~lonely], null[~lonely], np.ones(60, dtype=bool))
    without = paired(
        effects[prototype != 30], prototype[prototype != 30], null[prototype != 30], np.ones(60, dtype=bool)
    )
    whole = paired(effects, prototype, null, np.ones(60, dtype=bool))
    np.testing.assert_allclose(found.p, without.p)
    np.testing.assert_array_equal(found.effect, whole.effect)


def test_few_prototypes_give_effects_and_no_test():
    effects, prototype, null = drawn(np.random.default_rng(2), n_prototypes=2)
    found = paired(effects, prototype, null, np.ones(60, dtype=bool))
    assert np.isfinite(found.effect).all()
    assert np.isnan(found.p).all()
    assert np.isnan(found.q).all()


def test_real_partners_drawn_like_null_partners_give_no_discoveries():
    rng = np.random.default_rng(3)
    p, share, any_discovery = [], [], []
    for _ in range(60):
        # Effects as they are: scaled by a gene, skewed, mostly 0, and with a part that a prototype's pairs share.
        effects, prototype, null = drawn(rng, n_genes=200, n_prototypes=20)
        own = rng.normal(size=(1000, 200))[prototype]
        skewed = (effects * rng.gamma(0.5, 1.0, 200) * np.exp(rng.normal(size=effects.shape)) + 0.05 * own).astype(
            np.float32
        )
        found = paired(skewed, prototype, null, np.ones(200, dtype=bool))
        p.append(found.p)
        share.append((found.q < 0.05).mean())
        any_discovery.append((found.q < 0.05).any())
    p = np.concatenate(p)
    for level in (0.001, 0.01, 0.05, 0.2):
        assert (p < level).mean() < 1.15 * level + 0.001
    assert np.mean(share) < 0.002
    assert np.mean(any_discovery) < 0.12


def test_planted_differences_are_found():
    rng = np.random.default_rng(4)
    shift = np.zeros(200, dtype=np.float32)
    shift[:10], shift[10:20] = 0.1, -0.1
    effects, prototype, null = drawn(rng, n_genes=200, n_prototypes=20, sparse=0.3, shift=shift)
    found = paired(effects, prototype, null, np.ones(200, dtype=bool))
    assert (found.q[:20] < 0.05).mean() > 0.9
    assert (found.q[20:] < 0.05).mean() < 0.02


def test_knocked_out_equals_a_double_loop_over_scipy():
    rng = np.random.default_rng(5)
    counts = rng.poisson(rng.gamma(0.7, 3.0, (1, 50)), (15, 50)).astype(np.float32)
    counts[:, 3] = 0
    counts[0, 4] = 1e5  # alone in its bin
    effects = np.where(counts > 0, rng.normal(0.02, 0.1, counts.shape), 0).astype(np.float32)
    family = (counts > 0).any(axis=0)
    found = knocked_out(effects, counts, family)
    bins = np.where(counts > 0, np.floor(np.log2(np.maximum(counts, 1))), -1)
    for g in range(50):
        assert found.effect[g] == pytest.approx(effects[:, g].mean(dtype=float), rel=1e-4, abs=1e-9)
        assert found.se[g] == pytest.approx(stats.sem(effects[:, g].astype(float)), rel=1e-4, abs=1e-9)
        d = []
        for c in np.flatnonzero(counts[:, g] > 0):
            others = [h for h in range(50) if h != g and bins[c, h] == bins[c, g]]
            others = others or [h for h in range(50) if h != g and counts[c, h] > 0]
            d.append(effects[c, g].astype(float) - effects[c, others].mean(dtype=float))
        if len(d) < 3:
            assert np.isnan(found.p[g])
        else:
            assert found.p[g] == pytest.approx(stats.ttest_1samp(d, 0.0).pvalue, rel=1e-4)
    tested = ~np.isnan(found.p)
    np.testing.assert_allclose(found.q[tested], stats.false_discovery_control(found.p[tested].astype(float)), rtol=1e-4)


def test_knockouts_of_genes_that_are_all_alike_give_no_discoveries():
    rng = np.random.default_rng(6)
    shares = []
    for _ in range(20):
        counts = rng.poisson(rng.gamma(0.7, 3.0, (1, 300)), (20, 300)).astype(np.float32)
        effects = np.where(counts > 0, np.log1p(counts) * rng.normal(0.05, 0.02, counts.shape), 0).astype(np.float32)
        shares.append((knocked_out(effects, counts, (counts > 0).any(axis=0)).q < 0.05).mean())
    assert np.mean(shares) < 0.02


def test_columns_without_scatter():
    d = np.array([[0.0, 2.0], [0.0, 2.0], [0.0, 2.0]])
    assert two_sided(d).tolist() == [1.0, 0.0]


def test_a_column_of_one_entry_or_none_is_no_test():
    assert np.isnan(two_sided(np.array([[0.0, 2.0]]))).all()
    assert np.isnan(two_sided(np.zeros((0, 2)))).all()
    counted = np.array([[True, False], [True, True], [True, False]])
    p = two_sided(np.array([[1.0, 0.0], [2.0, 5.0], [4.0, 0.0]]), counted.sum(axis=0), counted)
    assert p[0] == pytest.approx(stats.ttest_1samp([1, 2, 4], 0).pvalue)
    assert np.isnan(p[1])


@pytest.mark.parametrize(("real", "nothing"), [(6, 5), (7, 3), (10, 9), (3, 1)])
@pytest.mark.parametrize("effect", [1.0, 0.3, -0.7])
def test_an_effect_that_is_the_same_in_all_pairs_is_no_discovery(real, nothing, effect):
    """1/6 + ... + 1/6 is not 1 to the last bit: the same rounding in each prototype would be a p near 0."""
    prototype = np.repeat(np.arange(8), real + nothing)
    null = np.tile(np.arange(real + nothing) >= real, 8)
    found = paired(np.full((len(null), 3), effect, dtype=np.float32), prototype, null, np.ones(3, dtype=bool))
    assert found.p.tolist() == found.q.tolist() == [1, 1, 1]
    np.testing.assert_allclose(found.effect, effect, rtol=1e-6)


def test_knockouts_that_all_have_the_same_effect_are_no_discovery():
    counts = np.random.default_rng(0).poisson(3.0, (9, 33)).astype(np.float32)
    found = knocked_out(np.where(counts > 0, np.float32(0.3), 0), counts, np.ones(33, dtype=bool))
    assert (found.p == 1).all()


def test_counts_below_one_and_powers_of_two_have_a_bin():
    """A row of few, or fractional, counts is compared within the row, never with another one's bins."""
    counts = np.array([[0.25, 0.5, 1.0, 2.0, 4.0, 2.0**30]] * 4, dtype=np.float32)
    effects = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    found = knocked_out(effects, counts, np.ones(6, dtype=bool))
    small = effects[:, :3].astype(float)  # counts below 2 share a bin
    d = small[:, 0] - small[:, 1:].mean(axis=1)
    assert found.p[0] == pytest.approx(stats.ttest_1samp(d, 0).pvalue, rel=1e-5)
    alone = effects[:, 3].astype(float) - effects[:, [0, 1, 2, 4, 5]].mean(axis=1, dtype=float)
    assert found.p[3] == pytest.approx(stats.ttest_1samp(alone, 0).pvalue, rel=1e-5)

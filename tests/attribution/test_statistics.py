import numpy as np
import pytest
from scipy import stats

from cellglass.attribution.statistics import described, paired


def drawn(rng, n_genes=60, n_prototypes=12, sparse=0.6, shift=0.0, hubs=40):
    """Effects of 3 to 5 real and 2 to 5 null partners of each prototype, many exactly 0; partners may come again."""
    prototype, null = [], []
    for p in range(n_prototypes):
        real, nothing = rng.integers(3, 6), rng.integers(2, 6)
        prototype += [p * 10] * (real + nothing)
        null += [False] * real + [True] * nothing
    prototype, null = np.array(prototype), np.array(null)
    effects = rng.normal(0.0, 0.1, (len(null), n_genes)) * (rng.random((len(null), n_genes)) > sparse)
    effects[~null] += shift
    return effects.astype(np.float32), prototype, rng.integers(hubs, size=len(null)) + 1000 * null, null


def slow(effects, prototype, partner, null):
    """Return T, V and degrees of freedom of one gene by the formulas of `paired`, pair by pair."""
    both = [c for c in np.unique(prototype) if null[prototype == c].any() and not null[prototype == c].all()]
    m, weight = len(both), {}
    for c in both:
        for kind in (False, True):
            mine = [i for i in range(len(null)) if prototype[i] == c and null[i] == kind]
            weight |= {i: (-1 if kind else 1) / (m * len(mine)) for i in mine}
    total = sum(w * effects[i] for i, w in weight.items())
    mean = {kind: sum(abs(w) * effects[i] for i, w in weight.items() if null[i] == kind) for kind in (False, True)}
    r = {i: effects[i] - mean[null[i]] for i in weight}

    def grouped(pairs, group, whole):
        sizes, sums = {}, {}
        for i in pairs:
            sizes[group[i]] = sizes.get(group[i], 0) + abs(weight[i]) / whole
            sums[group[i]] = sums.get(group[i], 0) + weight[i] * r[i]
        groups = 1 / sum(s**2 for s in sizes.values())
        return groups / (groups - 1) * sum(u**2 for u in sums.values()), groups

    variance, fewest = grouped(weight, prototype, 2)
    for kind in (False, True):
        mine = [i for i in weight if null[i] == kind]
        of_cells, groups = grouped(mine, partner, 1)
        variance += max(0, of_cells - grouped(mine, range(len(null)), 1)[0])
        fewest = min(fewest, groups)
    return total, variance, fewest - 1


def test_paired_equals_its_formulas_pair_by_pair():
    given = drawn(np.random.default_rng(0), shift=np.linspace(-0.1, 0.1, 60, dtype=np.float32))
    effects, prototype, partner, null = given
    effects[:, 7] = 0.0
    family = np.arange(60) % 5 > 0
    found = paired(*given, family)
    for g in range(60):
        real = effects[~null, g].astype(float)
        assert found.effect[g] == pytest.approx(real.mean(), rel=1e-5, abs=1e-9)
        assert found.se[g] == pytest.approx(stats.sem(real), rel=1e-5, abs=1e-9)
    total, variance, freedom = np.transpose([slow(e, prototype, partner, null) for e in effects.T.astype(float)])
    floor = np.median(variance[variance > 0])
    p = np.where(family, 2 * stats.t.sf(abs(total) / np.sqrt(np.maximum(variance, floor)), freedom), np.nan)
    np.testing.assert_allclose(found.p, p, rtol=1e-4)
    np.testing.assert_allclose(found.q[family], stats.false_discovery_control(p[family]), rtol=1e-4)
    assert np.isnan(found.q[~family]).all()


def test_prototypes_without_null_partners_count_for_the_effect_alone():
    given = drawn(np.random.default_rng(1))
    family, prototype, null = np.ones(60, dtype=bool), given[1], given[3]
    found = paired(*(column[~((prototype == 30) & null)] for column in given), family)
    without = paired(*(column[prototype != 30] for column in given), family)
    np.testing.assert_allclose(found.p, without.p)
    np.testing.assert_array_equal(found.effect, paired(*given, family).effect)


def test_few_prototypes_or_partners_give_effects_and_no_test():
    few = drawn(np.random.default_rng(2), n_prototypes=2)
    effects, prototype, _, null = drawn(np.random.default_rng(2))
    for given in (few, (effects, prototype, null.astype(int), null)):
        found = paired(*given, np.ones(60, dtype=bool))
        assert np.isfinite(found.effect).all()
        assert np.isnan(found.p).all()
        assert np.isnan(found.q).all()


@pytest.mark.parametrize("hubs", [400, 12], ids=["partners of one prototype", "partners of many"])
def test_real_partners_drawn_like_null_partners_give_no_discoveries(hubs):
    rng = np.random.default_rng(3)
    p, share, any_discovery = [], [], []
    for _ in range(60):
        # Effects as they are: scaled by a gene, skewed, mostly 0, with a part of the prototype and one of the partner.
        effects, prototype, partner, null = drawn(rng, n_genes=200, n_prototypes=20, hubs=hubs)
        own, theirs = rng.normal(size=(1000, 200))[prototype], rng.normal(size=(2000, 200))[partner]
        skewed = effects * rng.gamma(0.5, 1.0, 200) * np.exp(rng.normal(size=effects.shape))
        given = (skewed + 0.05 * own + 0.05 * theirs).astype(np.float32), prototype, partner, null
        found = paired(*given, np.ones(200, dtype=bool))
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
    given = drawn(rng, n_genes=200, n_prototypes=20, sparse=0.3, shift=shift, hubs=400)
    found = paired(*given, np.ones(200, dtype=bool))
    assert (found.q[:20] < 0.05).mean() > 0.9
    assert (found.q[20:] < 0.05).mean() < 0.02


def test_effects_without_a_null_are_described_alone():
    effects = np.random.default_rng(5).normal(size=(9, 4)).astype(np.float32)
    found = described(effects)
    np.testing.assert_allclose(found.effect, effects.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.se, stats.sem(effects), rtol=1e-5)
    assert np.isnan(found.p).all()
    assert np.isnan(found.q).all()
    assert np.isnan(described(effects[:1]).se).all()
    assert np.isnan(described(effects[:0]).effect).all()


@pytest.mark.parametrize(("real", "nothing"), [(6, 5), (7, 3), (10, 9), (3, 1)])
@pytest.mark.parametrize("effect", [1.0, 0.3, -0.7])
def test_an_effect_that_is_the_same_in_all_pairs_is_no_discovery(real, nothing, effect):
    """1/6 + ... + 1/6 is not 1 to the last bit: the same rounding in each prototype would be a p near 0."""
    prototype = np.repeat(np.arange(8), real + nothing)
    null = np.tile(np.arange(real + nothing) >= real, 8)
    effects = np.full((len(null), 3), effect, dtype=np.float32)
    found = paired(effects, prototype, np.arange(len(null)), null, np.ones(3, dtype=bool))
    assert found.p.tolist() == found.q.tolist() == [1, 1, 1]
    np.testing.assert_allclose(found.effect, effect, rtol=1e-6)

"""q-values and Welch's test against SciPy and plain loops, and at the ends of what they may be given."""

import numpy as np
import pytest
import scipy.stats

from cellglass.statistics import benjamini_hochberg, welch

RNG = np.random.default_rng(0)


def test_q_values_equal_a_plain_loop_and_scipys_to_the_last_bit() -> None:
    p = np.r_[RNG.random(500), RNG.random(60) * 1e-3, np.round(RNG.random(40), 1), 0.0, 1.0]
    q = benjamini_hochberg(p)
    order = np.argsort(p)
    slow = np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    np.testing.assert_allclose(q[order], np.minimum(slow, 1))
    np.testing.assert_array_equal(q, scipy.stats.false_discovery_control(p))


def test_q_values_keep_shape_and_their_input() -> None:
    p = RNG.random((6, 7)).astype(np.float32)
    q = benjamini_hochberg(p)
    assert (q.shape, q.dtype) == ((6, 7), np.float64)
    np.testing.assert_array_equal(q.ravel(), benjamini_hochberg(p.ravel()))
    one = np.array([0.3])
    benjamini_hochberg(one)[:] = 0
    assert one[0] == 0.3
    assert benjamini_hochberg(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 40), (25, 7)])
def test_welch_equals_scipy(n: int, m: int) -> None:
    one, other = RNG.normal(size=(n, 30)), RNG.normal(0.5, 3, size=(m, 30))
    test = welch(one.mean(0) - other.mean(0), one.var(0, ddof=1) / n, n, other.var(0, ddof=1) / m, m)
    expected = scipy.stats.ttest_ind(one, other, equal_var=False)
    np.testing.assert_allclose(test.t, expected.statistic, rtol=1e-12)
    np.testing.assert_allclose(test.p, expected.pvalue, rtol=1e-10)
    np.testing.assert_allclose(test.freedom, expected.df, rtol=1e-12)


def test_welch_without_variance_and_with_less_than_a_square_can_hold() -> None:
    test = welch(np.array([0.0, 2.0, 1e-90]), np.array([0.0, 0.0, 1e-180]), 4, np.array([0.0, 0.0, 1e-180]), 5)
    assert test.t[:2].tolist() == [0, 0]
    assert test.freedom.tolist() == [7, 7, 7]
    assert test.p[:2].tolist() == [1, 0]
    assert 0.4 < test.p[2] < 0.6
    assert float(welch(1.0, 0.0, 2, 1.0, 9).freedom) == 8

"""The false discovery rate against matched genes: a plain loop, a term that anything enriches, and random terms."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from cellglass.enrichment.calibrate import Calibration, signed_z

RNG = np.random.default_rng(11)


def test_signed_z_inverts_a_two_sided_p() -> None:
    p = np.array([1.0, 0.05, 1e-12, 0.0])
    statistic = np.array([1.0, -2.0, 3.0, 4.0])
    z = signed_z(p, statistic)
    np.testing.assert_allclose(2 * norm.sf(np.abs(z[:3])), p[:3], rtol=1e-9)
    assert z[1] < 0 < z[2] < z[3] <= 37


def test_null_q_equals_a_plain_loop_over_thresholds() -> None:
    observed, null = RNG.normal(size=(6, 9)).round(2), RNG.normal(size=(5, 6, 9)).round(2)
    observed[:2, :3] += 5
    calibration = Calibration(6, 9, 5)
    calibration.add(slice(0, 4), observed[:, :4], null[:, :, :4])
    calibration.add(slice(4, 9), observed[:, 4:], null[:, :, 4:])
    scale = np.maximum(1, null.std(axis=(0, 1)))
    mean = null.mean(axis=(0, 1))
    z, z_null = (observed - mean) / scale, (null - mean) / scale
    np.testing.assert_allclose(calibration.observed, z, atol=1e-5)

    def rate(cut: float) -> float:
        return min(1.0, (1 + (z_null >= cut).sum()) / 5 / (z >= cut).sum())

    expected = np.array([[min(rate(cut) for cut in z.ravel() if cut <= value) for value in row] for row in z])
    # Bins of 0.01 may put a few of the 270 null values on the other side of a threshold.
    up = observed > 0
    np.testing.assert_allclose(calibration.null_q()[up], expected[up], atol=0.03)
    assert (calibration.null_q()[:2, :3] < 0.1).all()


def test_a_term_that_any_list_enriches_is_not_taken_for_a_finding() -> None:
    """Term 0 has z near 6 in real and in null rankings alike; term 1 only in the real ones."""
    observed, null = RNG.normal(size=(20, 50)), RNG.normal(size=(10, 20, 50))
    observed[:, 0] += 6
    null[:, :, 0] += 6
    observed[:, 1] += 6
    calibration = Calibration(20, 50, 10)
    calibration.add(slice(0, 50), observed, null)
    q = calibration.null_q()
    assert (q[:, 0] > 0.05).all()
    assert (q[:, 1] < 0.05).mean() > 0.9


def test_random_terms_annotate_no_more_than_the_null() -> None:
    found = []
    for _ in range(40):
        calibration = Calibration(20, 50, 10)
        calibration.add(slice(0, 50), RNG.normal(size=(20, 50)), RNG.normal(size=(10, 20, 50)))
        found.append(calibration.rates(0.05)[0] > 0)
    assert sum(found) < 8  # a level of 0.05 passes this in all but one of a thousand


def test_depleted_terms_are_found_from_the_other_end_unless_the_test_has_one_side() -> None:
    observed, null = RNG.normal(size=(6, 9)), RNG.normal(size=(30, 6, 9))
    observed[:2, :3] -= 7
    mirror = Calibration(6, 9, 30)
    mirror.add(slice(0, 9), -observed, -null)
    both, top = Calibration(6, 9, 30), Calibration(6, 9, 30, one_sided=True)
    for calibration in (both, top):
        calibration.add(slice(0, 9), observed, null)
    np.testing.assert_allclose(both.null_q(), mirror.null_q(), atol=0.1)
    assert (both.null_q()[:2, :3] < 0.05).all()
    assert both.rates(0.05)[0] >= 2 / 6
    assert both.rates(0.05)[1] < 0.3
    assert (top.null_q()[observed < 0] == 1).all()

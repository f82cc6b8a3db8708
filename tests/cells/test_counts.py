"""What counts pass, and how other values are named (the messages through files are in test_refusals.py)."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from cellglass.cells.counts import NotCountsError, as_counts


def judge(dense):
    block = sp.csr_matrix(np.asarray(dense))
    return as_counts(block, [f"c{i}" for i in range(block.shape[0])], [f"g{j}" for j in range(block.shape[1])])


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 1 << 24), min_size=3, max_size=3), min_size=1, max_size=5))
def test_integers_pass_unchanged(rows):
    counts = judge(np.array(rows, dtype=np.float64))
    assert counts.dtype == np.float32
    np.testing.assert_array_equal(counts.toarray(), rows)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.float32, np.float64])
def test_types_pass(dtype):
    assert judge(np.array([[1, 0, 100]], dtype=dtype)).toarray().tolist() == [[1, 0, 100]]


def test_stored_zeros_go():
    block = sp.csr_matrix((np.array([0.0, 2.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    assert as_counts(block, ["c"], ["g", "h"]).nnz == 1


def test_rounding_errors_of_files_are_forgiven_but_small_shares_are_not():
    assert judge([[2.00003, 0.99997, 0]]).toarray().tolist() == [[2, 1, 0]]
    with pytest.raises(NotCountsError, match="fractional"):
        judge([[2e-5, 1, 0], [5, 1, 2]])


def test_downsampled_counts_of_one_sum_are_counts():
    assert judge([[5, 3, 2], [1, 9, 0], [0, 0, 10]]).sum() == 30


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), total=st.floats(10, 1e6), log=st.booleans(), keep=st.integers(20, 60))
def test_normalised_and_logged_counts_are_recognised(seed, total, log, keep):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.lognormal(0, 0.5, (30, 1)) * rng.lognormal(-0.5, 1, 60)) + (np.arange(60) == 0)
    values = (counts * (total / counts.sum(axis=1, keepdims=True)))[:, :keep].astype(np.float32)
    with pytest.raises(NotCountsError, match="log-transformed" if log else "is normalised"):
        judge(np.log1p(values) if log else values)


def test_residuals_are_scaled_and_a_lone_negative_is_not():
    rng = np.random.default_rng(0)
    with pytest.raises(NotCountsError, match="scaled"):
        judge(rng.normal(size=(20, 10)))
    with pytest.raises(NotCountsError, match=r"negative values, first -0\.5 in cell 'c1', gene 'g0'"):
        judge([[1, 2, 3], [-0.5, 3, 1]])


def test_halves_among_counts_are_fractional():
    rng = np.random.default_rng(0)
    values = rng.poisson(5.0, (30, 40)) + rng.uniform(0, 1, (30, 40)) * 20
    with pytest.raises(NotCountsError) as caught:
        judge(values)
    assert "holds fractional values" in caught.value.what
    assert "rounded with --round" in caught.value.remedy


@settings(max_examples=60)
@given(st.lists(st.lists(st.floats(0, 500, width=32), min_size=4, max_size=4), min_size=1, max_size=5))
def test_corrected_counts_are_rounded_to_the_nearest_or_told_to_be_no_counts(rows):
    dense = np.array(rows, dtype=np.float64)
    block = sp.csr_matrix(dense)
    try:
        counts = as_counts(block.copy(), range(len(rows)), range(4), rounded=True)
    except NotCountsError as error:
        told = str(error)
        assert "normalised" in told or "log-transformed" in told
        return
    np.testing.assert_array_equal(counts.toarray(), np.rint(dense))
    assert (counts.data > 0).all()


@pytest.mark.parametrize("change", [lambda x: np.log1p(x / x.sum(1, keepdims=True) * 1e4), lambda x: -x])
def test_rounding_is_for_counts_alone(change):
    dense = np.random.default_rng(0).poisson(3, (30, 20)) + 1.0
    with pytest.raises(NotCountsError, match=r"is log-transformed|holds negative"):
        as_counts(sp.csr_matrix(change(dense)), range(30), range(20), rounded=True)


def test_small_corrected_counts_are_no_log_where_rounding_is_asked_for():
    dense = np.random.default_rng(0).poisson(1.0, (30, 20)) * np.random.default_rng(1).uniform(0.85, 1, (30, 20))
    with pytest.raises(NotCountsError, match="is probably log-transformed"):
        as_counts(sp.csr_matrix(dense), range(30), range(20))
    counts = as_counts(sp.csr_matrix(dense), range(30), range(20), rounded=True)
    np.testing.assert_array_equal(counts.toarray(), np.rint(dense))

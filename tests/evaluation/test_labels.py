"""Labels as numbers, stratified splits and bounded samples."""

import numpy as np
import pandas as pd
import pytest

from cellglass.errors import InputError
from cellglass.evaluation.labels import encode_labels, sample_rows, shuffled, split


def test_missing_and_rare_values_take_no_part():
    column = pd.Series(["b"] * 5 + ["a"] * 4 + ["rare"] * 3 + [None, np.nan], dtype="category", name="type")
    labels = encode_labels(column)
    assert labels.names == ["a", "b"]
    assert labels.code.tolist() == [1] * 5 + [0] * 4 + [-1] * 5


def test_numbers_and_truth_values_are_labels_too():
    assert encode_labels(pd.Series([1, 2] * 4)).names == ["1", "2"]
    assert encode_labels(pd.Series([True, False] * 4)).names == ["False", "True"]


@pytest.mark.parametrize("values", [["a"] * 9, [f"cell {i}" for i in range(9)], [None] * 9])
def test_a_column_that_tells_nothing_apart_is_refused(values):
    with pytest.raises(InputError, match=r"label column 'x' has [01] values"):
        encode_labels(pd.Series(values, name="x", dtype=object))


def test_split_keeps_the_shares_of_each_value():
    code = np.repeat([-1, 0, 1, 2], [7, 100, 40, 4])
    taken = split(code, 0.75, np.random.default_rng(0))
    assert [int(taken[code == value].sum()) for value in (-1, 0, 1, 2)] == [0, 75, 30, 3]


def test_split_leaves_a_cell_on_each_side():
    code = np.repeat([0, 1], [2, 2])
    assert split(code, 0.99, np.random.default_rng(0)).tolist().count(True) == 2
    assert split(code, 0.01, np.random.default_rng(0)).tolist().count(True) == 2


def test_shuffled_keeps_the_numbers_in_each_group_and_the_unlabelled():
    rng = np.random.default_rng(0)
    code, groups = rng.integers(-1, 4, 300), rng.integers(0, 2, 300)
    fake = shuffled(code, groups, rng)
    assert (fake != code).any()
    np.testing.assert_array_equal(fake == -1, code == -1)
    for group in (0, 1):
        np.testing.assert_array_equal(np.sort(fake[groups == group]), np.sort(code[groups == group]))


def test_sample_rows():
    np.testing.assert_array_equal(sample_rows(10, 0), np.arange(10))
    rows = sample_rows(1000, 0, 100)
    assert len(set(rows)) == 100
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, sample_rows(1000, 0, 100))
    assert (rows != sample_rows(1000, 1, 100)).any()

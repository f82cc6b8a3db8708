import pandas as pd
import pytest

from cellglass.attribution.methods.path import ENTRY
from cellglass.models.base import CellModel


def test_rows_add_up_to_the_mean_difference(toy):
    block = toy.block(methods=("path",), path_on=("preactivation", "activation"))
    rows = ENTRY.rows(block, "preactivation")
    noted = block.pairs.copy()
    ENTRY.rows(block, "activation")
    pd.testing.assert_frame_equal(block.pairs, noted)  # they are those of the first readout
    real = block.pairs[block.pairs["kind"] == "real"]
    for concept in (0, 3, 4):
        share = real.loc[real["concept"] == concept, "difference"].mean()
        assert rows.loc[rows["concept"] == concept, "effect"].sum() == pytest.approx(share, rel=0.02)
    assert not block.pairs["gap"].isna().any()
    gaps = pd.concat(block.gaps)
    assert len(gaps) == 3 * 2 * 2
    row = gaps[(gaps["concept"] == 3) & (gaps["on"] == "preactivation") & (gaps["kind"] == "real")].iloc[0]
    gap = real.loc[real["concept"] == 3, "gap"]
    assert (row["n"], row["median"], row["max"]) == (15, pytest.approx(gap.median()), pytest.approx(gap.max()))


def test_more_steps_are_more_complete(toy):
    medians = []
    for steps in (4, 256):
        block = toy.block(methods=("path",), steps=steps)
        ENTRY.rows(block, "activation")
        medians.append(block.pairs["gap"].median())
    assert medians[1] < 0.5 * medians[0]


def test_a_model_without_a_gradient_cannot(toy):
    assert ENTRY.impossible(toy.model, toy.cells, "z") is None

    class NoGradient(type(toy.model)):
        path_gradient = CellModel.path_gradient

    toy.model.__class__ = NoGradient
    assert ENTRY.impossible(toy.model, toy.cells, "z") is None  # it has a linear front
    toy.model.fast = False
    note = "no path effects: the toy model has no gradient with respect to counts, so no path effects"
    assert ENTRY.impossible(toy.model, toy.cells, "z") == note

"""The cells of a class: all of a label, donors in turn, the first ones the same however many are taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cellglass.circuits.classes.cells import donors_of, ordered_cells
from cellglass.errors import InputError
from circuits.models import cells_of


def given() -> object:
    cells = cells_of(12)
    obs = cells.obs.copy()
    obs["donor"] = pd.Categorical(["a", "a", "a", "a", "a", "a", "b", "b", "b", "b", None, None])
    return replace(cells, obs=obs)


def test_all_cells_of_the_label_come_once_in_drawn_order() -> None:
    cells = given()
    order = ordered_cells(cells, "type", "B cell", seed=3)
    assert sorted(order.tolist()) == [0, 2, 4, 6, 8, 10]
    np.testing.assert_array_equal(order, ordered_cells(cells, "type", "B cell", seed=3))
    orders = {tuple(ordered_cells(cells, "type", "B cell", seed=seed).tolist()) for seed in range(5)}
    assert len(orders) > 1


def test_donors_take_turns_and_cells_of_none_are_left_out() -> None:
    cells = given()
    order = ordered_cells(cells, "type", "B cell", "donor")
    donors = donors_of(cells, "donor")[order].tolist()
    assert sorted(order.tolist()) == [0, 2, 4, 6, 8]
    assert {*donors[:2]} == {"a", "b"}
    assert {*donors[2:4]} == {"a", "b"}
    assert donors[4] == "a"
    assert donors_of(cells, "donor")[-1] == ""


def test_a_label_or_a_column_that_is_not_there_is_one_line() -> None:
    cells = given()
    with pytest.raises(InputError, match="no cell has 'A cell' in column 'type'; it has: B cell, T cell"):
        ordered_cells(cells, "type", "A cell")
    with pytest.raises(InputError, match="there is no obs column 'typo'"):
        ordered_cells(cells, "typo", "B cell")
    nobody = replace(cells, obs=cells.obs.assign(donor=None))
    with pytest.raises(InputError, match="no cell of 'B cell' has a value in column 'donor'"):
        ordered_cells(nobody, "type", "B cell", "donor")

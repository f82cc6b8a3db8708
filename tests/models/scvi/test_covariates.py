import numpy as np
import pytest
import torch

from cellglass.errors import InputError
from cellglass.models.scvi.covariates import Covariate, one_hot


def test_one_hot_marks_each_cells_category(cells):
    covariates = [Covariate.of(cells, "donor"), Covariate.of(cells, "lab")]
    found = one_hot(covariates, cells, torch.float32).numpy()
    names = ["ann", "bo", "cy", "1", "2"]
    for row, donor, lab in zip(found, cells.obs["donor"], cells.obs["lab"], strict=True):
        assert {name for name, on in zip(names, row, strict=True) if on} == {donor, str(lab)}


def test_a_single_category_says_nothing(cells):
    alone = cells[np.flatnonzero(cells.obs["donor"] == "bo")]
    covariate = Covariate.of(alone, "donor")
    assert covariate.width == 0
    assert one_hot([covariate], cells, torch.float32).shape == (40, 0)


def test_unknown_category_is_named_with_the_known_ones(cells):
    with pytest.raises(InputError, match=r"'cy'.*it knows: ann, bo$"):
        Covariate("donor", ("ann", "bo")).codes(cells)


def test_a_missing_column_is_named_with_those_there(cells):
    with pytest.raises(InputError, match=r"test cells.*'batch'.*donor, lab"):
        Covariate("batch", ("a", "b")).codes(cells)


def test_gaps_are_refused(cells):
    cells.obs["gaps"] = ["a", None] * 20
    with pytest.raises(InputError, match="20 missing values"):
        Covariate.of(cells, "gaps")
    with pytest.raises(InputError, match="has not seen"):
        Covariate("gaps", ("a", "b")).codes(cells)

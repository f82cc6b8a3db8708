"""A class's features in other cells: shares are those of the circuits by hand; a killed test goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellglass.circuits.asked import ask
from cellglass.circuits.choice import on_masks, units
from cellglass.circuits.classes import faithfulness
from cellglass.circuits.classes.faithfulness import class_faithfulness
from cellglass.circuits.editing import Filling, Written, real_answers
from cellglass.errors import InputError
from circuits.classes.made import circuit, donor_cells, transcoders
from circuits.models import model_of


def curve_of(**more) -> pd.DataFrame:
    options = {"n_cells": 2, "sizes": (3, 12, 13), "draws": 2, **more}
    return class_faithfulness(circuit(), model_of("gpt_neox"), donor_cells(), transcoders(), **options)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return curve_of()


def test_shares_are_of_the_classes_features_in_cells_that_did_not_make_it(table: pd.DataFrame) -> None:
    cells, own = donor_cells(), circuit()
    made_it = {name for some in own.about["cell_names"] for name in some}
    others = [i for i in range(12) if cells.obs["type"].iloc[i] == "B cell" and str(cells.obs.index[i]) not in made_it]
    assert len(others) == 2
    assert table["size"].unique().tolist() == [3, 12]  # the circuit has 12 features
    assert set(table["n"]) == {2}
    kept, span, active = [], [], []
    for i in others:
        one = ask(model_of("gpt_neox"), cells[i : i + 1], transcoders().stand_ins, "B cell", "T cell")
        made = units(one.replacement, "whole")
        pairs = list(zip(made.layer.tolist(), made.latent.tolist(), strict=True))
        some = np.array([pairs.index(pair) for pair in own.features()[:3] if pair in pairs])
        everything, nothing = np.arange(len(made)), np.empty(0, dtype=np.int64)
        masks = on_masks(made, one.replacement, [everything, nothing, some])
        full, none, found = real_answers(one, Written(one.frozen, one.replacement, Filling(), *masks))
        kept.append((found - none) / (full - none))
        span.append(abs(full - none))
        active.append(len(some))
    row = table[(table["test"] == "kept") & (table["run"] == "live") & (table["size"] == 3)].iloc[0]
    assert row["share"] == pytest.approx(np.average(kept, weights=span), rel=1e-3, abs=1e-3)
    assert row["active"] == pytest.approx(np.average(active, weights=span), rel=1e-3)
    assert {"random", "random_sd", "own", "sd", "span"} <= {*table}


def test_a_killed_test_goes_on_with_the_same_numbers(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, asked = faithfulness.ask, []

    def stops(*given):
        if len(asked) == 1:
            raise KeyboardInterrupt
        asked.append(given)
        return own(*given)

    monkeypatch.setattr(faithfulness, "ask", stops)
    with pytest.raises(KeyboardInterrupt):
        curve_of(folder=tmp_path)
    monkeypatch.setattr(faithfulness, "ask", lambda *given: (asked.append(given), own(*given))[1])
    pd.testing.assert_frame_equal(curve_of(folder=tmp_path), table, check_exact=True)
    assert len(asked) == 2
    with_others = curve_of(folder=tmp_path, draws=0)  # another setting takes nothing from there
    assert len(asked) == 4
    assert "random" not in with_others


def test_layers_that_stay_are_no_part_of_it() -> None:
    found = curve_of(sizes=(2,), filling=Filling(layers=[1]), by="influence", draws=0, n_cells=1)
    assert (found["active"] <= 2).all()
    whole = curve_of(sizes=(99,), draws=0, n_cells=1)
    assert set(whole["size"]) == {12}


def test_without_an_active_feature_there_is_nothing_to_test() -> None:
    nodes = circuit().nodes.copy()
    nodes.loc[nodes["kind"] == "feature", "number"] = 10**6
    nowhere = replace(circuit(), nodes=nodes)
    with pytest.raises(InputError, match=r"none of 2 cells can be tested; of the last: none of the 3 features is act"):
        class_faithfulness(nowhere, model_of("gpt_neox"), donor_cells(), transcoders(), n_cells=2, sizes=(3,))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"n_cells": 0}, "no cell of 'B cell' is left that did not make the circuit"),
        ({"by": "size"}, "choose of effect, influence, difference"),
    ],
)
def test_wrong_use_is_one_line(more: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        curve_of(**more)

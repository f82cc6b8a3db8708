"""Faithfulness: shares are their formula, everything keeps everything, and strong units beat random ones."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest

from cellglass.circuits.asked import ask
from cellglass.circuits.choice import on_masks, ranked_units, strengths, units
from cellglass.circuits.editing import Filling, Written, frozen_answers, real_answers
from cellglass.circuits.faithfulness import area, areas, faithfulness_curve, mean_curve
from cellglass.errors import InputError
from circuits.models import TARGETS, asked_of, cells_of, model_of, transcoders_of


@pytest.mark.parametrize("level", ["node", "whole"])
def test_shares_are_their_formula(level: str) -> None:
    one = asked_of("gpt_neox")
    made = units(one.replacement, level)
    order = ranked_units(made, strengths(one.frozen, one.replacement, one.answers, "total"))
    curve = faithfulness_curve(one, made, order, sizes=[5, 20, len(made), 10**6], draws=2)
    assert curve["size"].unique().tolist() == [5, 20, len(made)]
    for run, answer in (("live", real_answers), ("frozen", frozen_answers)):

        def at(n: int, removed: bool, answer=answer) -> float:
            masks = on_masks(made, one.replacement, [order[:n]])
            return float(answer(one, Written(one.frozen, one.replacement, Filling(), *masks, removed))[0])

        full, nothing = at(0, True), at(0, False)
        mine = curve[curve["run"] == run].set_index(["test", "size"])["share"]
        for n in (5, 20):
            assert mine["kept", n] == pytest.approx((at(n, False) - nothing) / (full - nothing), abs=1e-3)
            assert mine["lost", n] == pytest.approx((full - at(n, True)) / (full - nothing), abs=1e-3)
        assert mine["kept", len(made)] == pytest.approx(1, abs=1e-3)
        assert mine["lost", len(made)] == pytest.approx(1, abs=1e-3)
        np.testing.assert_allclose(curve.loc[curve["run"] == run, "span"], full - nothing, rtol=1e-3, atol=1e-4)
        assert curve.attrs[f"{run} all"] == pytest.approx(curve.attrs["answer"], rel=1e-3, abs=1e-4)


def test_in_the_frozen_model_shares_of_directly_counted_units_add_up() -> None:
    """Held activations and frozen patterns leave only direct effects, whose sum is the share."""
    one = asked_of("scgpt")
    made = units(one.replacement)
    direct = strengths(one.frozen, one.replacement, one.answers, "direct")
    order = ranked_units(made, direct)
    curve = faithfulness_curve(one, made, order, sizes=[10, 40], draws=1)
    frozen = curve[(curve["run"] == "frozen") & (curve["test"] == "kept")].set_index("size")["share"]
    for n in (10, 40):
        assert frozen[n] == pytest.approx(direct[order[:n]].sum() / direct.sum(), rel=1e-3, abs=1e-3)


def test_the_same_seed_draws_the_same_and_random_circuits_of_everything_are_the_circuit() -> None:
    one = asked_of("geneformer")
    made = units(one.replacement)
    order = np.arange(len(made))
    a, b = (faithfulness_curve(one, made, order, sizes=[10, len(made)], draws=3, seed=4) for _ in range(2))
    pd.testing.assert_frame_equal(a, b)
    everything = a[a["size"] == len(made)]
    np.testing.assert_allclose(everything["random"], everything["share"], atol=1e-4)
    np.testing.assert_allclose(everything[["norm", "shared"]], 1)
    assert (a.loc[a["size"] == 10, "shared"] < 0.5).all()
    c = faithfulness_curve(one, made, order, sizes=[10], draws=3, seed=5)
    assert not np.allclose(c["random"], a[a["size"] == 10]["random"])
    assert "random" not in faithfulness_curve(one, made, order, sizes=[10], draws=0)


def test_random_circuits_apart_from_the_circuit_stand_beside_the_others() -> None:
    one = asked_of("scgpt")
    made = units(one.replacement)
    order = np.argsort(-made.norm)
    plain, both = (
        faithfulness_curve(one, made, order, sizes=[10, 30], draws=2, apart=apart) for apart in (False, True)
    )
    pd.testing.assert_frame_equal(both[plain.columns], plain, rtol=1e-3, atol=1e-4)  # batches differ in size
    assert list(both.columns.difference(plain.columns)) == ["apart", "norm_apart"]
    assert (both["norm_apart"] < both["norm"]).all()  # the largest are all in the circuit
    assert both["apart"].notna().all()
    assert not np.allclose(both["apart"], both["random"])


def test_layers_that_stay_are_no_part_of_any_circuit() -> None:
    one = asked_of("gpt_neox")
    made = units(one.replacement)
    order = np.argsort(-made.norm)
    filling = Filling(layers=[1])
    with pytest.raises(InputError, match="units of layers that stay"):
        faithfulness_curve(one, made, order, sizes=[5], filling=filling)
    later = order[made.layer[order] == 1]
    curve = faithfulness_curve(one, made, later, sizes=[5, len(later)], filling=filling, draws=1)
    everything = curve[curve["size"] == len(later)]
    np.testing.assert_allclose(everything["share"], 1, atol=1e-3)
    plain = faithfulness_curve(one, made, order, sizes=[5], draws=1)
    masks = on_masks(made, one.replacement, [np.flatnonzero(made.layer == 0)])
    first = real_answers(one, Written(one.frozen, one.replacement, Filling(), *masks))
    assert curve.attrs["live nothing"] == pytest.approx(float(first[0]), rel=1e-3, abs=1e-4)
    assert curve.attrs["live nothing"] != pytest.approx(plain.attrs["live nothing"], abs=1e-3)


def test_impossible_curves_are_refused() -> None:
    one = asked_of("scgpt")
    made = units(one.replacement)
    with pytest.raises(InputError, match="give a size of at most as many"):
        faithfulness_curve(one, made, np.arange(len(made)), sizes=[10**6])
    with pytest.raises(InputError, match="no curves"):
        mean_curve([])


def test_area_is_the_mean_over_log_size() -> None:
    assert area(np.array([10, 100, 1000]), np.array([0.0, 0.5, 1.0])) == pytest.approx(0.5)
    assert area(np.array([10, 20, 1000]), np.array([0.3, 0.3, 0.3])) == pytest.approx(0.3)
    assert area(np.array([10]), np.array([0.4])) == 0.4
    sizes = np.array([3, 9, 200])
    shares = np.array([0.1, 0.7, 0.9])
    x = np.log(sizes)
    by_hand = sum((x[i + 1] - x[i]) * (shares[i] + shares[i + 1]) / 2 for i in range(2)) / (x[2] - x[0])
    assert area(sizes, shares) == pytest.approx(by_hand)


def test_curves_of_cells_have_a_mean_and_areas() -> None:
    one = pd.DataFrame({"test": "kept", "run": "live", "size": [10, 100, 300], "share": [0.2, 0.6, 0.9], "random": 0.1})
    one["span"] = 3.0
    two = one.assign(share=[0.4, 0.8, 0.9], span=-1.0)[:2]
    found = mean_curve([one, two])
    assert found["size"].tolist() == [10, 100]  # 300 is of one cell alone
    np.testing.assert_allclose(found["share"], [0.25, 0.65])  # what features do in both, 3 and 1, counts
    np.testing.assert_allclose(found["sd"], np.std([0.2, 0.4], ddof=1))
    np.testing.assert_allclose(found["span"], 1)
    assert areas(found).loc[("kept", "live"), "share"] == pytest.approx(0.45)
    assert areas(found).loc[("kept", "live"), "random"] == pytest.approx(0.1)


def test_transcoders_that_write_nothing_are_found_out() -> None:
    silent = [copy.deepcopy(one) for one in transcoders_of("scgpt")]
    for one in silent:
        one.decoder.zero_()
    asked = ask(model_of("scgpt"), cells_of()[:1], silent, *TARGETS["scgpt"])
    made = units(asked.replacement)
    with pytest.raises(InputError, match="these transcoders carry nothing of it"):
        faithfulness_curve(asked, made, np.arange(len(made)), sizes=[5])

"""The methods there are: names cost nothing, facts are consistent, rankings follow from them."""

import dataclasses
import subprocess
import sys

import pandas as pd
import pytest

from cellglass.attribution import METHODS, AttributionConfig
from cellglass.attribution.registry import gene_rankings, ranking_run

HEAVY = ("torch", "numpy", "pandas", "scanpy")


def test_names_and_settings_cost_nothing() -> None:
    code = (
        "import sys; from cellglass.attribution import METHODS, AttributionConfig; list(METHODS); AttributionConfig(); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_names_come_in_the_order_in_which_people_read_them() -> None:
    assert list(METHODS) == ["path", "swap", "shapley", "gradient", "knockout", "de", "correlation"]


@pytest.mark.parametrize("name", METHODS)
def test_facts_of_a_method_agree_with_each_other(name) -> None:
    method = METHODS[name]
    assert method.name == name
    assert method.title
    assert method.cost.endswith(".")
    assert method.ranking is None or method.ranking in method.readouts
    assert method.asks_model == (set(method.readouts) <= {"activation", "preactivation"})
    assert method.counterfactual or method.edits is None
    assert set(method.reads(AttributionConfig())) <= set(method.readouts)


def test_the_most_telling_ranking_comes_first(monkeypatch) -> None:
    first = [("path", "activation"), ("swap", "activation"), ("shapley", "activation"), ("gradient", "activation")]
    assert gene_rankings() == (*first, ("de", "expression"), ("correlation", "expression"))
    best = dataclasses.replace(METHODS["knockout"], ranking="preactivation", preference=0)
    monkeypatch.setitem(METHODS._loaded, "knockout", best)
    assert gene_rankings()[0] == ("knockout", "preactivation")


def test_the_ranking_that_was_run_needs_the_method_and_its_readout() -> None:
    table = pd.DataFrame({"method": ["path", "de", "knockout"], "on": ["preactivation", "expression", "activation"]})
    assert ranking_run(table) == ("de", "expression")
    assert ranking_run(table.iloc[2:]) is None
    assert ranking_run(table.astype("category")) == ("de", "expression")

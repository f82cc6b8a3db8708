"""``benchmarks/planted_difficulty.py``: its page says what the figures say. The study itself is no test."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
BASES = {"concepts": 0.99, "clusters": 0.7, "ica": 0.98, "ideal directions": 0.995}


@pytest.fixture(scope="module")
def difficulty() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("planted_difficulty")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    """Two settings, two seeds, two programs of either sort: in the second seed of the second ICA is ahead."""
    rows = [
        (setting, seed, basis, method, program, auroc + 0.02 * (basis == "ica" and hard and seed == 1), program > 1)
        for hard, setting in enumerate(("1,000 cells", "400 cells"))
        for seed in range(2)
        for basis, auroc in BASES.items()
        for method in ("path", "swap", "differential expression")
        for program in range(4)
    ]
    table = pd.DataFrame(rows, columns=["setting", "seed", "basis", "method", "program", "auroc", "across"])
    return table.assign(precision=table["auroc"] / 2, correlation=0.9, reported=True)


def test_the_page_says_who_is_ahead_and_in_how_many_seeds(difficulty: Any, found: pd.DataFrame) -> None:
    page = difficulty.markdown(found, {"cores": 1, "cpu": "a processor"})
    assert "*1,000 cells*: concepts 0.990, ICA 0.980 (concepts ahead in 2 of 2 seeds)" in page
    assert "*400 cells*: concepts 0.990, ICA 0.990 (concepts ahead in 1 of 2 seeds)" in page
    assert "the best cluster 0.700 (concepts ahead in 2 of 2 seeds)" in page
    easy, hard = (
        f"| path | {setting} | 0.990 ± 0.000 | 0.700 ± 0.000 | {ica} | 0.995 ± 0.000 | {more} |"
        for setting, ica, more in (
            ("1,000 cells", "0.980 ± 0.000", "+0.010 ± 0.000 | 2 of 2"),
            ("400 cells", "0.990 ± 0.014", "+0.000 ± 0.014 | 1 of 2"),
        )
    )
    assert easy in page
    assert hard in page
    assert "*400 cells*: cells 400" in page
    assert "weak programs" not in page  # none was run
    found = found.assign(reported=(found["basis"] != "concepts") | (found["program"] > 0))
    line = "| 1,000 cells | 3.0 ± 0.0 | 0.990 ± 0.000 | 0.980 ± 0.000 | 0.990 ± 0.000 | 0.980 ± 0.000 |"
    assert line in difficulty.reported(found)


def test_the_rows_have_means_and_spreads_of_every_figure(difficulty: Any, found: pd.DataFrame) -> None:
    rows = [asdict(row) for row in difficulty.rows_of(found)]
    value = {(row["metric"], row["name"]): row["value"] for row in rows}
    name = "400 cells, programs across types: path on ica"
    assert value["auroc", name] == pytest.approx(0.99)
    assert value["auroc_sd", name] == pytest.approx(0.02 / 2**0.5)
    assert value["precision", name] == pytest.approx(0.495)
    json.dumps(rows, allow_nan=False)
    one = [row.metric for row in difficulty.rows_of(found[found["seed"] == 0])]
    assert not any(metric.endswith("_sd") for metric in one)


def test_every_setting_can_be_simulated(difficulty: Any) -> None:
    from cellglass.cells.simulate import simulate

    for setting in difficulty.SETTINGS.values():
        truth = simulate(**{**setting, "n_cells": 20}, seed=0)
        assert truth.activity.shape == (20, 20)

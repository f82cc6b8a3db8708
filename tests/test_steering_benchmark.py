"""The study of steering: a prediction without fault scores 1, means and tables hold the figures of the rows."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.activations.rows import MemoryRows
from cellglass.cells.cells import Cells
from cellglass.interventions import Subject

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def study() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("steering")
    sys.path.remove(str(BENCHMARKS))


def test_groups_are_of_a_type_a_condition_and_a_donor(study: Any) -> None:
    obs = pd.DataFrame(
        {
            "cell_type": ["B", "B", "T", "B", "B"],
            "group_id": ["ctrl", "stim", "ctrl", "ctrl", "stim"],
            "sample_id": ["ctrl101", "stim101", "ctrl101", "ctrl107", "stim107"],
        },
        index=list("abcde"),
    )
    cells = Cells(sp.csr_matrix(np.ones((5, 2), dtype=np.float32)), pd.DataFrame({"symbol": ["x", "y"]}), obs)
    one = Subject(None, "z", MemoryRows(torch.zeros(5, 2)), None, cells)  # type: ignore[arg-type]  # neither is asked
    assert study.kinds(one) == ["B", "T"]
    assert [part.tolist() for part in study.group(one, "B")] == [[0, 3], [1, 4]]
    assert [part.tolist() for part in study.group(one, "B", "107")] == [[3], [4]]


def test_means_and_spreads_are_over_seeds_and_stand_in_the_page(study: Any) -> None:
    figures = [
        {"variant": variant, "type": name, "seed": seed, "way": way, "metric": metric, "value": 0.1 * seed + 0.3}
        for variant in (study.TYPES, study.DONORS)
        for name in ("B cells", "T cells")
        for way in ("concepts", "expression")
        for metric in study.METRICS
        for seed in range(3)
    ]
    figures.append({**figures[0], "way": "none", "value": float("nan")})
    rows = list(study.summed(pd.DataFrame(figures)))
    assert not any("none" in row.name for row in rows)
    found = {(row.metric, row.name): row.value for row in rows}
    assert found["pearson", "other types: B cells: concepts"] == pytest.approx(0.4)
    assert found["pearson, sd", "other types: B cells: concepts"] == pytest.approx(0.1)
    page = study.markdown(rows, {"cores": 2, "cpu": "x"}, 3)
    assert "| concepts | 0.40 ± 0.10 | 0.40 ± 0.10 |" in page
    assert "## The other donor" in page
    assert "## A type never seen" not in page

"""``benchmarks/class_deletions.py``: means, lists held against sets, halves; effects of cells, kept; all, small."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellglass.circuits.asked import ask
from cellglass.circuits.deletion import counterfactuals
from cellglass.circuits.removal import removals
from circuits.classes.made import donor_cells, transcoders
from circuits.models import model_of

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("class_deletions_lists")


def test_lists_are_of_means_over_all_cells_and_halves_are_told(study: Any) -> None:
    rows = [(f"g{gene}", cell, 30.0 - gene) for cell in range(4) for gene in range(12)]
    table = pd.DataFrame(rows, columns=["gene", "cell", "total"])
    table = table.assign(**dict.fromkeys(("removal", "features", "deletion"), table["total"]))
    table.loc[(table["gene"] == "g0") & (table["cell"] > 0), "features"] = -100.0
    assert study.mean_of(table[table["cell"] < 2], "total", np.arange(4))["g1"] == 29 / 2
    other = table.assign(features=-table["features"])
    counts = pd.Series({f"g{i}": 12.0 - i for i in range(12)})
    found = {"trained": table, "random 0": table, "random 1": other}
    values = {(row.metric, row.name): row.value for row in study.listed("B", found, counts, frozenset({"g0", "g11"}))}
    assert values["known among first 10", "B, trained, total"] == 1
    assert values["known among first 10", "B, trained, features"] == 0
    assert values["known among first 10", "B, random, features"] == (0 + 2) / 2
    assert ("known among first 10, p", "B, random, features") not in values
    assert ("known among first 10", "B, random, deletion") not in values
    assert values["halves, Jaccard of the first genes", "B, trained, total"] == 1
    assert values["halves, Jaccard of the first genes", "B, trained, features"] == 1  # g0 is low in both halves
    assert values["known among first 10", "B, differential expression"] == 1
    assert values["first genes", "B, trained, features, g1"] == 29


def test_effects_are_those_of_the_cells_and_are_kept(study: Any, tmp_path: Path) -> None:
    given, model = transcoders().stand_ins, model_of("gpt_neox")
    table = study.effects(model, donor_cells()[:2], given, ("B cell", "T cell"), tmp_path / "deep" / "kept.csv")
    one = ask(model, donor_cells()[1:2], given, "B cell", "T cell")
    own = table[table["cell"] == 1].set_index("gene")
    reference = counterfactuals(one, given)
    np.testing.assert_allclose(own["features"][reference.index], reference["features"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(own["removal"], removals(one)[own.index], rtol=1e-6, atol=1e-9)
    again = study.effects(None, None, None, ("", ""), tmp_path / "deep" / "kept.csv")
    pd.testing.assert_frame_equal(again, table)


@pytest.mark.slow
def test_the_small_study_measures_and_resumes(tmp_path: Path) -> None:
    command = [sys.executable, BENCHMARKS / "class_deletions.py", "--quick", "--work", tmp_path / "work"]
    rows = []
    for _ in range(2):
        done = subprocess.run([*command, "--json", tmp_path / "rows.json"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        rows.append(json.loads((tmp_path / "rows.json").read_text())["rows"])
    assert rows[0] == rows[1]
    found = {(row["metric"], row["name"]): row["value"] for row in rows[0]}
    for ranking in ("trained, features", "random, features", "trained, deletion"):
        assert 0 <= found["markers among first 10", f"CD19+ B, {ranking}"] <= 10

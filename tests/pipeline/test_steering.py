"""Steering in a run: groups and concepts by name, beside what is real; the same seed says the same.

Whether it leads where it should is asked of a model that decodes well, in tests/interventions.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cellglass
from cellglass.cells import open_cells
from cellglass.errors import InputError
from cellglass.interventions import real_change
from cellglass.pipeline.run import Run
from cellglass.pipeline.steering import steer
from cellglass.vocabulary import STEERED


def _types(run: Run) -> list[str]:
    return sorted(map(str, open_cells(run.folder / "work/explained").obs["cell_type"].unique()))


def test_a_type_is_steered_to_and_the_command_says_the_same(
    small_run: Run, command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    one, other = _types(small_run)[:2]
    asked = {"cell_type": one}, {"cell_type": other}
    found = cellglass.steer(small_run.folder, *asked, doses=[0, 1], draws=3)
    assert set(found.genes["way"]) == set(STEERED)
    scores = found.scores.set_index(["way", "dose"])
    assert scores.loc[("expression", 1.0), "pearson"] > 0.6  # halves of the cells agree
    for control in ("random", "random concepts"):
        assert scores.loc[(control, 1.0), "moved"] == pytest.approx(scores.loc[("concepts", 1.0), "moved"], rel=1e-3)
    assert scores.loc[("concepts", 0.0), "explained"] == 0
    assert found.about["carried"] > 0.5
    assert found.about["carried_random"] is None
    again = steer(small_run.folder, *asked, doses=[0, 1], draws=3)
    pd.testing.assert_frame_equal(again.genes, found.genes)

    cells = open_cells(small_run.folder / "work/explained")
    kind = cells.obs["cell_type"].astype(str).to_numpy()
    sizes = [len(np.flatnonzero(kind == name)) for name in (one, other)]
    assert [a + b for a, b in zip(found.about["learnt"], found.about["scored"], strict=True)] == sizes
    whole = real_change(cells, *(np.flatnonzero(kind == name) for name in (one, other)))
    real = found.genes[found.genes["way"] == "none"].set_index("gene")["real"].reindex(cells.genes.index)
    assert np.corrcoef(real, whole)[0, 1] > 0.9

    place = tmp_path / "table.parquet"
    words = ["steer", small_run.folder, "--from", f"cell_type={one}", "--to", f"cell_type={other}", "--quiet"]
    words += ["--dose", "0", "--dose", "1", "--draws", "3", "--out", place]
    status, shown, _ = command(*words)
    assert status == 0
    assert "mean difference of expression" in shown
    pd.testing.assert_frame_equal(pd.read_parquet(place), found.genes)
    status, shown, _ = command(*words, "--json")
    told = json.loads(shown)
    assert told["carried"] == pytest.approx(found.about["carried"])
    assert len(told["scores"]) == len(found.scores)


def test_the_fewest_are_some_of_those_that_are_named(small_run: Run) -> None:
    one, other = _types(small_run)[:2]
    asked = {"cell_type": one}, {"cell_type": other}
    every = steer(small_run.folder, *asked, doses=[1], draws=2).concepts
    made = steer(small_run.folder, *asked, doses=[1], draws=2, share=0.3, cells=20)
    few, about = made.concepts, made.about
    assert 0 < len(few) < len(every)
    assert about["carried"] > about["carried_random"]
    largest = every.loc[every["shift"].abs().idxmax()]
    by_name = steer(small_run.folder, *asked, doses=[1], draws=2, concepts=[str(largest["concept"])]).concepts
    pd.testing.assert_series_equal(by_name.iloc[0], largest, check_names=False)


def test_what_cannot_be_is_said(small_run: Run, tmp_path: Path) -> None:
    one, other = _types(small_run)[:2]
    with pytest.raises(InputError, match=r"no cell has cell_type 'none such'; there are:"):
        steer(small_run.folder, {"cell_type": one}, {"cell_type": "none such"})
    with pytest.raises(InputError, match="there is no obs column 'kind'"):
        steer(small_run.folder, {"kind": one}, {"cell_type": other})
    with pytest.raises(InputError, match="cells are in both groups"):
        steer(small_run.folder, {"cell_type": one}, {"cell_type": one})
    with pytest.raises(InputError, match="has no label"):
        steer(small_run.folder, {}, {"cell_type": one})
    with pytest.raises(InputError, match="there is no concept 'nobody'"):
        steer(small_run.folder, {"cell_type": one}, {"cell_type": other}, concepts=["nobody"])
    atlas = Path(shutil.copytree(small_run.folder, tmp_path / "atlas"))
    shutil.rmtree(atlas / "work" / "explained")
    with pytest.raises(InputError, match="is gone, so there are no cells to move"):
        steer(atlas, {"cell_type": one}, {"cell_type": other})

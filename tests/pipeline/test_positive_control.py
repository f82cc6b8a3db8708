"""A program planted in counts: what is planted, and that explaining the cells finds it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cellglass.atlas import open_atlas
from cellglass.cells import Simulated
from cellglass.errors import InputError
from cellglass.pipeline.positive_control import plant, positive_control
from cellglass.pipeline.run import Run


def test_members_gain_counts_in_cells_that_have_it_and_nothing_else_changes(planted: Simulated) -> None:
    cells = planted.cells
    made = plant(cells, effect=1.0, seed=3)
    gained = (made.cells.counts - cells.counts).toarray()
    assert gained.min() == 0
    assert made.members.sum() == 30
    assert np.array_equal(np.flatnonzero(gained.any(axis=0)), np.flatnonzero(made.members))
    assert not gained[made.activity == 0].any()
    assert 0.08 < (made.activity > 0).mean() < 0.24
    totals, share = cells.counts.sum(axis=1).A1, cells.counts.sum(axis=0).A1 / cells.counts.sum()
    expected = np.outer(totals * np.expm1(made.activity), share[made.members]).sum()
    assert gained.sum() == pytest.approx(expected, rel=0.05)
    again = plant(cells, effect=1.0, seed=3)
    assert (again.cells.counts != made.cells.counts).nnz == 0
    assert plant(cells, effect=1.0, seed=4).members.tolist() != made.members.tolist()
    with pytest.raises(InputError, match="an effect above 0, not 0"):
        plant(cells, effect=0)
    with pytest.raises(InputError, match="to plant a program of 30 there must be 60"):
        plant(cells.select_genes(range(40)))


@pytest.mark.slow
def test_it_is_looked_for_and_the_audit_says_how_well_it_was_found(default_run: Run, tmp_path: Path) -> None:
    atlas = Path(shutil.copytree(default_run.folder, tmp_path / "atlas"))
    before = {one.question: one.verdict for one in open_atlas(atlas).audit()}
    assert before["positive control"] == "not known"
    found = positive_control(atlas, effect=1.5)
    assert json.loads((atlas / "audit.json").read_text())["planted"] == found
    assert found["correlation"] > 0.3
    assert found["auroc"] > 0.6
    after = {one.question: one for one in open_atlas(atlas).audit()}
    assert f"AUROC {found['auroc']:.2f}" in after["positive control"].figures
    assert {name: one.verdict for name, one in after.items() if name != "positive control"} == {
        name: verdict for name, verdict in before.items() if name != "positive control"
    }
    shutil.rmtree(atlas / "work" / "cells")
    with pytest.raises(InputError, match="is gone, so there are no counts to plant in"):
        positive_control(atlas)

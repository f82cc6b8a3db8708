"""Codes of a run: what lies on disk is what the dictionary gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from cellglass.pipeline import workspace
from cellglass.pipeline.explain import STAGES
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.stages import codes as stage


def test_the_codes_on_disk_are_the_dictionarys(small_run: Run) -> None:
    store, site = workspace.open_activations(small_run)
    codes = workspace.open_codes(small_run)
    expected = workspace.open_concepts(small_run).encode(store.read(site, np.arange(400))).to_csr()
    assert codes.format == "csc"
    assert codes.shape == (400, 24)
    assert abs(codes - expected).max() < 1e-5
    assert codes.data.min() > 0
    assert np.diff(codes.tocsr().indptr).max() <= 4


def test_many_units_give_what_one_gives(small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(small_run.folder, tmp_path / "atlas")
    run = Run(tmp_path / "atlas", small_run.config, small_run.inputs)
    before = workspace.open_codes(run)
    monkeypatch.setattr(stage, "CELLS_A_UNIT", 64)
    run.path(workspace.CODES).unlink()
    assert len(stage.CodesStage(run).units()) == 7
    run_stages(run, STAGES)
    after = workspace.open_codes(run)
    assert (before.indptr == after.indptr).all()
    assert (before.indices == after.indices).all()
    np.testing.assert_allclose(before.data, after.data, atol=1e-6)

"""An atlas against an experiment in which whole programs fall silent with their strongest gene."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.cells import Cells, Simulated, write_cells
from cellglass.cli.app import main
from cellglass.errors import InputError
from cellglass.pipeline import workspace
from cellglass.pipeline.perturbations import _asked, _knock_outs, _opened, hold_against
from cellglass.pipeline.run import Run


@pytest.fixture
def atlas(small_run: Run, planted: Simulated, tmp_path: Path) -> Path:
    """Return the atlas with other cells in it: controls, and six knock-outs of a gene that takes its program along."""
    run = dataclasses.replace(small_run, folder=Path(shutil.copytree(small_run.folder, tmp_path / "atlas")))
    cells, parts, guides = workspace.open_explained(run), [], []
    for name in [None, *planted.programs]:
        counts = cells.counts.tolil()
        if name is not None:
            counts[:, np.flatnonzero(planted.membership[name])] = 0
        parts.append(counts.tocsr())
        guides += [("control" if name is None else f"{planted.programs[name].idxmax()}_1")] * cells.n_cells
    obs = pd.DataFrame(
        {"guide": guides, "donor": np.arange(len(guides)) % 4}, index=[f"c{i}" for i in range(len(guides))]
    )
    joined = Cells(sp.vstack(parts, format="csr"), cells.genes, obs.astype({"donor": str}))
    shutil.rmtree(run.path(workspace.EXPLAINED))
    write_cells(joined, run.path(workspace.EXPLAINED))
    model, dictionary = workspace.open_model(run), workspace.open_concepts(run)
    codes = dictionary.encode(model.activations(joined, ["z"])["z"]).to_csr().tocsc()
    workspace.save_sparse(run.path(workspace.CODES), codes)
    return run.folder


def test_programs_that_fall_silent_are_seen(atlas: Path) -> None:
    heard: list[tuple[int, int]] = []
    found = hold_against(atlas, "guide", "control", progress=lambda _, done, total: heard.append((done, total)))
    table = found.agreement.set_index(["of", "name", "measure"]).sort_index()
    for of in ("concepts", "genes"):
        assert table.loc[(of, "co-expression", "pearson"), "headline"] > 0.4, "members of a program vary together"
        assert table.loc[(of, "knock-out", "pearson"), "ceiling"] > 0.9
        assert table.loc[(of, "mean", "pearson"), "value"] == pytest.approx(0, abs=0.05)
        assert np.isfinite(table.loc[(of, "knock-out"), "value"]).all()
    assert heard[-1] == (6, 6)
    assert (found.shifts.groupby("perturbation")["q"].min() < 0.01).all()
    assert set(found.shifts["test"]) == {"cells"}
    assert found.named.n == len(found.places) == 6
    assert found.places["matched"].eq(50).all()
    assert not found.notes


def test_a_knock_out_is_the_mean_change_of_all_controls_run_whole(atlas: Path) -> None:
    run = _opened(atlas)
    cells, model, dictionary = (getattr(workspace, f"open_{name}")(run) for name in ("explained", "model", "concepts"))
    asked = _asked(cells, "guide", "control")
    hit, findings = np.array([2, 4]), workspace.open_findings(run)
    found = _knock_outs(run, asked, hit, cells, 10**6, lambda *_: None)
    controls = cells[np.flatnonzero(asked.group == 0)]
    for row, i in enumerate(hit):
        counts = controls.counts.tolil()
        counts[:, asked.target[i]] = 0
        sites = [model.activations(each, ["z"])["z"] for each in (controls, controls.with_counts(counts.tocsr()))]
        before, after = (dictionary.encode(z).to_csr().toarray()[:, findings].mean(axis=0) for z in sites)
        np.testing.assert_allclose(found["concepts"][row], after - before, atol=1e-5)
        shares = [model.decode("z", z, controls).double() for z in sites]
        before, after = (np.log1p(1e4 * np.asarray(s / s.sum(1, keepdim=True))).mean(axis=0) for s in shares)
        np.testing.assert_allclose(found["genes"][row], after - before, atol=1e-5)


def test_replicates_are_the_unit_where_they_are_named(atlas: Path) -> None:
    cells = hold_against(atlas, "guide", "control", cells=5)
    donors = hold_against(atlas, "guide", "control", replicate="donor", cells=5)
    assert set(donors.shifts["test"]) == {"paired"}
    assert donors.shifts["n"].eq(4).all()
    np.testing.assert_allclose(donors.shifts["shift"], cells.shifts["shift"], atol=1e-6)
    assert donors.shifts["q"].median() > cells.shifts["q"].median()


def test_what_does_not_fit_is_said(atlas: Path) -> None:
    with pytest.raises(InputError, match="no cell has 'none' in obs column 'guide'; its values are: "):
        hold_against(atlas, "guide", "none")
    with pytest.raises(InputError, match="no obs column 'sgRNA'"):
        hold_against(atlas, "sgRNA", "control")
    found = hold_against(atlas, "donor", "0")
    assert found.agreement.empty
    assert "0 perturbations hit a gene of the model" in found.notes[0]
    shutil.rmtree(atlas / workspace.CELLS)
    with pytest.raises(InputError, match="--keep-counts"):
        hold_against(atlas, "guide", "control")


def test_the_command_writes_tables_and_says_what_was_found(
    atlas: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["perturbations", str(atlas), "--column", "guide", "--control", "control", "--cells", "20", "--quiet"]
    monkeypatch.setattr("sys.argv", ["cellglass", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    shown = capsys.readouterr().out
    assert "knock-out" in shown
    assert "co-expression" in shown
    assert "cells are the unit" in shown
    for name in ("agreement", "shifts", "places"):
        assert len(pd.read_csv(atlas / "perturbations" / f"{name}.csv"))

"""Folders of models as people have them, from the collection of inputs beside the repository; skipped without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from cellglass.errors import InputError
from cellglass.models import load
from cellglass.models.base import CellModel

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"

SCGPT = {
    # folder: what is said where it is refused, or None
    "tutorial_annotation": None,
    "epoch_file": None,
    "dab_only": None,
    "wrapped": None,
    "half": None,
    "integration": "normalises each cell by the statistics of its batch",
    "perturbation": "reads a flag of each perturbed gene",
    "no_args": "there is no args.json in it",
    "short_vocab": "vocab.json has .* tokens and the model",
    "whole_model": "save its weights alone",
}


def made(name: str, folder: Path) -> Path:
    """Run a program of the collection; it writes into `folder`."""
    if not (CASES / f"{name}.py").is_file():
        pytest.skip(f"no inputs at {CASES}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, CASES / f"{name}.py", folder], check=True, env=environment, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cases")
    made("make_small_transformers", root / "small_transformers")
    made("scgpt_folders", root / "scgpt_folders")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", SCGPT)
def test_folders_of_scgpt(folders: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    said = SCGPT[name]
    if said is not None:
        with pytest.raises(InputError, match=said) as caught:
            load(folders / "scgpt_folders" / name)
        assert "\n" not in str(caught.value)
        return
    model: CellModel = load(folders / "scgpt_folders" / name)
    assert model.kind == "scgpt"
    if name != "half":
        assert model.fingerprint() == load(folders / "small_transformers" / "scgpt").fingerprint()
    assert ("grad_reverse_discriminator" in caplog.text) == (name == "dab_only")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scgpt", "gf_dicts", "gf_weights", "scvi"])
def test_pointers_in_place_of_large_files(tmp_path: Path, name: str) -> None:
    folder = made("lfs_pointers", tmp_path / "cases") / name
    with pytest.raises(InputError, match=r"is a Git LFS pointer, not the file itself; fetch that with: git .*lfs pull"):
        load(folder)


@pytest.mark.slow
def test_a_model_few_of_whose_genes_are_there_runs_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """8 of the 150 genes: the coverage stands in the run, which says it."""
    from cellglass import cells_from_anndata
    from cellglass.models import scvi
    from cellglass.pipeline import workspace
    from cellglass.pipeline.config import make_config
    from cellglass.pipeline.explain import STAGES
    from cellglass.pipeline.run import Run
    from cellglass.pipeline.runner import run_stages

    cells = made("scvi_few_genes_found", tmp_path / "few") / "in.h5ad"
    whole = ad.read_h5ad(CASES.parent / "data" / "cells" / "kang_ctrl_stim_1556x1267.h5ad")[:300, :150].copy()
    whole = whole[np.asarray(whole.X.sum(axis=1)).ravel() > 0].copy()
    scvi.fit(cells_from_anndata(whole), epochs=2).save(tmp_path / "model")
    config = make_config({"model": {"path": str(tmp_path / "model")}})
    run = Run(tmp_path / "atlas", config, {"cells": cells})
    run_stages(run, STAGES[:2])
    found = workspace.open_coverage(run)["coverage"]
    assert (found["found"], found["missing"], found["unknown"]) == (8, 142, 1117)
    assert 0 < found["counts"] < 0.1
    assert "only 8 of the scvi model's 150 genes are in the cells, the others count 0" in caplog.text


@pytest.mark.slow
def test_mouse_symbols_that_are_capitalised_human_ones(tmp_path: Path) -> None:
    from cellglass.cells import read_cells
    from cellglass.enrichment.choose import choose
    from cellglass.enrichment.config import EnrichmentConfig

    cells = read_cells(made("mouse_symbols", tmp_path / "mouse") / "in.h5ad")
    chosen = choose(EnrichmentConfig(), list(cells.symbols))
    assert chosen.mapped == ["bundled"]
    assert len(chosen.notes) == 1

"""The whole way: from Python and after kills, to the same atlas; what did not change is not run again."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cellglass
from cellglass.atlas.manifest import artefact_digest
from cellglass.cells import Simulated
from cellglass.errors import InputError
from cellglass.pipeline.config import DictionaryConfig, RunConfig, make_config, merge
from cellglass.pipeline.explain import STAGES, explain, run_pipeline
from cellglass.pipeline.run import Run
from cellglass.pipeline.workspace import open_model
from forked import end, run, start


def _digests(folder: Path) -> dict[str, str]:
    """Return the digest of every artefact, those of the work folder too; not of the manifest, which holds times."""
    stages = json.loads((folder / "manifest.json").read_text())["stages"]
    names = [name for stage in stages.values() for name in stage["outputs"]]
    return {name: artefact_digest(folder / name) for name in names if name != "report.html"}


def test_the_same_call_runs_nothing_again(small_run: Run, planted: Simulated, tmp_path: Path) -> None:
    folder = shutil.copytree(small_run.folder, tmp_path / "atlas")
    before = (folder / "manifest.json").read_text()
    atlas = run_pipeline(planted.cells, small_run.config, folder)
    assert (folder / "manifest.json").read_text() == before
    assert atlas.concepts.n_vars == 24


def test_other_gene_sets_run_what_reads_them_and_no_more(small_run: Run, planted: Simulated, tmp_path: Path) -> None:
    folder = shutil.copytree(small_run.folder, tmp_path / "atlas")
    other = make_config(merge(small_run.config.as_dict(), {"enrichment": {"tests": ["ora"]}}))
    heard: list[str] = []
    run_pipeline(planted.cells, other, folder, progress=lambda what, done, total: heard.append(what))
    assert set(heard) & {stage.name for stage in STAGES} == {"pathways", "evaluation", "atlas"}
    assert "annotation.planted.gsea" not in cellglass.open_atlas(folder).evaluation.index


@pytest.mark.filterwarnings("ignore:The set_bad function:PendingDeprecationWarning")  # scanpy's own use of matplotlib
def test_scanpy_draws_concepts_by_name(small_run: Run) -> None:
    import scanpy as sc

    concepts = cellglass.open_atlas(small_run.folder).concepts
    names = concepts.var["density"].nlargest(2).index.tolist()
    axes = sc.pl.umap(concepts, color=["cell_type", *names], show=False)
    assert [axis.get_title() for axis in axes[:3]] == ["cell_type", *names]


@pytest.mark.slow
def test_explain_takes_an_anndata_and_a_model_in_memory(
    small_run: Run, planted: Simulated, gmt: Path, tmp_path: Path
) -> None:
    adata = planted.cells.to_anndata()
    atlas = explain(
        adata,
        open_model(small_run),
        out=tmp_path / "atlas",
        labels=["cell_type"],
        gene_sets=[str(gmt)],
        report=False,
        dictionary={"latents": 16, "k": 4, "seeds": 1, "pairs": 3},
        attribution={"prototypes": 3, "partners": 1, "methods": ["swap"]},
        enrichment={"tests": ["ora"]},
    )
    assert atlas.concepts.shape == (400, 16)
    assert set(atlas.genes()["method"]) == {"swap"}
    again = explain(
        planted.cells,
        open_model(small_run),
        out=tmp_path / "again",
        config=make_config({**atlas.manifest["config"], "seed": 1}),
        seed=0,
        report=False,
    )
    digests = [_digests(one.path) for one in (atlas, again)]
    differ = {name for name in digests[0] if digests[0][name] != digests[1][name]}
    assert differ <= {"work/cells", "work/explained", "concepts.zarr"}  # which say where the cells came from
    with pytest.raises(InputError, match="there is no such file or folder"):
        explain(tmp_path / "my.h5ad", out=tmp_path / "other")
    with pytest.raises(InputError, match="takes the cells first"):
        explain(open_model(small_run), planted.cells, out=tmp_path / "other")  # type: ignore[arg-type]


@pytest.mark.slow
def test_an_embedding_gets_what_needs_no_model(planted: Simulated, gmt: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    embedding = (planted.activity @ rng.normal(size=(6, 10)) + 0.1 * rng.normal(size=(400, 10))).astype(np.float32)
    cells = replace(planted.cells, obsm={"X_uce": embedding})
    config = make_config(
        {
            "cells": {"labels": ["cell_type"]},
            "model": {"path": "obsm:X_uce"},
            "dictionary": {"seeds": 1, "pairs": 3, "latents": 16, "k": 4},
            "enrichment": {"gene_sets": [str(gmt)], "tests": ["ora"]},
        }
    )
    atlas = run_pipeline(cells, config, tmp_path / "atlas", report=False)
    assert set(atlas.genes()["method"]) == {"de"}
    notes = json.loads((tmp_path / "atlas" / "work" / "attribution" / "notes.json").read_text())
    assert any("no swaps" in note for note in notes)


@pytest.mark.slow
def test_ten_kills_change_nothing(planted: Simulated, small_config: RunConfig, tmp_path: Path) -> None:
    """Kill the run at ten random moments, each followed by the same call; compare artefact by artefact.

    Each run is a process of its own, forked from one that has imported what a run imports.
    """
    planted.cells.to_anndata().write_h5ad(tmp_path / "cells.h5ad")
    dictionary = DictionaryConfig(latents=32, k=4, seeds=2, pairs=4)
    call = (tmp_path / "cells.h5ad", replace(small_config, dictionary=dictionary))
    begun = time.monotonic()
    assert end(start(run, *call, tmp_path / "whole")) == 0
    whole = time.monotonic() - begun
    moments = np.random.default_rng(0)
    kills = 0
    while kills < 10:
        process = start(run, *call, tmp_path / "killed")
        process.join(moments.uniform(0.05, 0.7) * whole)
        if process.exitcode is None:
            process.kill()
            end(process)
            kills += 1
        else:
            assert process.exitcode == 0
            shutil.rmtree(tmp_path / "killed")  # done before the kill: begin anew, and kill sooner
            whole /= 2
    assert end(start(run, *call, tmp_path / "killed")) == 0
    expected, found = _digests(tmp_path / "whole"), _digests(tmp_path / "killed")
    assert len(expected) >= 12
    assert found == expected
    assert not list((tmp_path / "killed").rglob(".writing-*"))

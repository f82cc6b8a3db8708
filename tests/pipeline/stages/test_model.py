"""The model of a run, and the cells in its genes: what lies on disk is what the parts give by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellglass.cells import Simulated, open_cells
from cellglass.errors import InputError
from cellglass.pipeline import workspace
from cellglass.pipeline.config import make_config
from cellglass.pipeline.explain import STAGES, run_pipeline
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages


def test_a_saved_model_and_a_model_in_memory_are_taken_as_they_are(small_run: Run, tmp_path: Path) -> None:
    model = workspace.open_model(small_run)
    cells = open_cells(small_run.path(workspace.CELLS))
    sets = {"gene_sets": list(small_run.config.enrichment.gene_sets)}
    saved = make_config({"model": {"path": str(small_run.path(workspace.MODEL))}, "enrichment": sets})
    plain = make_config({"enrichment": sets})
    for run in (
        Run(tmp_path / "a", saved, {"cells": cells}),
        Run(tmp_path / "b", plain, {"cells": cells, "model": model}),
    ):
        run_stages(run, STAGES[:2])
        assert workspace.open_model(run).fingerprint() == model.fingerprint()
        assert workspace.open_explained(run).genes.index.equals(model.genes)


def test_a_site_that_is_not_there_is_found_before_anything_is_fitted(planted: Simulated, tmp_path: Path) -> None:
    config = make_config({"model": {"site": "layers.3"}})
    with pytest.raises(InputError, match=r"no site 'layers.3'.*z"):
        run_pipeline(planted.cells, config, tmp_path / "atlas")
    assert not (tmp_path / "atlas").exists()


def test_cells_that_count_none_of_the_models_genes_are_left_out(
    small_run: Run, planted: Simulated, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = workspace.open_model(small_run)
    counts = planted.cells.counts.copy()
    empty = [3, 77]
    for cell in empty:
        counts.data[counts.indptr[cell] : counts.indptr[cell + 1]] = 0
    counts.eliminate_zeros()
    sets = {"gene_sets": list(small_run.config.enrichment.gene_sets)}
    cells = planted.cells.with_counts(counts)
    run = Run(tmp_path / "atlas", make_config({"enrichment": sets}), {"cells": cells, "model": model})
    run_stages(run, STAGES[:2])
    kept = workspace.open_explained(run)
    assert kept.n_cells == 398
    assert not set(kept.obs.index) & set(cells.obs.index[empty])
    assert "left out 2 cells" in caplog.text

"""The model of a run, and the cells in its genes: what lies on disk is what the parts give by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.cells import Cells, Simulated, open_cells
from cellglass.errors import InputError
from cellglass.pipeline import workspace
from cellglass.pipeline.config import make_config
from cellglass.pipeline.explain import STAGES, run_pipeline
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages


def _counts_stand_once(run: Run) -> bool:
    one, two = (run.path(name) / "counts" / "data.npy" for name in (workspace.CELLS, workspace.EXPLAINED))
    return one.samefile(two)


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
        assert _counts_stand_once(run), "nothing was left out, so no second copy is needed"


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
    assert not _counts_stand_once(run)
    assert not set(kept.obs.index) & set(cells.obs.index[empty])
    assert "left out 2 cells" in caplog.text


def test_how_genes_meet_is_kept_and_little_is_told_or_refused(
    small_run: Run, planted: Simulated, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, sets = workspace.open_model(small_run), {"gene_sets": ["none"]}
    n = len(model.genes)

    def run_with(there: int) -> dict[str, float]:
        keep = planted.cells.genes.index.get_indexer(model.genes[:there])
        others = planted.cells.select_genes(np.flatnonzero(~planted.cells.genes.index.isin(model.genes[:there])))
        genes = others.genes.set_axis([f"other{i}" for i in range(others.n_genes)]).assign(symbol="")
        both = sp.hstack([planted.cells.counts[:, keep], others.counts], format="csr")
        table = pd.concat([planted.cells.genes.iloc[keep], genes])
        cells = Cells(both, table, planted.cells.obs, source="these")
        run = Run(tmp_path / str(there), make_config({"enrichment": sets}), {"cells": cells, "model": model})
        run_stages(run, STAGES[:2])
        share = both[:, : len(keep)].sum() / both.sum()
        assert workspace.open_coverage(run)["coverage"]["counts"] == pytest.approx(share)
        return workspace.open_coverage(run)["coverage"]

    found = run_with(n)
    assert (found["found"], found["missing"]) == (n, 0)
    assert "model's" not in caplog.text
    assert run_with(n // 2)["missing"] == n - n // 2
    assert f"these: only {n // 2} of the scvi model's {n} genes" in caplog.text
    with pytest.raises(InputError, match=f"these: only 1 of the scvi model's {n} genes"):
        run_with(1)


def test_a_control_has_the_network_of_the_model_and_a_batch_that_is_a_label_is_said_before_the_fit(
    small_run: Run, planted: Simulated, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sets = {"gene_sets": list(small_run.config.enrichment.gene_sets)}
    saved = str(small_run.path(workspace.MODEL))
    found = {}
    for how in ("untrained", "shuffled"):
        config = make_config({"model": {"path": saved, "control": how}, "enrichment": sets})
        run = Run(tmp_path / how, config, {"cells": planted.cells})
        run_stages(run, STAGES[:2])
        found[how] = workspace.open_model(run)
    prints = {model.fingerprint() for model in (workspace.open_model(small_run), *found.values())}
    assert len(prints) == 3
    assert {tuple(model.sites) for model in found.values()} == {tuple(workspace.open_model(small_run).sites)}
    tables = {"cells": {"labels": ["cell_type"], "batch": "cell_type_too"}, "model": {"epochs": 1}, "enrichment": sets}
    obs = planted.cells.obs.assign(cell_type_too=planted.cells.obs["cell_type"])
    cells = dataclasses.replace(planted.cells, obs=obs)
    run_stages(Run(tmp_path / "batch", make_config(tables), {"cells": cells}), STAGES[:2])
    assert "batch 'cell_type_too' nearly is the label 'cell_type'" in caplog.text
    with pytest.raises(InputError, match="untrained or shuffled"):
        make_config({"model": {"control": "none"}})
    config = make_config({"model": {"path": "obsm:X", "control": "shuffled"}, "enrichment": sets})
    with pytest.raises(InputError, match="has no weights"):
        run_stages(Run(tmp_path / "none", config, {"cells": planted.cells}), STAGES[:2])

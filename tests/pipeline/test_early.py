"""What would stop a run late stops it at once; what need not stop it does not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

import cellglass
from cellglass.cells import Cells, Simulated
from cellglass.errors import InputError
from cellglass.pipeline.config import RunConfig, make_config
from cellglass.pipeline.early import FEW, FEWEST, check_cells
from cellglass.pipeline.explain import run_pipeline
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.stages.cells import CellsStage

TINY: dict[str, Any] = {
    "dictionary": {"seeds": 1, "pairs": 2, "latents": 12, "k": 3},
    "attribution": {"prototypes": 4, "partners": 2, "steps": 4},
    "enrichment": {"tests": ["ulm"], "null_draws": 1},
}


EMBEDDING: dict[str, Any] = {"model": {"path": "obsm:X_emb"}}


def first_stage(source: Path | Cells, folder: Path, **tables: Any) -> Run:
    """Run the first stage alone, as a run begins."""
    run = Run(folder, make_config({**TINY, **tables}).with_safe_columns(), {"cells": source})
    run_stages(run, [CellsStage])
    return run


@pytest.fixture
def cells(planted: Simulated) -> Cells:
    cells = planted.cells[:120]
    return replace(cells, obs=cells.obs.copy())


@pytest.fixture
def embedded(cells: Cells) -> anndata.AnnData:
    """Return log-normalised values with an embedding: no raw counts."""
    adata = cells.to_anndata()
    counts = adata.X.toarray()
    logs = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    adata.X = logs.astype(np.float32)
    rng = np.random.default_rng(0)
    adata.obsm["X_emb"] = (logs @ rng.normal(size=(adata.n_vars, 6))).astype(np.float32)
    return adata


def test_cells_that_no_dictionary_can_be_fitted_to_are_refused(cells: Cells) -> None:
    with pytest.raises(InputError, match=f"there are {FEWEST - 1} cells, and a dictionary needs at least {FEWEST}"):
        check_cells(cells[: FEWEST - 1], RunConfig())


def test_few_cells_are_warned_about(cells: Cells, caplog: pytest.LogCaptureFixture) -> None:
    check_cells(cells[: FEW - 1], RunConfig())
    assert f"{FEW - 1} cells are few; metrics are measured on 9 held-out ones" in caplog.text
    caplog.clear()
    check_cells(cells[:FEW], RunConfig())
    assert not caplog.text


LABEL, BATCH = {"cells": {"labels": ["odd"]}}, {"cells": {"batch": "odd"}}
MATCH = {"attribution": {"match": ["odd"]}}
COLUMNS: dict[str, tuple[Callable[[int], Any], dict[str, Any], str]] = {
    "a label of one value": (lambda n: ["x"] * n, LABEL, "has 1 values with at least 4"),
    "a label without any": (lambda n: ["NA"] * n, LABEL, "has 0 values with at least 4"),
    "a label a cell": (lambda n: [f"c{i}" for i in range(n)], LABEL, "has 0 values"),
    "a batch with gaps": (lambda n: ["a", "nan"] * (n // 2), BATCH, "(cells.batch) has 60 missing"),
    "a batch a cell": (lambda n: [f"c{i}" for i in range(n)], BATCH, "has 120 values for 120 cells"),
    "a match with gaps": (lambda n: ["a", ""] * (n // 2), MATCH, "(attribution.match) has 60"),
}  # fmt: skip


@pytest.mark.parametrize("case", COLUMNS)
def test_columns_that_no_stage_can_use_are_refused_before_anything_is_fitted(
    case: str, cells: Cells, tmp_path: Path
) -> None:
    make, tables, says = COLUMNS[case]
    cells.obs["odd"] = make(cells.n_cells)
    with pytest.raises(InputError) as refused:
        first_stage(cells, tmp_path / "atlas", **tables)
    assert says in str(refused.value)
    assert "'odd'" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "atlas").exists()


ODD = {
    "type/sub": ["a", "b"] * 60,
    "_index": [f"c{i}" for i in range(120)],
    "when": pd.to_datetime("2024-01-01") + pd.to_timedelta(np.arange(120), unit="D"),
    "mixed": pd.Categorical([1 if i % 2 else "b" for i in range(120)]),
    "range": pd.cut(np.arange(120), 4),
    "NA": ["NA", "x"] * 60,
}


BOTH = [pytest.param(False, marks=pytest.mark.slow), True]


@pytest.mark.slow
@pytest.mark.parametrize("stored", [False, True])
def test_odd_columns_come_to_the_end_of_a_run_and_are_labels_too(
    stored: bool, embedded: anndata.AnnData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import h5py

    for name, values in ODD.items():
        embedded.obs[name] = values
    source: Any = embedded
    if stored:  # under names that anndata reads and does not write
        plain = embedded[:, :40].copy()
        plain.obs = plain.obs[[]].assign(**{f"column{i}": plain.obs[name].astype(str) for i, name in enumerate(ODD)})
        source = tmp_path / "my.h5ad"
        plain.obs.index.name = "barcode"
        plain.write_h5ad(source)
        with h5py.File(source, "r+") as file:
            for i, name in enumerate(ODD):
                file.move(f"obs/column{i}", f"obs/{name}")
            file["obs"].attrs["column-order"] = list(ODD)
    labels = ("type/sub", "mixed", "range", "NA")
    with pytest.raises(InputError, match="label column 'NA' has 1 values"):
        cellglass.explain(source, out=tmp_path / "no", labels=labels, config=make_config({**TINY, **EMBEDDING}))
    atlas = cellglass.explain(
        source, out=tmp_path / "atlas", labels=labels[:3], config=make_config({**TINY, **EMBEDDING}), report=False
    )
    assert {"type_sub", "_index_", "when", "mixed", "range", "NA"} <= set(atlas.concepts.obs)
    assert "alignment.type_sub.a.concepts" in atlas.evaluation.index
    assert atlas.concepts.obs["NA"].isna().sum() == 60
    assert "'type/sub' is now 'type_sub', '_index' is now '_index_'" in caplog.text


@pytest.mark.parametrize("stored", BOTH)
def test_an_embedding_needs_no_raw_counts_and_what_does_is_left_out_and_said(
    stored: bool, embedded: anndata.AnnData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source: Any = embedded
    if stored:
        embedded.write_h5ad(tmp_path / "my.h5ad")
        source = tmp_path / "my.h5ad"
    with caplog.at_level(logging.WARNING, logger="cellglass"):
        atlas = cellglass.explain(
            source, out=tmp_path / "atlas", labels=["cell_type"], config=make_config({**TINY, **EMBEDDING})
        )
    assert "no slot holds raw counts (X is log-transformed" in caplog.text
    assert "genes, pathways and expression are left out" in caplog.text
    assert atlas.concepts.shape == (120, 12)
    assert atlas.expression is None
    assert len(atlas.genes()) == len(atlas.pathways()) == 0
    assert (tmp_path / "atlas" / "report.html").is_file()
    assert "no raw counts" in (tmp_path / "atlas" / "work/attribution/notes.json").read_text()
    with pytest.raises(InputError, match="X is log-transformed"):  # asked for
        cellglass.explain(source, out=tmp_path / "b", config=make_config({**EMBEDDING, "cells": {"counts": "X"}}))
    with pytest.raises(InputError, match="X is log-transformed"):  # needed
        cellglass.explain(source, out=tmp_path / "c")


def test_two_sources_of_gene_sets_of_one_name_are_refused(cells: Cells) -> None:
    config = make_config({"enrichment": {"gene_sets": ["a/mine.gmt", "hallmark", "b/mine.gmt.gz"]}})
    with pytest.raises(InputError, match=r"gene sets a/mine\.gmt: two sources are called 'mine'"):
        check_cells(cells, config)


def test_a_folder_that_may_not_be_written_is_told_at_once(
    cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the tests may run as root, who may write anywhere
    with pytest.raises(InputError, match="may not be written to"):
        run_pipeline(cells, RunConfig(), tmp_path / "atlas", report=False)
    assert not list(tmp_path.iterdir())


def test_corrected_counts_are_rounded_where_that_is_asked(
    cells: Cells, gmt: Path, tmp_path: Path, command: Any
) -> None:
    sets = {"enrichment": {"gene_sets": [str(gmt)]}}
    adata = cells.to_anndata()
    adata.X.data *= np.random.default_rng(0).uniform(0.85, 1, adata.X.nnz).astype(np.float32)
    adata.write_h5ad(tmp_path / "soupx.h5ad")
    with pytest.raises(InputError, match="have them rounded with --round"):
        first_stage(tmp_path / "soupx.h5ad", tmp_path / "a")
    run = first_stage(tmp_path / "soupx.h5ad", tmp_path / "b", cells={"round": True}, **sets)
    found = cellglass.cells.open_cells(run.path("work/cells")).counts
    np.testing.assert_array_equal(found.toarray(), np.rint(adata.X.toarray()))
    status, _, error = command("run", tmp_path / "soupx.h5ad", "--out", tmp_path / "c", "--round", "--counts", "nope")
    assert status == 2
    assert "no slot 'nope'" in error

"""Pathways of a run: rankings are what the table of genes says, and planted programs are found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cellglass
from cellglass.cells import Simulated, demo_cells
from cellglass.cells.gene_names import known_symbols, orthologs
from cellglass.enrichment.normal_scores import normal_scores
from cellglass.pipeline import workspace
from cellglass.pipeline.config import make_config
from cellglass.pipeline.explain import explain, run_pipeline
from cellglass.pipeline.run import Run
from cellglass.pipeline.stages.pathways import PathwaysStage, on_scale


def test_rankings_are_dense_tables_of_scores(small_run: Run) -> None:
    stage = PathwaysStage(small_run)
    ranked = {method: stage.ranked(method) for method in ("path", "swap", "de")}
    table = pd.read_parquet(small_run.path("genes.parquet"))
    assert [unit for unit in stage.units() if unit.endswith("ora")] == ["path.00.ora", "swap.00.ora", "de.00.ora"]
    row = table[(table["method"] == "path") & (table["on"] == "activation")].iloc[5]
    assert ranked["path"].loc[row["concept"], row["gene"]] == row["score"]
    assert ranked["path"].shape[1] == workspace.open_explained(small_run).n_genes


def test_effects_are_tested_on_normal_scores_and_lists_and_t_as_they_are(small_run: Run) -> None:
    scores = PathwaysStage(small_run).ranked("swap")
    assert on_scale(scores, "swap", "ora") is scores
    assert on_scale(scores, "de", "gsea") is scores
    for test in ("gsea", "ulm"):
        np.testing.assert_array_equal(on_scale(scores, "swap", test), normal_scores(scores.to_numpy()))


def test_planted_programs_are_found_by_differential_expression_of_concepts(small_run: Run, planted: Simulated) -> None:
    pathways = pd.read_parquet(small_run.path("pathways.parquet"))
    assert set(pathways["source"]) == {"planted"}
    assert set(pathways["test"]) == {"gsea", "ulm", "ora"}
    found = pathways[(pathways["ranking"] == "de") & (pathways["test"] == "ulm") & (pathways["q"] < 0.05)]
    assert found["term"].nunique() >= 4
    rates = json.loads(small_run.path(workspace.RATES).read_text())
    assert len(rates) == 9
    assert all(0 <= rate["value"] <= 1 for rate in rates)
    on_lists = next(rate for rate in rates if (rate["ranking"], rate["test"]) == ("path", "ora"))
    assert on_lists["value"] > on_lists["null"]


@pytest.mark.parametrize("asked", [None, ("none",)])
def test_where_no_default_set_fits_the_atlas_has_no_pathways(
    small_run: Run, planted: Simulated, tmp_path: Path, caplog: pytest.LogCaptureFixture, asked: tuple[str, ...] | None
) -> None:
    """Simulated genes are in no real gene set."""
    folder = Path(shutil.copytree(small_run.folder, tmp_path / "atlas"))
    config = small_run.config.as_dict()
    config["enrichment"]["gene_sets"] = asked
    atlas = run_pipeline(planted.cells, make_config(config), folder)
    assert ("none of 150 sets" in caplog.text) == (asked is None)
    assert len(atlas.pathways()) == 0
    assert set(atlas.concepts.var["best_term"]) == {""}
    assert cellglass.atlas.summary.summarize(atlas)["gene_sets"] == {"sources": [], "mapped": []}
    assert not [name for name in atlas.evaluation.index if name.startswith("annotation")]
    assert (folder / "report.html").is_file()


@pytest.mark.slow
def test_mouse_cells_run_to_concepts_named_by_pathways(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The bundled blood cells under the symbols of their genes in mouse, and under their Ensembl ids."""
    adata = demo_cells().to_anndata()
    mouse = orthologs()
    adata = adata[:, [gene in mouse for gene in adata.var["symbol"]]].copy()
    adata.var = pd.DataFrame(index=[mouse[gene] for gene in adata.var["symbol"]])
    config = make_config(
        {"model": {"epochs": 60}, "dictionary": {"seeds": 1, "pairs": 4}, "enrichment": {"tests": ["gsea"]}}
    )
    atlas = explain(adata, out=tmp_path / "mouse", labels=["bulk_labels"], report=False, config=config)
    assert "tested are the one-to-one orthologs of" in caplog.text
    found = atlas.pathways()
    found = found[(found["source"] == "bundled") & (found["null_q"] < 0.05)]
    assert found["concept"].nunique() >= 5
    assert {"MONOCYTE_LINEAGE_PAN", "NK_CELL_PAN", "B_CELL_PAN"} & set(found["term"])
    edges = {gene for edge in found["leading_edge"] for gene in edge.split(";")}
    assert edges <= set(adata.var_names)
    assert (atlas.concepts.var["best_term"] != "").sum() >= 5
    assert any("monocyte" in name for name in atlas.concepts.var_names)


def test_cells_with_ensembl_ids_alone_are_known_by_symbols(planted: Simulated) -> None:
    adata = planted.cells[:20].to_anndata()[:, :3].copy()
    adata.var = pd.DataFrame(index=["ENSMUSG00000032093.5", "ENSMUSG00000059552", "ENSMUSG99999999999"])
    cells = cellglass.cells_from_anndata(adata)
    assert cells.symbols.tolist() == ["Cd3e", "Trp53", "ENSMUSG99999999999"]
    assert cells.symbols.tolist() == known_symbols(cells.genes.index).tolist()

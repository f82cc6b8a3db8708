"""Pathways of a run: rankings are what the table of genes says, and planted programs are found."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from cellglass.cells import Simulated
from cellglass.enrichment.normal_scores import normal_scores
from cellglass.pipeline import workspace
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

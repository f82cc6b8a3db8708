"""Metrics of a run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from cellglass.atlas import open_atlas
from cellglass.atlas.schema import SCREENS_COLUMNS
from cellglass.evaluation import Metric
from cellglass.pipeline import workspace
from cellglass.pipeline.run import Run
from cellglass.pipeline.stages.evaluation import lost_labels, screened


def test_the_metrics_are_all_there_with_their_definitions(small_run: Run) -> None:
    table = open_atlas(small_run.folder).evaluation
    for name in (
        "fidelity.variance_explained",
        "fidelity.l0",
        "fidelity.dead_share",
        "probe.cell_type.concepts",
        "probe.cell_type.site",
        "stability.concepts",
        "stability.concepts.coactivation",
        "stability.concepts.coactivation.above_0.7",
        "stability.concepts.consensus",
        "annotation.planted.ora",
        "annotation.planted.ora.de",
        "attribution.path.gap",
    ):
        assert name in table.index
    for basis in ("concepts", "neurons", "pca", "ica", "random"):
        assert f"alignment.cell_type.type_0.{basis}" in table.index
    assert (table["definition"].str.len() > 30).all()
    assert table.loc["fidelity.variance_explained", "spread"] > 0


def test_fidelity_is_that_of_cells_that_no_dictionary_saw(small_run: Run) -> None:
    store, site = workspace.open_activations(small_run)
    dictionary = workspace.open_concepts(small_run)
    x = store.read(site, workspace.held_out(small_run, 400)[1]).double()
    with torch.no_grad():
        x_hat = dictionary.decode(dictionary.encode(x.float())).double()
    explained = 1 - ((x - x_hat) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    record = open_atlas(small_run.folder).evaluation.loc["fidelity.variance_explained"]
    assert record["value"] == pytest.approx(float(explained), abs=1e-5)
    assert record["null"] < record["value"]


def test_a_label_that_the_site_lost_is_said_and_chance_is_not() -> None:
    def said(site: float, counts: float, n: int = 500, batch: str | None = "donor") -> list[str]:
        metrics = [Metric("probe.state.site", site, n=n), Metric("probe.state.counts", counts, n=n)]
        return lost_labels(metrics, ["state", "other", "state"], batch)

    (line,) = said(0.95, 0.995)
    assert line.startswith("state is read from the model's site with an accuracy of 0.950 only, from the counts")
    assert "batch 'donor'" in line
    assert "the model does not keep it" in said(0.6, 0.9, batch=None)[0]
    assert said(0.83, 0.86, n=175) == said(0.95, 0.97) == said(0.99, 0.95) == []


def test_what_the_screen_finds_is_said_beside_what_expression_would() -> None:
    rows = [
        [0, "gradient", 6, 90, 9, 0.09, 1.0],
        [0, "difference", 6, 90, 12, 0.1, 0.5],
        [4, "gradient", 5, 80, 8, 0.07, 0.8],
        [4, "difference", 5, 80, 8, 0.1, 0.3],
        [5, "gradient", 5, 80, 8, 0.07, np.nan],
    ]
    found, share = screened(pd.DataFrame(rows, columns=list(SCREENS_COLUMNS)))
    assert (found.metric, found.value, found.null, found.n) == ("attribution.screen.recall", 0.9, 0.4, 11)
    assert share.metric == "attribution.screen.share"
    assert share.value == pytest.approx(0.08)
    alone = screened(pd.DataFrame([rows[1]], columns=list(SCREENS_COLUMNS)))
    assert alone[0].null is None
    assert screened(pd.DataFrame({name: [] for name in SCREENS_COLUMNS})) == []

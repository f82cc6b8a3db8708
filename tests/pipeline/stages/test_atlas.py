"""The end of a run: metrics, names, the tables of the atlas."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from cellglass.atlas import open_atlas
from cellglass.explorer import write_report
from cellglass.pipeline.runner import Run
from cellglass.pipeline.stages.activations import open_activations
from cellglass.pipeline.stages.dictionaries import held_out, open_codes, open_concepts, open_dictionaries
from cellglass.pipeline.stages.model import open_explained, open_model
from reported import held


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
    store, site = open_activations(small_run)
    dictionary = open_concepts(small_run)
    x = store.read(site, held_out(small_run, 400)[1]).double()
    with torch.no_grad():
        x_hat = dictionary.decode(dictionary.encode(x.float())).double()
    explained = 1 - ((x - x_hat) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    record = open_atlas(small_run.folder).evaluation.loc["fidelity.variance_explained"]
    assert record["value"] == pytest.approx(float(explained), abs=1e-5)
    assert record["null"] < record["value"]


def test_concepts_are_named_once_each_and_described_by_their_codes(small_run: Run) -> None:
    concepts = open_atlas(small_run.folder).concepts
    codes = open_codes(small_run)
    var = concepts.var
    assert (codes != concepts.X).nnz == 0
    assert var.index.is_unique
    assert set(var["name_by"]) == {"machine"}
    np.testing.assert_allclose(var["density"], (codes > 0).toarray().mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(var["max_activation"], codes.toarray().max(axis=0), rtol=1e-5)
    named = var[var["best_label_f1"] >= 0.5]
    assert len(named)
    assert all(label in name for name, label in zip(named.index, named["best_label"], strict=True))


def test_consensus_concepts_are_those_that_the_other_seed_has_too(small_run: Run) -> None:
    atlas = open_atlas(small_run.folder)
    store, site = open_activations(small_run)
    x = store.read(site, np.arange(400))
    first, other = (one.encode(x).to_csr().toarray() for one in open_dictionaries(small_run, "concepts"))
    live, there = first.any(axis=0), other.any(axis=0)
    both = np.corrcoef(first[:, live].T, other[:, there].T)[: live.sum(), live.sum() :]
    rows, columns = linear_sum_assignment(-both)
    partner = np.zeros(live.sum())
    partner[rows] = both[rows, columns]
    var = atlas.concepts.var
    np.testing.assert_allclose(var["stability"][live], partner, atol=1e-5)
    np.testing.assert_array_equal(var["found_in"][live], partner >= 0.7)
    np.testing.assert_array_equal(var["consensus"], var["found_in"] == 1)
    assert not var["consensus"][~live].any()
    assert dict(atlas.concepts.uns["consensus"]) == {"others": 1, "needed": 1, "threshold": 0.7}
    share = atlas.evaluation.loc["stability.concepts.consensus", "value"]
    assert share == pytest.approx((partner >= 0.7).mean())


def test_the_atlas_says_which_model_it_explains(small_run: Run) -> None:
    model = open_atlas(small_run.folder).concepts.uns["model"]
    assert model["fingerprint"] == open_model(small_run).fingerprint()
    assert "fingerprint" not in open_atlas(small_run.folder).summary()["model"]


def test_the_counts_that_were_explained_are_in_the_atlas(small_run: Run) -> None:
    expression = open_atlas(small_run.folder).expression
    cells = open_explained(small_run)
    gene = cells.genes.index[3]
    column = expression[:, gene].X
    dense = column.toarray() if hasattr(column, "toarray") else np.asarray(column)
    np.testing.assert_array_equal(dense.ravel(), cells.counts[:, 3].toarray().ravel())


def test_the_report_shows_the_atlas(small_run: Run, tmp_path: Path) -> None:
    atlas = open_atlas(small_run.folder)
    files = held(small_run.path("report.html"))
    assert json.loads(files["data/concepts.json"])["name"] == atlas.concepts.var_names.tolist()
    assert files == held(write_report(atlas, tmp_path)), "made within a run or after it, a report is the same"

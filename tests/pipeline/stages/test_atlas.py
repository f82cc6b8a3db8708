"""The end of a run: names, the tables of the atlas."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.atlas import open_atlas
from cellglass.pipeline import workspace
from cellglass.pipeline.run import Run


def test_concepts_are_named_once_each_and_described_by_their_codes(small_run: Run) -> None:
    concepts = open_atlas(small_run.folder).concepts
    codes = workspace.open_codes(small_run)
    var = concepts.var
    assert (codes != concepts.X).nnz == 0
    assert var.index.is_unique
    assert set(var["name_by"]) == {"machine"}
    dense = codes.toarray()
    on = (dense > 0) & (dense >= np.nan_to_num(var["threshold"].to_numpy(dtype=np.float64) - 1e-6))
    np.testing.assert_allclose(var["density"], on.mean(axis=0), atol=1e-6)
    for latent in np.flatnonzero(dense.any(axis=0)):
        above = dense[dense[:, latent] > 0, latent]
        assert var["threshold"].iloc[latent] == pytest.approx(np.quantile(above, 0.99) / 2, rel=1e-5)
    np.testing.assert_allclose(var["max_activation"], codes.toarray().max(axis=0), rtol=1e-5)
    depth = np.log1p(workspace.open_explained(small_run).counts.toarray().sum(axis=1))
    varies = np.ptp(dense, axis=0) > 0
    expected = [np.corrcoef(column, depth)[0, 1] for column in dense.T[varies]]
    np.testing.assert_allclose(var["depth_correlation"][varies], expected, atol=1e-5)
    assert var["depth_correlation"][~varies].isna().all()


def test_a_label_names_a_concept_that_marks_it_at_its_own_threshold(default_run: Run) -> None:
    concepts = open_atlas(default_run.folder).concepts
    var, on = concepts.var, concepts.X.toarray() > 0  # nothing is active below its threshold
    named = var[(var["best_label_f1"] >= 0.5) & (var["best_label_q"] < 0.05) & ~var["residual"]]
    assert len(named) >= 2
    for name, row in named.iterrows():
        assert row["best_label"] in name
        is_of = (concepts.obs[row["best_label_column"]].astype(str) == row["best_label"]).to_numpy()
        mine = on[:, row["latent"]]
        f1 = 2 * (mine & is_of).sum() / (mine.sum() + is_of.sum())
        assert row["best_label_f1"] == pytest.approx(f1, abs=0.12)  # that of half of the cells


def test_the_atlas_says_which_model_it_explains(small_run: Run) -> None:
    model = open_atlas(small_run.folder).concepts.uns["model"]
    assert model["fingerprint"] == workspace.open_model(small_run).fingerprint()
    assert "fingerprint" not in open_atlas(small_run.folder).summary()["model"]


def test_the_counts_that_were_explained_are_in_the_atlas(small_run: Run) -> None:
    expression = open_atlas(small_run.folder).expression
    cells = workspace.open_explained(small_run)
    gene = cells.genes.index[3]
    column = expression[:, gene].X
    dense = column.toarray() if hasattr(column, "toarray") else np.asarray(column)
    np.testing.assert_array_equal(dense.ravel(), cells.counts[:, 3].toarray().ravel())

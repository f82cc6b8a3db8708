"""The end of a run: names, the tables of the atlas."""

from __future__ import annotations

import numpy as np

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
    np.testing.assert_allclose(var["density"], (codes > 0).toarray().mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(var["max_activation"], codes.toarray().max(axis=0), rtol=1e-5)
    named = var[var["best_label_f1"] >= 0.5]
    assert len(named)
    assert all(label in name for name, label in zip(named.index, named["best_label"], strict=True))


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

"""Activations of a run: what lies on disk is what the model gives."""

from __future__ import annotations

import numpy as np

from cellglass.pipeline import workspace
from cellglass.pipeline.run import Run


def test_the_activations_on_disk_are_the_models(small_run: Run) -> None:
    model = workspace.open_model(small_run)
    store, site = workspace.open_activations(small_run)
    rows = np.array([0, 7, 399])
    expected = model.activations(workspace.open_explained(small_run)[rows], [site])[site]
    assert site == "z"
    np.testing.assert_allclose(store.read(site, rows), expected, atol=1e-5)
    assert store.sd(site, rows).min() > 0

"""Concepts that the other seeds have too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from cellglass.atlas import open_atlas
from cellglass.pipeline import workspace
from cellglass.pipeline.run import Run


def test_consensus_concepts_are_those_that_the_other_seed_has_too(small_run: Run) -> None:
    atlas = open_atlas(small_run.folder)
    store, site = workspace.open_activations(small_run)
    x = store.read(site, np.arange(400))
    first, other = (one.encode(x).to_csr().toarray() for one in workspace.open_dictionaries(small_run, "concepts"))
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

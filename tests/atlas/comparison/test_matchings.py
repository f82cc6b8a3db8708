"""The two matchings: the sample is bounded and the same for both sides, and a control has the site's shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.comparison import matchings
from cellglass.atlas.comparison.overlap import CellOverlap, cell_overlap


def test_an_atlas_agrees_with_a_part_of_its_own_cells(atlas_folder: Path) -> None:
    atlas = open_atlas(atlas_folder)
    rows = np.sort(np.random.default_rng(0).choice(700, 200, replace=False))
    found = matchings.by_activations(atlas, atlas, CellOverlap(rows, rows, ""), 0)
    dense = atlas.concepts.X.toarray()[rows]
    findings = np.flatnonzero(dense.any(axis=0) & ~atlas.concepts.var["residual"])
    assert len(findings) < dense.any(axis=0).sum()  # residual latents take no part
    np.testing.assert_array_equal(found.a.places, findings)
    np.testing.assert_array_equal(found.a.codes.toarray(), dense[:, findings])
    np.testing.assert_array_equal(found.a.active(), (dense > 0).sum(axis=0)[found.a.places])
    assert found.found.matched == pytest.approx(1)


def test_of_many_activations_those_of_a_sample_of_cells_are_looked_at(
    atlas_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas = open_atlas(atlas_folder)
    cells = cell_overlap(atlas, atlas)
    monkeypatch.setattr(matchings, "MAX_ENTRIES", atlas.concepts.X.nnz // 4)
    few, again = (matchings.by_activations(atlas, atlas, cells, 5) for _ in range(2))
    assert few.a.codes.shape[0] in (174, 175)
    assert (few.a.codes != few.b.codes).nnz == 0
    assert (few.a.codes != again.a.codes).nnz == 0
    assert few.found.matched == pytest.approx(1)
    other = matchings.by_activations(atlas, atlas, cells, 6)
    assert other.a.codes.shape != few.a.codes.shape or (other.a.codes != few.a.codes).nnz > 0


def test_every_measure_has_its_control_and_its_definition(atlas_folder: Path) -> None:
    atlas = open_atlas(atlas_folder)
    found = matchings.by_activations(atlas, atlas, cell_overlap(atlas, atlas), 0)
    table = {record["measure"]: record for record in matchings.measures(found, 0.5)}
    assert list(table) == [
        "matched", "best", "above_0.5", "above_0.7", "above_0.9", "found_a", "found_b", "carried_a", "carried_b",
    ]  # fmt: skip
    for record in table.values():
        assert record["way"] == "activations"
        assert record["value"] == pytest.approx(1)
        assert record["control"] < 0.4
        assert "moved to random cells" in record["definition"]

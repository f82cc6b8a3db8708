"""Edits, flat, and their effects concept by concept."""

import numpy as np
import pandas as pd

from cellglass.attribution.edits import Changed, Edits


def test_edits_of_rows_joined_and_chosen():
    row, gene = np.array([0, 0, 2]), np.array([4, 5, 4])
    edits = Edits.of(row, gene, np.array([1, 2, 3], dtype=np.float32), np.array([7, 8, 9]), np.array([0, 0, 1]))
    assert edits.cell.tolist() == [7, 7, 9]
    assert edits.concept.tolist() == [0, 0, 1]
    twice = Edits.joined([edits, edits])
    assert twice.counts.tolist() == [1, 2, 3, 1, 2, 3]
    kept = edits.among({0: np.array([5]), 1: np.array([4, 6])})
    assert list(zip(kept.row, kept.gene, strict=True)) == [(0, 5), (2, 4)]
    assert edits.among({}).row.shape == (0,)


def test_each_concept_gets_its_rows_dense():
    pairs = pd.DataFrame({"concept": [2, 2, 5, 9], "prototype": [7, 8, 9, 1]}, index=[3, 1, 4, 0])
    row, gene = np.array([0, 1, 1, 3]), np.array([1, 0, 2, 2])
    edits = Edits.of(row, gene, np.zeros(4, dtype=np.float32), pairs["prototype"], pairs["concept"])
    changed = Changed(pairs, edits, {"activation": np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32)})
    found = {one.concept: one for one in changed.each("activation", 3)}
    assert list(found) == [2, 5, 9]
    np.testing.assert_allclose(found[2].effects, [[0, 0.1, 0], [0.2, 0, 0.3]])
    assert found[2].pairs["prototype"].tolist() == [7, 8]
    assert (found[2].row.tolist(), found[2].gene.tolist()) == ([0, 1, 1], [1, 0, 2])
    assert not found[5].effects.any()
    np.testing.assert_allclose(found[9].effects, [[0, 0, 0.4]])

"""The cells of a report: which they are, and that what is drawn of them is what the atlas holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellglass.atlas import columns, open_atlas
from cellglass.explorer import Tree
from cellglass.explorer.data import drawn
from cellglass.explorer.data.columns import from_bytes
from cellglass.explorer.data.drawn import Drawn


def test_of_a_small_atlas_all_cells_are_drawn(tree: Tree) -> None:
    every = Drawn(tree.source, 700)
    assert every.all
    np.testing.assert_array_equal(every.cells, np.arange(700))


def test_the_sample_is_the_same_each_time_and_ascending(full_folder: Path) -> None:
    one, two = (Drawn(Tree(open_atlas(full_folder)).source, 100).cells for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert len(one) == 100
    assert (np.diff(one) > 0).all()


def test_fewer_cells_are_drawn_where_each_has_many_activations(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = int(tree.source.activations.starts[-1])
    monkeypatch.setattr(drawn, "MAX_ENTRIES", entries // 10)
    assert len(Drawn(tree.source, 700).cells) == pytest.approx(70, abs=1)


@pytest.mark.parametrize("max_cells", [700, 150])
@pytest.mark.parametrize("block", [1 << 22, 500])
def test_columns_are_those_of_the_drawn_cells(
    tree: Tree, max_cells: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "BLOCK", block)
    sample = Drawn(tree.source, max_cells)
    dense = tree.source.atlas.concepts.X.toarray()[sample.cells]
    found = {number: from_bytes(content) for number, content in sample.columns(tree.source.activations.each(range(24)))}
    assert list(found) == list(range(24))
    for number, column in found.items():
        np.testing.assert_array_equal(column.rows, np.flatnonzero(dense[:, number]))
        np.testing.assert_array_equal(column.values, dense[column.rows, number])


def test_as_many_columns_are_taken_as_have_room(tree: Tree) -> None:
    sample, counts = Drawn(tree.source, 350), tree.source.expression
    assert counts is not None
    order = [5, 3, 9, 0]
    sizes = counts.sizes[order] / 2
    assert sample.first(counts, order, int(sizes[:2].sum() + 1)) == [5, 3]
    assert sample.first(counts, order, 10**9) == order
    assert sample.first(counts, order, 0) == []


@pytest.mark.parametrize("max_cells", [700, 150])
def test_neurons_answer_as_in_the_tree(tree: Tree, max_cells: int) -> None:
    sample = Drawn(tree.source, max_cells)
    for number, content in sample.neurons(tree.neurons, [3, 17, 8]):
        alone = sample.column(from_bytes(tree.get(f"data/neurons/{number}.bin")))
        found = from_bytes(content)
        np.testing.assert_array_equal(found.rows, alone.rows)
        np.testing.assert_allclose(found.values, alone.values, rtol=1e-6)
    assert list(sample.neurons(tree.neurons, [])) == []

"""Circuits of an atlas: traced from what it keeps, kept by a name of their own, read again, refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cellglass
from cellglass.atlas import Atlas, schema
from cellglass.cells import write_cells
from cellglass.circuits.transcoders import Transcoders, fingerprint_of
from cellglass.errors import InputError
from circuits.models import cells_of, model_of, transcoders_of


@pytest.fixture(scope="module")
def transcoders() -> Transcoders:
    given = tuple(transcoders_of("gpt_neox"))
    model = model_of("gpt_neox")
    return Transcoders(model.kind, fingerprint_of(model), len(given), given)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """An atlas that keeps its cells and its model."""
    folder = tmp_path_factory.mktemp("traced")
    write_cells(cells_of(), folder / schema.CELLS)
    model_of("gpt_neox").save(folder / schema.MODEL)
    return Atlas(folder, {})


def test_cells_and_model_are_found_from_the_atlas(atlas: Atlas, transcoders: Transcoders) -> None:
    options = {"features": 8, "delete": False}
    found = atlas.trace("c1", transcoders, "B cell", "T cell", **options)
    plain = cellglass.trace(model_of("gpt_neox"), cells_of(), "c1", transcoders, "B cell", "T cell", **options)
    np.testing.assert_array_equal(found.weights.toarray(), plain.weights.toarray())
    given = atlas.trace("c1", transcoders, "B cell", "T cell", model=model_of("gpt_neox"), cells=cells_of(), **options)
    np.testing.assert_array_equal(given.weights.toarray(), plain.weights.toarray())


def test_graphs_are_kept_by_cell_and_question_and_read_again(atlas: Atlas, transcoders: Transcoders) -> None:
    assert (len(atlas.circuits), repr(atlas.circuits)[-6:]) == (0, "none)")
    graphs = [
        atlas.trace("c1", transcoders, *asked, features=3, delete=False)
        for asked in (("B cell",), ("B cell", "T cell"), ("gene:LYZ",))
    ]
    for graph in (*graphs, graphs[0]):  # the same again takes the place of the first
        written = atlas.circuits.keep(graph)
        assert [path.suffix for path in written] == [".json", ".svg", ".csv"]
        assert all(path.parent == atlas.path / schema.CIRCUITS for path in written)
    names = {name.rpartition("_")[0]: name for name in atlas.circuits}
    assert sorted(names) == ["c1_B-cell", "c1_B-cell_T-cell", "c1_gene-LYZ"]
    assert len(atlas.circuits) == 3
    assert atlas.circuits[names["c1_gene-LYZ"]].about == graphs[2].about
    assert names["c1_B-cell"] in atlas.circuits
    with pytest.raises(InputError, match=r"there is no circuit 'c9'; there are: c1_B-cell_"):
        _ = atlas.circuits["c9"]


def test_an_atlas_that_kept_nothing_says_so(transcoders: Transcoders, tmp_path: Path) -> None:
    bare = Atlas(tmp_path, {})
    with pytest.raises(InputError, match=r"no longer keeps its cells .* give cells \(--cells\) with raw counts"):
        bare.trace("c1", transcoders, "B cell")
    with pytest.raises(InputError, match=r"no longer keeps its model .* give the model"):
        bare.trace("c1", transcoders, "B cell", cells=cells_of())

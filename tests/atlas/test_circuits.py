"""Circuits of an atlas: traced from what it keeps, kept by a name of their own, read again, refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

import cellglass
from cellglass.atlas import Atlas, schema
from cellglass.atlas.write import write_concepts
from cellglass.cells import write_cells
from cellglass.circuits.transcoders import Transcoders, fingerprint_of
from cellglass.dictionaries import TopK, TopKConfig
from cellglass.errors import InputError
from circuits.models import cells_of, model_of, transcoders_of


def concept_table(n: int) -> pd.DataFrame:
    columns = {
        name: np.arange(n) if name == "latent" else np.zeros(n) if kind != "str" else [""] * n
        for name, kind in schema.CONCEPT_COLUMNS.items()
    }
    return pd.DataFrame(columns, index=[f"name {i}" for i in range(n)])


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
    assert len(atlas.circuits) == 0
    assert repr(atlas.circuits).endswith("circuits': none)")
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


@pytest.mark.parametrize("site", ["cell", "layers.1.resid"])
def test_a_concept_is_asked_by_its_pre_activation(site: str, atlas: Atlas, transcoders: Transcoders) -> None:
    model, cell = model_of("gpt_neox"), model_of("gpt_neox").align(cells_of()[1:2])
    dictionary = TopK(TopKConfig(16, 8, 2)).freeze()
    dictionary.encoder.copy_(torch.randn(8, 16, generator=torch.Generator().manual_seed(0)))
    dictionary.encoder_bias.fill_(0.25)
    shutil.rmtree(atlas.path / schema.DICTIONARIES, ignore_errors=True)
    dictionary.save(atlas.path / schema.DICTIONARIES / "concepts")
    write_concepts(
        atlas.path, sp.csc_matrix((6, 8)), cells_of().obs, np.zeros((6, 2)), concept_table(8), {schema.UNS_SITE: site}
    )
    asked = Atlas(atlas.path, {})
    options = {"features": 6, "delete": False}
    graph = asked.trace("c1", transcoders, "concept:5", **options)
    if site == "cell":
        own = dictionary.preactivations(model.activations(cell, [site])[site])[0, 5]
    else:
        own = dictionary.preactivations(model.token_activations(cell, [site])[site].values)[:, 5].max()
        at = asked.trace("c1", transcoders, "concept:name 5", at="LYZ", **options)
        assert at.about["target"] == "concept:5 at layers.1.resid of LYZ"
    assert graph.about["answer"] == pytest.approx(float(own), rel=1e-3, abs=1e-3)
    (answer,) = graph.of_kind("answer")
    assert graph.weights[answer].sum() == pytest.approx(float(own), rel=1e-3, abs=1e-3)
    with pytest.raises(InputError, match="there is no concept with latent number 9"):
        asked.trace("c1", transcoders, "concept:9")


def test_an_atlas_that_kept_nothing_says_so(transcoders: Transcoders, tmp_path: Path) -> None:
    bare = Atlas(tmp_path, {})
    with pytest.raises(InputError, match=r"no longer keeps its cells .* give cells \(--cells\) with raw counts"):
        bare.trace("c1", transcoders, "B cell")
    with pytest.raises(InputError, match=r"no longer keeps its model .* give the model"):
        bare.trace("c1", transcoders, "B cell", cells=cells_of())


def test_circuits_of_classes_are_listed_and_kept_too(tmp_path: Path) -> None:
    from cellglass.atlas.circuits import Circuits
    from circuits.classes.made import circuit
    from circuits.graphs import by_hand

    held = Circuits(tmp_path / "circuits")
    assert list(held) == []
    held.keep(by_hand())
    written = held.keep(circuit())
    assert written[0] == tmp_path / schema.CLASS_CIRCUITS / "B-cell.json"
    names = list(held)
    assert len(held) == len(names) == 2
    assert names[-1] == "classes/B-cell"
    assert held["classes/B-cell"].about == circuit().about
    assert held[names[0]].about == by_hand().about
    assert "classes/B-cell" in held
    with pytest.raises(InputError, match=r"there is no circuit 'classes/T-cell'; there are: .*classes/B-cell"):
        _ = held["classes/T-cell"]

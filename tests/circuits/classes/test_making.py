"""The circuit of a class: resumable to the same bytes, exact sums, donors, cells that cannot be asked, wrong use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellglass.circuits.classes import making
from cellglass.circuits.classes.files import write_class
from cellglass.circuits.classes.making import ClassCost, class_circuit
from cellglass.circuits.tracing import trace
from cellglass.errors import InputError
from circuits.classes.made import ASKED, circuit, donor_cells, made, transcoders
from circuits.models import model_of


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_class(circuit(), tmp_path / "whole.json")
    traced: list[str] = []
    own = making.ask

    def stops(model, cell, *more):
        if len(traced) == 3:
            raise KeyboardInterrupt
        traced.append(str(cell.obs.index[0]))
        return own(model, cell, *more)

    monkeypatch.setattr(making, "ask", stops)
    with pytest.raises(KeyboardInterrupt):
        made(folder=tmp_path / "work")
    (tmp_path / "work" / ".writing-1-cell-000003.safetensors").write_bytes(b"half")  # as a kill leaves it
    before, told = list(traced), []
    monkeypatch.setattr(making, "ask", lambda model, cell, *more: (traced.append(str(cell.obs.index[0])),
                                                                 own(model, cell, *more))[1])  # fmt: skip
    again = write_class(made(folder=tmp_path / "work", tell=told.append), tmp_path / "again.json")
    assert len(traced) == len({*traced}) == 8  # nothing is traced twice
    assert traced[:3] == before
    assert [a.read_bytes() for a in again] == [a.read_bytes() for a in whole]
    assert isinstance(told[0], ClassCost)
    assert (len(told), told[0].cells, told[0].left) == (1, 8, 4)
    assert told[0].passes > 0
    traced.clear()
    made(folder=tmp_path / "work")
    assert not traced


def test_means_are_those_of_the_graphs_of_its_cells() -> None:
    found = circuit()
    names = found.about["cell_names"][0]
    graphs = [
        trace(model_of("gpt_neox"), donor_cells(), cell, transcoders(), "B cell", "T cell", features=40)
        for cell in names
    ]
    nodes, edges = found.nodes, found.edges
    answers = np.array([graph.about["answer"] for graph in graphs])
    answer = nodes[nodes["kind"] == "answer"].iloc[0]
    assert answer["value"] == pytest.approx(answers.mean(), rel=1e-5)
    assert answer["value_sd"] == pytest.approx(answers.std(ddof=1), rel=1e-3)
    for gene in ("CD79A", "MS4A1"):
        row = nodes[nodes["gene"] == gene].iloc[0]
        total = [next((o["total"] for o in g.about["genes"] if o["gene"] == gene), 0.0) for g in graphs]
        assert row["effect"] == pytest.approx(np.mean(total), rel=1e-4, abs=1e-6)
        assert row["effect_sd"] == pytest.approx(np.std(total, ddof=1), rel=1e-4, abs=1e-6)
        direct = [float(g.gene_effects().iloc[:, 0].get(gene, 0.0)) for g in graphs]
        edge = edges[(edges["source"] == row.name) & (edges["target"] == answer.name)].iloc[0]
        assert edge["weight"] == pytest.approx(np.mean(direct), rel=1e-3, abs=1e-6)
    # Rows add up: of the answer to itself, of a feature to its mean pre-activation over its tokens in the graphs.
    rows = edges.groupby("target")["weight"].sum()
    assert rows[answer.name] == pytest.approx(answers.mean(), rel=1e-3, abs=1e-4)
    for feature in nodes.index[nodes["kind"] == "feature"]:
        assert rows[feature] == pytest.approx(nodes["value"][feature], rel=1e-3, abs=1e-3)
    parts = nodes[nodes["kind"].isin(["token", "error", "bias"])]["effect"].sum()
    assert parts == pytest.approx(answers.mean(), rel=1e-3, abs=1e-4)


def test_the_graph_keeps_its_most_influential_nodes_and_tells_the_others_together() -> None:
    nodes = circuit().nodes
    assert (nodes["kind"] == "feature").sum() == 12
    assert (nodes["kind"] == "token").sum() == 5 + 2  # and the prompt, and other genes
    assert {*nodes["kind"]} == {"token", "feature", "error", "bias", "rest", "answer", "head"}
    smaller = made(nodes=4).nodes
    few = smaller[smaller["kind"] == "feature"]["name"]
    strengths = nodes[nodes["kind"] == "feature"].set_index("name")[["influence", "other_influence"]].max(axis=1)
    assert {*few} == {*strengths.nlargest(4).index}


def test_donors_are_the_units() -> None:
    found = circuit("donor")
    assert (found.about["units"], found.about["paired"]) == ([3, 3], True)
    difference = found.nodes["effect"] - found.nodes["other_effect"]
    np.testing.assert_allclose(found.nodes["difference"], difference, rtol=1e-6, atol=1e-9)  # all have both labels
    assert not np.allclose(found.nodes["difference_se"], circuit().nodes["difference_se"], atol=1e-4)
    assert "stability" not in found.about  # of three donors there are no halves
    assert {row["of"] for row in circuit().about["stability"]} >= {"features", "genes", "edges"}


def test_without_another_label_there_is_no_contrast() -> None:
    found = made(against=None, target="B cell")
    assert not found.has_other
    assert not [name for name in [*found.nodes, *found.edges] if name.startswith(("other", "difference"))]
    assert len(found.about["cell_names"]) == 1


def test_cells_that_cannot_be_asked_are_left_out_with_the_reason(tmp_path: Path) -> None:
    cells = donor_cells()
    counts = cells.counts.toarray()
    lacking = str(cells.obs.index[0])
    counts[0, 1] = 0
    cells = cells.with_counts(type(cells.counts)(counts))
    options = {**ASKED, "against": None, "target": "expression:CD3D", "n_cells": 6, "folder": tmp_path / "w"}
    found = class_circuit(model_of("scgpt"), cells, "B cell", transcoders("scgpt"), **options)
    assert list(found.about["left_out"]) == [lacking]
    assert "reads no token of 'CD3D'" in found.about["left_out"][lacking]
    assert len(found.about["cell_names"][0]) == 5
    assert lacking not in found.about["cell_names"][0]
    with pytest.raises(InputError, match=r"none of 6 cells can be asked; of the first: .*NOGENE"):
        class_circuit(model_of("scgpt"), cells, "B cell", transcoders("scgpt"),
                      **{**options, "target": "expression:NOGENE", "folder": None})  # fmt: skip


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"n_cells": 0}, "n_cells is 0"),
        ({"against": "B cell"}, "'B cell' cannot be held against itself"),
        ({"against": "C cell"}, "no cell has 'C cell' in column 'type'"),
        ({"batch": "donors"}, "no obs column 'donors'"),
        ({"labels": "typo"}, "no obs column 'typo'"),
    ],
)
def test_wrong_use_is_one_line(more: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(**more)


def test_a_folder_of_another_circuit_is_refused(tmp_path: Path) -> None:
    made(folder=tmp_path / "w", n_cells=1, against=None)
    with pytest.raises(InputError, match="holds the trace of a class of other cells, another model or question"):
        made(folder=tmp_path / "w", n_cells=1, against=None, features=39)

"""``benchmarks/planted_circuit.py``: the truth that it plants, its measures, and one seed of all of it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.circuits.freezing import freeze
from cellglass.circuits.graph import Graph
from cellglass.models.cell2sentence.model import Cell2SentenceModel

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def planted() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("planted_circuit")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def report(planted: Any) -> Any:  # (makes benchmarks/ importable)
    return importlib.import_module("planted_circuit_report")


def test_pivotal_genes_are_those_whose_deletion_changes_what_a_rule_says(planted: Any) -> None:
    made = planted.simulate(400, 3, "held")
    a, b, a2, c, d = made.markers

    def said(counted: Any) -> tuple[bool, bool]:
        return bool(counted[a] and not counted[b]), bool(counted[a2] if counted[c] else counted[d])

    for i, row in enumerate(made.cells.counts.toarray()[:60] > 0):
        one, two = said(row)
        assert made.cells.obs["type"].iloc[i] == planted.TYPES[one + 2 * two]
        for gene in range(planted.GENES):
            without = said(row & (np.arange(planted.GENES) != gene))
            assert made.pivotal[:, i, gene].tolist() == [without[0] != one, without[1] != two]
    for rule, wanted in (("one hop", [[0], [1]]), ("two hops", [[2, 3]])):
        for place, i in enumerate(made.hanging_on(rule, 4, wanted)):
            own, other = made.pivotal[planted.RULES.index(rule), i], made.pivotal[1 - planted.RULES.index(rule), i]
            assert set(np.flatnonzero(own)) == set(made.markers[wanted[place % len(wanted)]])
            assert other.any()


def test_a_question_holds_the_other_rule_as_it_is(planted: Any) -> None:
    assert planted.asked_about(np.array([False, True]), "one hop") == ("delta", "gamma")
    assert planted.asked_about(np.array([True, False]), "two hops") == ("delta", "beta")


def test_a_ranking_is_right_where_the_wanted_genes_lead_by_size(report: Any) -> None:
    effects = pd.Series({"A": -3.0, "B": 0.5, "C": 2.0})
    assert report.led_by(effects, {"A", "C"})
    assert report.led_by(effects, {"A"})
    assert not report.led_by(effects, {"C"})


def test_a_mean_over_cells_is_of_one_group_and_0_where_a_gene_is_not_counted(report: Any) -> None:
    def cell(markers: str, **effects: float) -> dict[str, Any]:
        return {"markers": [*markers], "pivotal": [markers[-1]], "effects": {"total": effects}}

    one = [cell("A", A=3, X=4), cell("A", A=3), cell("AB", A=2, B=-3, X=1)]
    found = [{"seed": 0, "one hop": {"cells": one}, "two hops": {"cells": [cell("AC", A=1, C=2, X=3)]}}]
    table = report.classes_right(found).set_index("cells")
    assert table["right"].to_dict() == {"A and B": 1, "A and C": 0, "A, not B": 1}  # X has (4 + 0) / 2
    assert table["pivotal"].to_dict() == {"A and B": 1, "A and C": 0, "A, not B": 1}


def test_path_weight_by_length_is_that_of_all_paths_one_by_one(planted: Any) -> None:
    nodes = pd.DataFrame({"kind": ["token", "token", "feature", "feature", "answer"], "layer": [-1, -1, 0, 1, 2],
                          "position": [0, 1, 1, 1, 1], "value": [1.0, 1.0, 2.0, 4.0, 3.0]})  # fmt: skip
    weights = np.zeros((5, 5))
    weights[2, 0], weights[3, 0], weights[3, 2], weights[4, [0, 2, 3]] = -1, 3, 2, [0.5, -4, 8]
    graph = Graph(nodes, sp.csr_matrix(weights), np.ones(1), ["A", "B"], ["A", "B"])
    # direct 0.5; by one feature 1/2 x 4 and 3/4 x 8; by both 1/2 x 2/4 x 8
    assert np.allclose(planted.weight_by_length(graph, "A", 3), [0.5, 8, 2, 0])
    assert np.allclose(planted.weight_by_length(graph, "B", 3), 0)


@pytest.mark.slow
def test_the_rules_gene_leads_where_the_answer_hangs_on_it_alone(planted: Any, report: Any) -> None:
    found = planted.one_seed(0, planted.QUICK)
    assert found["accuracy"] >= 0.95
    table = report.seeds_right([found]).set_index(["method", "cells"])
    assert table.loc[("total", "A, not B"), "share"] == 1
    assert table.loc[("deletion", "A, not B"), "share"] == 1
    for rule in planted.RULES:
        for cell in found[rule]["cells"]:
            assert all(abs(sum(one) - 1) < 1e-9 for one in cell["lengths"])


@pytest.mark.slow
def test_what_deletion_takes_through_features_finds_the_rules_where_no_pattern_can_hold_them(
    planted: Any, report: Any
) -> None:
    found = planted.one_seed(0, replace(planted.QUICK, even=True, graphs=0))
    assert found["accuracy"] >= 0.95
    table = report.seeds_right([found]).set_index(["method", "cells"])
    for cells in report.GROUPS:
        assert table.loc[("lost", cells), "pivotal_share"] > 0.5
        assert table.loc[("random lost", cells), "pivotal_share"] <= 0.5
    assert {*report.METHODS} == {*found["one hop"]["cells"][0]["effects"]}


def test_heads_that_look_everywhere_alike_stay_so(planted: Any) -> None:
    cells = planted.simulate(40, 0, "learn").cells
    model = Cell2SentenceModel.fit(
        cells, layers=1, width=16, heads=2, epochs=0, labels="type", n_genes=planted.GENES, vocabulary=600
    )
    held = planted.looks_alike(model.net)
    assert len(held) == 2
    for weight, rows in held:
        assert not weight.data[rows].any()
        assert len(rows) == 32
    pattern = freeze(model.net, lambda: model.net(input_ids=torch.arange(9)[None])).attend(0).heads.pattern
    alike = torch.ones(9, 9).tril() / torch.arange(1, 10)[:, None]
    torch.testing.assert_close(pattern, alike.expand(2, 9, 9))

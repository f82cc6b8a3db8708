"""From a cell and a question to a graph: what stands in it, what is written, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellglass.circuits import cost_of, gene_table, read_graph, trace, write_trace
from cellglass.circuits.tracing import asked_of
from cellglass.circuits.transcoders import Transcoders, fingerprint_of
from cellglass.errors import InputError
from circuits.models import TARGETS, cells_of, model_of, transcoders_of


def made_for(kind: str, labels: str | None = None) -> Transcoders:
    model = model_of(kind)
    given = tuple(transcoders_of(kind))
    return Transcoders(model.kind, fingerprint_of(model), len(given), given, labels=labels)


@pytest.mark.parametrize("kind", sorted(TARGETS))
def test_a_graph_says_what_was_asked_and_adds_up(kind: str) -> None:
    target, against = TARGETS[kind]
    told: list[tuple[int, int]] = []
    graph = trace(
        model_of(kind), cells_of(), "c1", made_for(kind), target, against, features=30,
        progress=lambda what, done, total: told.append((done, total)) if what == "trace features" else None,
    )  # fmt: skip
    about = graph.about
    assert (about["cell"], about["target"], about["against"]) == ("c1", target, against)
    assert told[-1] == (30, 30)
    assert len(graph.of_kind("feature")) == 30
    answer = graph.of_kind("answer")
    assert graph.weights[answer].sum() == pytest.approx(about["answer"], rel=1e-3, abs=1e-4)
    assert about["scores"]["completeness"] == pytest.approx(graph.scores().completeness)
    assert about["bare"]["replacement"] == pytest.approx(graph.bare().scores().replacement)
    table = gene_table(graph)
    assert list(table.columns) == ["total", "direct", "removal", "integrated", "occlusion", "deletion"]
    assert table["total"].abs().is_monotonic_decreasing
    direct = graph.gene_effects().iloc[:, 0]
    np.testing.assert_allclose(table["direct"][direct.index], direct, rtol=1e-3, atol=1e-4)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    graph = trace(model_of("gpt_neox"), cells_of(), "c0", made_for("gpt_neox"), "B cell", "T cell", features=20)
    written = write_trace(graph, tmp_path / "deep" / "graph.json")
    assert [path.name for path in written] == ["graph.json", "graph.svg", "graph.csv"]
    again = read_graph(written[0])
    assert again.about == graph.about
    np.testing.assert_array_equal(again.weights.toarray(), graph.weights.toarray())
    assert "<svg" in written[1].read_text()
    pd.testing.assert_frame_equal(pd.read_csv(written[2], index_col="gene"), gene_table(graph))
    with pytest.raises(InputError, match=r"graph.txt: a graph is written as JSON; end the file's name in .json"):
        write_trace(graph, tmp_path / "graph.txt")


def test_without_deletion_the_model_is_not_run_again() -> None:
    graph = trace(model_of("scgpt"), cells_of(), "c0", made_for("scgpt"), "LYZ", features=5, delete=False)
    assert list(gene_table(graph).columns) == ["total", "direct"]


def test_cost_is_told_before() -> None:
    asked = asked_of(model_of("gpt_neox"), cells_of(), "c0", made_for("gpt_neox"), "B cell", "T cell")
    cost = cost_of(asked, 25)
    assert (cost.targets, cost.passes) == (26, 2)
    assert cost.active == sum(f.n_active for f in asked.replacement.features)


@pytest.mark.parametrize(
    ("cell", "target", "against", "message"),
    [
        ("nobody", "B cell", None, "there is no cell 'nobody'; its cells are named as c0, c1, c2"),
        ("c0", "A cell", None, "no cell has 'A cell' in column 'type', so the model was never taught to say it"),
        ("c0", "label:B cell", "C cell", "no cell has 'C cell' .* it knows: B cell, T cell"),
    ],
)
def test_wrong_use_is_one_line(cell: str, target: str, against: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        trace(model_of("gpt_neox"), cells_of(), cell, made_for("gpt_neox", "type"), target, against)


def test_a_gene_is_no_label_and_needs_none() -> None:
    graph = trace(
        model_of("gpt_neox"), cells_of(), "c0", made_for("gpt_neox", "type"), "gene:LYZ", features=3, delete=False
    )
    assert graph.about["target"] == "gene:LYZ"


def test_transcoders_of_another_model_are_refused() -> None:
    with pytest.raises(InputError, match=r"belong to another model .* load the model that they were trained for"):
        trace(model_of("geneformer"), cells_of(), "c0", made_for("scgpt"), "CD79A")


def test_with_linear_patterns_the_graph_says_so_and_adds_up(tmp_path: Path) -> None:
    asked = (model_of("gpt_neox"), cells_of(), "c1", made_for("gpt_neox"), *TARGETS["gpt_neox"])
    graph, plain = (trace(*asked, features=20, patterns=one, delete=False) for one in ("linear", "frozen"))
    write_trace(graph, tmp_path / "graph.json")
    assert (read_graph(tmp_path / "graph.json").about["patterns"], plain.about["patterns"]) == ("linear", "frozen")
    assert graph.about["answer"] == plain.about["answer"]
    size = np.abs(graph.weights[graph.of_kind("answer")]).sum()
    assert abs(graph.weights[graph.of_kind("answer")].sum() - graph.about["answer"]) < 1e-4 * size
    direct = graph.gene_effects().iloc[:, 0]
    np.testing.assert_allclose(gene_table(graph)["direct"][direct.index], direct, rtol=1e-3, atol=1e-4 * size)
    assert not np.allclose(gene_table(graph)["direct"], gene_table(plain)["direct"].reindex(gene_table(graph).index))
    with pytest.raises(InputError, match="patterns are one of frozen, linear, not 'soft'"):
        trace(*asked, patterns="soft")

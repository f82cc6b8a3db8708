"""Positions of one cell's graph added up: by a loop over all pairs of nodes; totals add up to the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellglass.circuits.asked import Asked
from cellglass.circuits.build import build_graph
from cellglass.circuits.classes.merging import Key, Merged, merge, read_merged, totals_of, write_merged
from cellglass.circuits.graph import Graph
from cellglass.circuits.pruning import edge_scores, prune
from circuits.models import TARGETS, asked_of


def graph_of(one: Asked) -> Graph:
    return build_graph(one.frozen, one.replacement, one.answers, one.question.texts, one.question.genes, most=30)


@pytest.fixture(scope="module")
def both() -> tuple[Graph, Merged]:
    one = asked_of("gpt_neox")
    graph = graph_of(one)
    return graph, merge(graph, totals_of(one))


def test_every_number_is_a_sum_over_members(both: tuple[Graph, Merged]) -> None:
    graph, merged = both
    keys = []
    for row in graph.nodes.to_dict("records"):
        layer, gene, number = -1, "", -1
        if row["kind"] == "token":
            gene = graph.genes[row["position"]]
        elif row["kind"] in ("feature", "error"):
            layer, number = row["layer"], row["feature"]
        elif row["kind"] == "bias" and row["label"].startswith("layers."):
            layer = int(row["label"].split(".")[1])
        keys.append(Key(row["kind"], layer, number, gene))
    weights, scores = graph.weights.toarray(), edge_scores(graph).toarray()
    pruned = prune(graph)
    place = {key: i for i, key in enumerate(merged.keys)}
    assert {*keys} == {key for key in place if key.kind != "head"}
    expected = np.zeros((3, len(place), len(place)))
    for t, s in zip(*np.nonzero(weights), strict=True):
        expected[0, place[keys[t]], place[keys[s]]] += weights[t, s]
        expected[1, place[keys[t]], place[keys[s]]] += scores[t, s]
    found = np.zeros_like(expected[:2])
    of_heads = np.array([merged.keys[i].kind == "head" for i in merged.target])
    assert not merged.passed[of_heads].any()
    heads = graph.heads
    for row, (layer, head) in enumerate(zip(heads.table["layer"], heads.table["head"], strict=True)):
        for node, weight in enumerate(heads.weights[row].toarray()[0]):
            expected[0, place[Key("head", layer, head)], place[keys[node]]] += weight
    found[0, merged.target, merged.source] = merged.weight
    found[1, merged.target, merged.source] = merged.passed
    np.testing.assert_allclose(found, expected[:2], rtol=1e-4, atol=1e-5)
    influence = graph.influence()
    for key, i in place.items():
        members = [n for n, one in enumerate(keys) if one == key]
        assert merged.influence[i] == pytest.approx(influence[members].sum(), rel=1e-9)
    stays = {(keys_of(pruned)[t], keys_of(pruned)[s]) for t, s in zip(*pruned.weights.nonzero(), strict=True)}
    edges = {
        (merged.keys[t], merged.keys[s])
        for t, s, kept in zip(merged.target, merged.source, merged.stays, strict=True)
        if kept
    }
    assert {edge for edge in edges if edge[0].kind != "head"} == {
        (t, s) for t, s in stays if s.kind not in ("bias", "rest")
    }
    features = {key for key in keys_of(pruned) if key.kind == "feature"}
    assert features == {
        key for key, kept in zip(merged.keys, merged.kept, strict=True) if kept and key.kind == "feature"
    }


def keys_of(graph: Graph) -> list[Key]:
    found = []
    for row in graph.nodes.to_dict("records"):
        gene = graph.genes[row["position"]] if row["kind"] == "token" else ""
        placed = row["kind"] in ("feature", "error")
        found.append(Key(row["kind"], row["layer"] if placed else -1, row["feature"], gene))
    return found


def test_a_feature_is_active_where_its_members_stand(both: tuple[Graph, Merged]) -> None:
    graph, merged = both
    rows = graph.nodes.iloc[graph.of_kind("feature")]
    for (feature, token), value in zip(merged.where, merged.active, strict=True):
        key, gene = merged.keys[feature], merged.keys[token].gene
        members = rows[(rows["layer"] == key.layer) & (rows["feature"] == key.number)]
        here = [graph.genes[position] == gene for position in members["position"]]
        assert value == pytest.approx(members["value"][here].sum(), rel=1e-6)
    assert merged.active.sum() == pytest.approx(rows["value"].sum(), rel=1e-6)


@pytest.mark.parametrize("kind", sorted(TARGETS))
def test_totals_of_tokens_errors_and_biases_add_up_to_the_answer(kind: str) -> None:
    one = asked_of(kind)
    totals = totals_of(one)
    parts = sum(value for key, value in totals.items() if key.kind in ("token", "error", "bias"))
    assert parts == pytest.approx(float(one.answers.found[0]), rel=1e-3, abs=1e-4)


def test_heads_have_their_effect_and_add_up(both: tuple[Graph, Merged]) -> None:
    graph, merged = both
    place = {key: i for i, key in enumerate(merged.keys)}
    table = graph.heads.table
    for row in table.itertuples():
        node = place[Key("head", row.layer, row.head)]
        assert (merged.effect[node], merged.value[node]) == (row.effect, row.direct)
        assert merged.weight[merged.target == node].sum() == pytest.approx(row.effect, rel=1e-4, abs=1e-5)
        assert merged.seen[merged.at[:, 0] == node].sum() == pytest.approx(row.effect, rel=1e-4, abs=1e-5)
    kept = table[[merged.kept[place[Key("head", *pair)]] for pair in zip(table["layer"], table["head"], strict=True)]]
    size, order = table["effect"].abs().sum(), table["effect"].abs().sort_values(ascending=False)
    assert set(kept.index) == set(order.index[: len(kept)])
    assert kept["effect"].abs().sum() >= 0.8 * size > kept["effect"].abs().sum() - order.iloc[len(kept) - 1]
    gene = next(key for key in merged.keys if key.gene)
    tokens = [i for i, name in enumerate(graph.genes) if name == gene.gene]
    of_first = (merged.at[:, 0] == place[Key("head", 0, 0)]) & (merged.at[:, 1] == place[gene])
    assert merged.seen[of_first].sum() == pytest.approx(graph.heads.seen[0, tokens].sum(), rel=1e-5)


def test_what_is_kept_is_read_again(both: tuple[Graph, Merged], tmp_path: Path) -> None:
    merged = both[1]
    write_merged(merged, tmp_path / "cell")
    again = read_merged(tmp_path / "cell")
    assert again.keys == merged.keys
    assert isinstance(again.keys[0], Key)
    for name, value in vars(merged).items():
        if name != "keys":
            np.testing.assert_array_equal(getattr(again, name), value)
            assert getattr(again, name).dtype == value.dtype

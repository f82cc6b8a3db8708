"""A try of one cell, and of cells of a label, is what Python gives; what a circuit cannot be asked is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cellglass.atlas import open_atlas
from cellglass.circuits import ScaleFeatures, SetCount, read_graph, try_changes, try_in_cells
from cellglass.circuits.classes.cells import ordered_cells
from cellglass.errors import InputError
from cellglass.explorer.trying.answers import steps
from cellglass.explorer.trying.bench import Bench, Given
from cellglass.explorer.trying.wanted import Count, Features, Wanted
from explorer.conftest import MONO, B, Tried


@pytest.fixture(scope="module")
def bench(tried: Tried) -> Bench:
    return Bench(open_atlas(tried.folder), Given(transcoders=tried.transcoders))


def strongest(tried: Tried) -> tuple[int, int]:
    """Return layer and number of the strongest feature of the circuit."""
    graph = read_graph(tried.folder / "circuits" / f"{tried.circuit}.json")
    features = graph.of_kind("feature")
    best = features[np.argmax(graph.influence()[features])]
    layer, number = graph.nodes.iloc[best][["layer", "feature"]]
    return int(layer), int(number)


def last(bench: Bench, *given: Any) -> dict[str, Any]:
    found = list(steps(bench, Wanted(*given)))
    assert [one.done for one in found] == [0, *range(len(found) - 1)]
    assert found[-1].result is not None
    return found[-1].result


def test_a_feature_in_one_cell(bench: Bench, tried: Tried) -> None:
    member = strongest(tried)
    found = last(bench, tried.circuit, [Features([member], 0, None)], "cell-3", None, 30, 5)
    opened = bench.opened
    assert opened.transcoders is not None
    given = (opened.model, opened.cells[3:4], opened.transcoders.stand_ins)
    wanted = try_changes(*given, B, MONO, changes=[ScaleFeatures([member])], draws=5)
    assert wanted.change != 0
    for name in ("before", "after", "change", "share", "norm"):
        assert found[name] == pytest.approx(getattr(wanted, name), rel=1e-4)
    assert found["control"] == pytest.approx((wanted.control - wanted.before).tolist(), rel=1e-4, abs=1e-6)
    assert (found["cell"], found["touched"]) == ("cell-3", wanted.touched)
    assert [one["word"] for one in found["words"]] == [B, MONO]
    assert found["words"][1]["after"] == pytest.approx(wanted.chances[1, 1], rel=1e-4)
    assert found["words"][0]["control"] == pytest.approx(wanted.chances[2:, 0].mean(), rel=1e-4)


def test_a_count_in_cells_of_a_label(bench: Bench, tried: Tried) -> None:
    found = last(bench, tried.of_class, [Count("LYZ", 9)], None, B, 3, 4)
    opened = bench.opened
    some = np.sort(ordered_cells(opened.cells, "cell type", B)[:3])
    wanted = try_in_cells(opened.model, opened.cells[some], None, B, changes=[SetCount("LYZ", 9)], draws=4)
    for name in ("before", "after", "change", "sd", "share"):
        assert found[name] == pytest.approx(getattr(wanted, name), rel=1e-4)
    assert found["control"] == pytest.approx(wanted.control.tolist(), rel=1e-4, abs=1e-6)
    assert (found["n"], found["label"], found["left_out"]) == (3, B, 0)


def test_what_cannot_be_asked_is_said(bench: Bench, tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    change = [Count("LYZ", 0)]
    for given, says in (
        ((tried.circuit, change, "no-cell", None, 1, 1), "no cell 'no-cell'"),
        ((tried.circuit, change, None, "no label", 1, 1), "no cell has 'no label'"),
        (("no circuit", change, "cell-0", None, 1, 1), "no circuit 'no circuit'"),
        ((tried.circuit, [Count("NOPE", 0)], "cell-0", None, 1, 1), "no gene 'NOPE'"),
        ((tried.circuit, [Features([(0, 99)], 0, None)], "cell-0", None, 1, 1), "no feature L0/99"),
    ):
        with pytest.raises(InputError, match=says):
            list(steps(bench, Wanted(*given)))
    for about, says in (
        ({"target": "probe at layers.1.resid of LYZ"}, "a direction that its file does not hold"),
        ({"cell": "cell-0"}, "does not say what it asks"),
        ({"target": "concept:0 at layers.1.resid of LYZ"}, "dictionar"),  # which this atlas lacks
        ({"target": B, "fingerprint": "0"}, "of another model"),
    ):
        monkeypatch.setattr(bench, "about", lambda _name, about=about: about)
        with pytest.raises(InputError, match=says):
            list(steps(bench, Wanted(tried.circuit, change, "cell-0", None, 1, 1)))
    bare = Bench(bench.atlas, Given(model=tried.folder))
    with pytest.raises(InputError, match="no column of labels"):
        list(steps(bare, Wanted(tried.circuit, change, None, B, 1, 1)))
    named = list(steps(bare, Wanted(tried.circuit, change, None, "G1", 2, 1, "phase")))[-1].result
    assert named is not None
    assert named["n"] == 2

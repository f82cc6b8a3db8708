"""``benchmarks/planted_hops.py``: which paths count as two hops, the markers, random transcoders, the table."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from circuits.classes.made import circuit, transcoders

ROOT = Path(__file__).parents[1]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("benchmarks", "docs"):
        monkeypatch.syspath_prepend(str(ROOT / name))
    return SimpleNamespace(**{name: importlib.import_module(name) for name in ("planted_hops", "circuit_tables")})


def seed(number: int, trained: list[tuple[str, list[int]]]) -> dict[str, Any]:
    """What a seed finds: paths of trained transcoders as given, of random ones none but direct."""
    paths = {"trained": [(*one, 1.0) for one in trained], "random": [("MA", [], 1.0)]}
    return {"seed": number, "network": "as they learn", "accuracy": 1.0, "markers": {"A": "MA", "C": "RE", "D": "NO"},
            "paths": paths}  # fmt: skip


def test_two_hops_pass_two_layers_and_begin_at_a_gene(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hops, tables = study.planted_hops, study.circuit_tables
    far = [("KA", [1])] * 40
    found = [
        seed(0, [("prompt", [1, 2]), ("MA", [1, 1]), ("RE", [0, 2]), ("MA", [1, 2])]),
        seed(1, [("KA", [1, 2]), ("RE", [1, 2]), *far, ("MA", [0, 1])]),
    ]
    rows = [row for one in found for row in hops.rows_of(one)]
    values = {(row.metric, row.name): row.value for row in rows}
    first = "the first path of a gene through two layers is of the rule"
    assert [values[first, f"as they learn, seed {i}, trained transcoders"] for i in (0, 1)] == [1, 0]
    place = "place of the first path through two layers, of"
    assert [values[f"{place} {one}", "as they learn, seed 0, trained transcoders"] for one in "ACD"] == [4, 3, 0]
    assert values[f"{place} A", "as they learn, seed 1, trained transcoders"] == 43
    assert values[first, "as they learn, seed 0, random transcoders"] == 0
    monkeypatch.setattr(tables, "read", lambda _: (values, "AMD, 2 cores"))
    lines = tables.hops().splitlines()
    told = "2 of 2 | 1 of 2 | 2 of 2 | 0 of 2 | 1 of 2 | 1 of 2 | 1.000"
    assert lines[2] == f"| as they learn: trained transcoders | {told} |"
    assert lines[3] == f"| as they learn: random transcoders | {' | '.join(['0 of 2'] * 6)} | 0.000 |"
    assert lines[-1] == "Measured on an AMD, 2 cores."


def test_the_markers_are_those_of_the_second_rule(study: Any) -> None:
    import planted_circuit

    held = planted_circuit.simulate(300, 3, "held")
    symbols = held.cells.genes["symbol"].to_numpy()
    a, c, d = (list(symbols).index(one) for one in study.planted_hops.marked(3))
    counted = held.cells.counts.toarray() > 0
    assert ((counted[:, c] & counted[:, a]) | (~counted[:, c] & counted[:, d])).tolist() == held.said[:, 1].tolist()


def test_paths_and_random_transcoders(study: Any) -> None:
    paths = study.planted_hops.paths_of(circuit())
    assert max(len(layers) for _, layers, _ in paths) == 2
    assert all(layers == sorted(layers) for _, layers, _ in paths)
    made = study.planted_hops.drawn(transcoders(), 1)
    for one, other in zip(made.dictionaries, transcoders().dictionaries, strict=True):
        torch.testing.assert_close(one.encoder.norm(dim=1), other.encoder.norm(dim=1))
        assert not torch.allclose(one.encoder, other.encoder)

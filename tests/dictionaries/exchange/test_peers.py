"""The real libraries, in environments of their own, compute what cellglass computes, on one and the same dictionary."""

from __future__ import annotations

import importlib
from collections import defaultdict
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "read", "wrote"), [("saelens", 28, 16), ("sparsify", 18, 6), ("circuit_tracer", 14, 0)]
)
def test_activations_and_reconstructions_agree_to_1e_5(library, read, wrote, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    environments = importlib.import_module("environments")
    exchange = importlib.import_module("dictionary_exchange")
    n = 1000
    try:
        found = list(exchange.compare(library, n))
    except environments.PeerError as error:
        if "registry cannot be reached" not in str(error):
            raise
        pytest.skip(str(error).splitlines()[0])
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for row in found:
        values[row.metric][row.name] = row.value
    for metric in ("max_difference_activations", "max_difference_reconstructions"):
        names = list(values[metric])
        assert (sum(" reads " in name for name in names), sum(" wrote " in name for name in names)) == (read, wrote)
        assert {name: value for name, value in values[metric].items() if not value <= 1e-5} == {}
    assert max(values["rows_left_out"].values()) <= 0.03 * n
    assert min(values["active_latents"].values()) > 1
    if library == "circuit_tracer":
        assert len(values["features_in_a_graph"]) == read
        assert min(values["features_in_a_graph"].values()) > 10

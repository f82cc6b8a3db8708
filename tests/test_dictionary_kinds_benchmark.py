"""``benchmarks/dictionary_kinds.py``: rows that are measured anew take the place of the old; concepts stand alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cellglass.dictionaries.kinds.consensus import Consensus, ConsensusConfig

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def kinds() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("dictionary_kinds")
    sys.path.remove(str(BENCHMARKS))


def row(name: str, value: float) -> dict[str, Any]:
    return {"name": name, "metric": "f1", "value": value}


def test_rows_measured_anew_replace_those_of_the_same_name_in_the_order_of_kinds(kinds: Any) -> None:
    before = [row("neurons", 1), row("topk, 64 latents, k 4", 2), row("topk, 64 latents, k 8", 3)]
    now = [row("topk, 64 latents, k 4", 5), row("consensus, concepts alone", 6), row("consensus", 7)]
    joined = kinds._joined(before, now, ["neurons", "consensus", "consensus, concepts alone", "topk"])
    assert [(one["name"], one["value"]) for one in joined] == [
        ("neurons", 1),
        ("consensus", 7),
        ("consensus, concepts alone", 6),
        ("topk, 64 latents, k 8", 3),
        ("topk, 64 latents, k 4", 5),
    ]
    assert kinds._kind("topk, 64 latents, k 4") == ("topk", "64", "4")
    assert kinds._kind("consensus, concepts alone") == ("consensus, concepts alone", "", "")


def test_concepts_alone_answer_as_they_do_among_the_others(kinds: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    made = Consensus(ConsensusConfig(5, 12, 4, n_core=6, n_concepts=3))
    state = {name: torch.randn(value.shape, generator=generator) for name, value in made.state_dict().items()}
    state["scale"], state["threshold"] = torch.tensor(2.0), state["threshold"].abs()
    made.load_state_dict(state)
    made.freeze()
    alone = kinds.concepts_of(made)
    x = torch.randn(50, 5, generator=generator)
    assert alone.n_latents == alone.n_findings == 3
    own, among = (one.encode(x).to_csr().toarray() for one in (alone, made))
    np.testing.assert_allclose(own, among[:, :3], rtol=1e-5)
    assert torch.equal(alone.directions, made.directions[:3])

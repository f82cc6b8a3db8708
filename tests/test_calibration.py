"""The calibration of ``benchmarks/calibration.py``, in a few repetitions: random structure gets no findings."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binom

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def calibration() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("calibration")
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.slow
def test_random_structure_gets_no_more_findings_than_the_level(calibration: Any) -> None:
    table = calibration.measure(4)
    by_q = ["gsea by q", "ulm by q", "ora by q"]
    claims = table.drop(index=["power: path, real partners", "concepts without structure", *by_q])
    assert {"path, residual latents", "swap, hubs, residual latents", "gsea by null_q", "labels permuted"} <= set(
        claims.index
    )
    assert (claims["share"] <= calibration.LEVEL).all()
    for name, row in claims.iterrows():
        # As many concepts with any finding as one in twenty would have, but for once in a thousand such tables.
        assert row["with_any"] <= binom.ppf(0.999, int(row["concepts"]), calibration.LEVEL), name
    assert table.loc["knockout, residual latents", "tested"] == 0
    assert table.loc["path, residual latents", "concepts"] >= 40
    assert table.loc["path, residual latents", "tested"] > 5000


@pytest.mark.slow
def test_pairs_without_a_concept_lie_as_far_as_the_real_ones(calibration: Any) -> None:
    from cellglass.attribution.pairs import choose_pairs, distances_of

    work = calibration.explained(calibration.structureless(0), 0)
    latents = range(work.dictionary.n_latents)
    concept = max(latents, key=lambda c: -abs(len(work.active(c)[0]) - 100))
    real, instead = (
        choose_pairs(work, [concept]).table,
        calibration.without_real_partners(work, concept, hubs=False, seed=0),
    )
    assert (work.codes[instead["partner"].to_numpy(), concept].toarray() > 0).all()
    far = {
        (name, kind): distances_of(work, table[table["kind"] == kind]).mean()
        for name, table in (("real", real), ("instead", instead))
        for kind in ("real", "null")
    }
    assert far["instead", "real"] == pytest.approx(far["real", "real"], rel=0.25)
    assert far["instead", "null"] == pytest.approx(far["instead", "real"], rel=0.25)

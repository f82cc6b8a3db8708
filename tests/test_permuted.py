"""Tests of cells and replicates, where nothing is to be found: with labels permuted, findings are as rare as q says.

A hundred permutations each. Under a null that holds for all hypotheses the false discovery rate is the chance of any
finding at all, so at most 5 in a hundred should have one; 11 are had with a probability of 0.4 % at exactly 5 %.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.attribution.methods.de import Expressed
from cellglass.cells import Cells
from cellglass.evaluation.naming import named
from cellglass.pipeline.perturbations import _Asked, _shifts

PERMUTATIONS, MOST = 100, 11
N, GENES = 300, 60


@pytest.fixture(scope="module")
def cells() -> Cells:
    """Return cells of three types and six donors, which differ: only what is permuted is unrelated."""
    rng = np.random.default_rng(0)
    kind, donor = rng.integers(3, size=N), rng.integers(6, size=N)
    rate = np.exp(0.8 * rng.normal(size=(3, GENES))[kind] + 0.5 * rng.normal(size=(6, GENES))[donor])
    ids = [f"g{i}" for i in range(GENES)]
    obs = pd.DataFrame({"donor": donor.astype(str)}, index=[f"c{i}" for i in range(N)])
    counts = sp.csr_matrix(rng.poisson(rate).astype(np.float32))
    return Cells(counts, pd.DataFrame({"symbol": ids}, index=ids), obs)


@pytest.fixture(scope="module")
def codes(cells: Cells) -> sp.csr_matrix:
    """Return activations of twelve concepts that follow genes."""
    x = np.log1p(cells.counts.toarray()) @ np.random.default_rng(1).normal(size=(GENES, 12))
    return sp.csr_matrix(np.clip(x - np.quantile(x, 0.7, axis=0), 0, None))


def _with_a_finding(q_of: Callable[[np.random.Generator], np.ndarray]) -> int:
    return sum(bool((q_of(np.random.default_rng(1000 + i)) < 0.05).any()) for i in range(PERMUTATIONS))


def test_expression_of_cells_drawn_at_random(cells: Cells) -> None:
    expressed = Expressed(cells)

    def q(rng: np.random.Generator) -> np.ndarray:
        found = expressed.compare(rng.permutation(N)[:80], 0)
        assert found is not None
        return found.q

    assert _with_a_finding(q) <= MOST


@pytest.mark.parametrize("replicate", [None, "donor"], ids=["cells", "replicates"])
def test_shifts_of_a_perturbation_that_is_permuted(cells: Cells, codes: sp.csr_matrix, replicate: str | None) -> None:
    """Within donors, so that a donor is as often perturbed as not: what donors share is not what is tested."""
    donor = cells.obs["donor"].to_numpy()

    def q(rng: np.random.Generator) -> np.ndarray:
        group = np.zeros(N, dtype=np.int64)
        for one in np.unique(donor):
            mine = rng.permutation(np.flatnonzero(donor == one))
            group[mine[: len(mine) // 2]] = 1
        asked = _Asked(["drug"], group, np.array([-1]), [])
        return _shifts(asked, codes, np.arange(12), cells, replicate)["q"].to_numpy()

    assert _with_a_finding(q) <= MOST


def test_places_of_genes_drawn_at_random() -> None:
    assert sum(named(np.random.default_rng(i).random(12), seed=i).verdict == "yes" for i in range(PERMUTATIONS)) <= MOST

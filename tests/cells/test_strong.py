"""Genes that a choice by variance loses are kept: of a rare type, and of a label; what is left out is named."""

import logging

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats

from cellglass.cells import Cells, simulate, variable_genes
from cellglass.cells.select import _most_variable
from cellglass.cells.strong import marking_genes, name_left_out, pearson_variance


@pytest.fixture(scope="module")
def pancreas() -> Cells:
    """Cells of which thirty have a gene (0) with 5,000 counts, as somatostatin in delta cells; others about eight."""
    planted = simulate(n_cells=600, n_genes=800, n_programs=8, n_types=4, depth=4000.0, seed=2).cells
    counts, rng = planted.counts.toarray(), np.random.default_rng(0)
    delta = np.zeros(600, dtype=bool)
    delta[rng.permutation(600)[:30]] = True
    counts[:, 0] = np.where(delta, rng.poisson(5000, 600), rng.poisson(8.0, 600))
    obs = planted.obs.assign(fine=pd.Categorical(np.where(delta, "delta", "other")))
    return Cells(sp.csr_matrix(counts), planted.genes, obs, source="pancreas")


def test_one_very_strong_gene_of_a_rare_type_is_kept(pancreas: Cells) -> None:
    usable = np.arange(pancreas.n_genes)
    assert 0 not in _most_variable(pancreas, usable, 100, None)
    assert pearson_variance(pancreas, usable).argmax() == 0
    for batch in (None, "batch"):
        chosen = variable_genes(pancreas, 100, batch=batch)
        assert 0 in chosen
        assert set(_most_variable(pancreas, usable, 100, batch)) <= set(chosen)


def test_genes_that_mark_a_label_are_those_of_a_loop_over_scipy(pancreas: Cells) -> None:
    usable = np.flatnonzero(np.bincount(pancreas.counts.indices, minlength=800) > 30)
    counts = pancreas.counts[:, usable].toarray().astype(float)
    logs = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    wanted: set[int] = set()
    for name in ("cell_type", "fine"):
        for value in pancreas.obs[name].unique():
            mine = (pancreas.obs[name] == value).to_numpy()
            t, p = stats.ttest_ind(logs[mine], logs[~mine], equal_var=False)
            t = np.where(stats.false_discovery_control(p) < 0.05, t, 0)
            wanted |= {int(i) for i in np.argsort(-t)[:10] if t[i] > 0}
    assert set(marking_genes(pancreas, usable, ["cell_type", "fine"])) == wanted
    assert len(wanted) > 20
    assert len(marking_genes(pancreas, usable, [])) == 0
    few = Cells(pancreas.counts, pancreas.genes, pancreas.obs.assign(each=pancreas.obs.index), source="names")
    assert len(marking_genes(few, usable, ["each"])) == 0
    assert set(usable[sorted(wanted)]) <= set(variable_genes(pancreas, 60, labels=["cell_type", "fine"]))


def test_strong_genes_that_are_left_out_are_named_in_one_line(
    pancreas: Cells, caplog: pytest.LogCaptureFixture
) -> None:
    spread = np.ones(800)
    spread[[3, 7]] = 9.0, 30.0
    with caplog.at_level(logging.WARNING, logger="cellglass"):
        name_left_out(pancreas, np.arange(800), spread, np.array([3, 7]))
        assert not caplog.records
        name_left_out(pancreas, np.arange(800), spread, np.array([1, 2]))
    names = pancreas.symbols
    assert f"2 genes that vary strongly are left out, the strongest {names[7]}, {names[3]}" in caplog.text
    assert len(caplog.records) == 1

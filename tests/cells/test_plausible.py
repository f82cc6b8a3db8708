"""Counts that mean nothing are doubted, and real ones are not."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from cellglass.cells import demo_cells, read_cells
from cellglass.cells.plausible import GENES, CellSums, doubts

RNG = np.random.default_rng(0)
DEPTH = RNG.lognormal(7, 0.4, 400).round()


def told(totals, smallest=1.0):
    totals = np.asarray(totals, dtype=np.float64)
    return " | ".join(doubts(CellSums(totals, np.full(len(totals), smallest))))


DOUBTED = {
    "empty droplets": ([*DEPTH, *RNG.poisson(2, 9000)], "9,000 of 9,400 cells look like empty droplets"),
    "ambient molecules": ([*(DEPTH * 5), *RNG.poisson(30, 9000)], "look like empty droplets (fewer than 100 counts"),
    "half empty": ([*DEPTH, *RNG.poisson(3, 300)], "300 of 700 cells look like empty droplets"),
    "few cells among many droplets": ([*DEPTH[:40], *RNG.poisson(1, 20_000)], "look like empty droplets"),
    "TPM rounded": (1e6 + RNG.integers(-300, 300, 400), "every cell sums to about 1"),
    "10,000 rounded": (1e4 + RNG.integers(-40, 40, 400), "every cell sums to about"),
    "no counts": ([*DEPTH, 0, 0], "2 cells have no counts at all"),
}
FINE = {
    "usual depths": DEPTH,
    "very different depths": RNG.lognormal(7, 1.2, 1000).round(),
    "a panel of few genes": RNG.poisson(40, 1000) + 1,
    "shallow cells": RNG.lognormal(3, 0.7, 1000).round() + 1,
    "deep plates": RNG.lognormal(13, 0.5, 300).round(),
    "some poor cells": [*DEPTH, *RNG.poisson(5, 60)],
    "few cells of one depth": [1000.0] * 5,
    "one count a cell": [1.0] * 500,
}


@pytest.mark.parametrize("case", DOUBTED)
def test_what_means_nothing_is_said(case):
    totals, says = DOUBTED[case]
    assert says in told(totals)


@pytest.mark.parametrize("case", FINE)
def test_cells_of_other_kinds_are_not_doubted(case):
    assert told(FINE[case]) == ""


def test_real_cells_are_not_doubted():
    assert " | ".join(doubts(CellSums.of(demo_cells().counts))) == ""


@settings(max_examples=40)
@given(seed=st.integers(0, 999), shape=st.tuples(st.integers(1, 9), st.integers(1, 120)), share=st.floats(0, 1))
def test_sums_equal_a_loop(seed, shape, share):
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 5, shape) * (rng.random(shape) < share)
    sums = CellSums.of(sp.csr_matrix(dense, dtype=np.float32))
    for row, total, smallest in zip(dense, *sums, strict=True):
        assert total == row.sum()
        assert smallest == (row[row > 0].min() if (row > 0).sum() >= GENES else 1)


def test_counts_that_were_scaled_and_rounded_are_doubted():
    assert "hardly any cell has a gene that was counted once" in told(DEPTH, smallest=3.0)
    counts = np.random.default_rng(0).poisson(0.7, (40, 300))
    assert told([]) == ""
    assert not list(doubts(CellSums.of(sp.csr_matrix(counts, dtype=np.float32))))
    scaled = np.rint(counts * np.random.default_rng(1).uniform(2, 9, (40, 1)))
    assert "counted once" in " ".join(doubts(CellSums.of(sp.csr_matrix(scaled, dtype=np.float32))))


@pytest.mark.parametrize("spooled", [False, True])
def test_a_file_is_doubted_in_one_line_and_read(spooled, make_adata, make_counts, tmp_path, caplog, small_blocks):
    counts = make_counts(n_cells=200).toarray()
    counts = np.rint(counts / counts.sum(axis=1, keepdims=True) * 1e6)
    make_adata(counts).write_h5ad(tmp_path / "tpm.h5ad")
    assert read_cells(tmp_path / "tpm.h5ad", spool=tmp_path / "spool" if spooled else None).n_cells == 200
    assert caplog.text.count("as TPM or normalised values do that were rounded") == 1
    assert "tpm.h5ad: every cell sums to about 1e+06" in caplog.text


def test_reading_real_files_says_nothing(real_file, caplog):
    read_cells(real_file)
    assert "cells look like" not in caplog.text
    assert "every cell sums" not in caplog.text

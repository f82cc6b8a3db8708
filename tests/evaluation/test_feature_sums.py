"""Sums over tokens are those of plain loops, and a call that was killed goes on to the same ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.circuits.objectives import ANSWER, GENE, objective_of
from cellglass.evaluation import feature_sums
from cellglass.evaluation.feature_sums import UnitSums, halves, sum_units
from cellglass.evaluation.feature_units import features_of, read_tokens_at
from evaluation.features import planted, some_cells

UNITS, GENES = 7, 5


def test_sums_are_those_of_plain_loops() -> None:
    rng = np.random.default_rng(0)
    cell = np.repeat(np.arange(6), 9)
    part = rng.integers(0, 5, len(cell))
    gene = np.where(part == GENE, rng.integers(0, GENES, len(cell)), -1)
    piece = rng.integers(2, 9, len(cell))
    codes = np.maximum(rng.normal(size=(len(cell), UNITS)), 0)
    half = np.array([0, 1, 1, 0, 1, 0])
    one = UnitSums(UNITS, GENES)
    for some in (cell < 2, cell >= 2):
        one.add(sp.csr_matrix(codes[some]), cell[some], gene[some], piece[some], part[some], half)
    for h in (0, 1):
        for kind in range(5):
            here = (half[cell] == h) & (part == kind)
            np.testing.assert_allclose(one.mass[h, kind], codes[here].sum(0))
            np.testing.assert_allclose(one.active[h, kind], (codes[here] > 0).sum(0))
            assert one.tokens[h, kind] == here.sum()
        total, active, read = np.zeros((UNITS, GENES)), np.zeros((UNITS, GENES)), np.zeros(GENES)
        for c in np.flatnonzero(half == h):
            for g in range(GENES):
                own = codes[(cell == c) & (gene == g)]
                if len(own):
                    total[:, g] += own.max(0)
                    active[:, g] += own.max(0) > 0
                    read[g] += 1
        np.testing.assert_allclose(one.genes[h].total.toarray(), total, rtol=1e-6)
        np.testing.assert_array_equal(one.genes[h].active.toarray(), active)
        np.testing.assert_array_equal(one.genes[h].tokens, read)
        on_piece = [codes[(half[cell] == h) & (part == GENE) & (piece == i)].sum(0) for i in range(9)]
        np.testing.assert_allclose(one.pieces[h].toarray(), np.transpose(on_piece), rtol=1e-6)
    np.testing.assert_allclose(one.frequency, (codes > 0).mean(0))


class KilledError(Exception):
    pass


def test_a_killed_call_goes_on_to_the_same_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_sums, "CELLS_AT_ONCE", 9)
    model, transcoders, _ = planted()
    objective, units, cells = objective_of(model, "type"), features_of(model, transcoders), some_cells()
    half = halves(cells.n_cells, 0)
    assert half.sum() == cells.n_cells // 2
    whole = sum_units(objective, cells, units, half)

    def kill(what: str, done: int, total: int) -> None:
        if done == 9:
            raise KilledError

    with pytest.raises(KilledError):
        sum_units(objective, cells, units, half, folder=tmp_path / "s", progress=kill)
    told: list[int] = []
    again = sum_units(
        objective, cells, units, half, folder=tmp_path / "s", progress=lambda _, done, total: told.append(done)
    )
    assert told == [18, 24]
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one.mass, other.mass)
        np.testing.assert_array_equal(one.tokens, other.tokens)
        assert all((mine != theirs).nnz == 0 for mine, theirs in zip(one.pieces, other.pieces, strict=True))
        assert (one.by_cell != other.by_cell).nnz == 0
        for mine, theirs in zip(one.genes, other.genes, strict=True):
            assert (mine.total != theirs.total).nnz == 0
    read = list(read_tokens_at(objective, cells, units.points))
    largest = np.zeros(whole[0].by_cell.shape)
    for tokens in read:
        codes = units.encode(0, tokens.states[0]).toarray()
        codes[tokens.part == ANSWER] = 0
        np.maximum.at(largest, tokens.cell, codes)
    np.testing.assert_allclose(whole[0].by_cell.toarray(), largest, rtol=1e-4, atol=1e-4)

"""Rank-value encoding against plain loops over cells and genes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.models.transformer.rank_values import nonzero_medians, rank_tokens, ranked_genes


def counts_of(n_cells: int, n_genes: int, rate: float, seed: int) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(0.7, rate, n_genes), (n_cells, n_genes)).astype(np.float32)
    counts[3] = 0
    found = sp.csr_matrix(counts)
    found.sort_indices()
    return found


def ranked_slowly(row: np.ndarray, medians: np.ndarray, most: int, total: float) -> list[int]:
    """The paper's words: count / total * 10,000 / median, falling; equal ones in the order of the genes."""
    found = []
    for gene, count in enumerate(row):
        if count > 0:
            found.append((-(float(count) / total * 10_000 / medians[gene]), gene))
    return [gene for _, gene in sorted(found)][:most]


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_genes_stand_by_falling_value_as_a_plain_loop_says(most: int) -> None:
    counts = counts_of(30, 40, 4.0, 0)
    medians = np.random.default_rng(1).uniform(0.5, 20, 40)
    start, gene = ranked_genes(counts, medians, most)
    dense = counts.toarray()
    for i in range(30):
        wanted = ranked_slowly(dense[i], medians, most, dense[i].sum())
        assert gene[start[i] : start[i + 1]].tolist() == wanted
    assert start[4] == start[3]  # the cell without counts
    assert len(gene) == start[-1]


def test_the_order_is_the_same_for_every_total() -> None:
    """What `total` runs over, all genes or those with a token, changes no token: it divides all values of a cell."""
    counts = counts_of(20, 30, 5.0, 2)
    medians = np.random.default_rng(3).uniform(0.5, 20, 30)
    start, gene = ranked_genes(counts, medians, 100)
    dense = counts.toarray()
    for i in range(20):
        for total in (1.0, 977.0, 31_416.0):
            assert gene[start[i] : start[i + 1]].tolist() == ranked_slowly(dense[i], medians, 100, total)


def test_equal_values_stand_in_the_order_of_the_genes() -> None:
    counts = sp.csr_matrix(np.array([[2, 3, 0, 1, 6, 4]], np.float32))
    start, gene = ranked_genes(counts, np.array([2.0, 3.0, 1.0, 1.0, 3.0, 2.0]), 10)
    assert start.tolist() == [0, 5]
    assert gene.tolist() == [4, 5, 0, 1, 3]  # values 2, 2, 1, 1, 1


def test_a_cells_genes_depend_on_that_cell_alone() -> None:
    counts = counts_of(25, 40, 3.0, 4)
    medians = np.random.default_rng(5).uniform(0.5, 3, 40)
    start, gene = ranked_genes(counts, medians, 12)
    for i in range(25):
        _, alone = ranked_genes(counts[i], medians, 12)
        assert gene[start[i] : start[i + 1]].tolist() == alone.tolist()


def test_a_stored_zero_is_no_gene() -> None:
    counts = sp.csr_matrix((np.array([1, 0, 2, 0], np.float32), [0, 1, 2, 0], [0, 3, 4]), shape=(2, 3))
    start, gene = ranked_genes(counts, np.ones(3), 10)
    assert start.tolist() == [0, 2, 2]
    assert gene.tolist() == [2, 0]


def test_tokens_stand_between_special_ones_within_the_limit() -> None:
    counts = counts_of(12, 20, 3.0, 6)
    medians, token = np.random.default_rng(7).uniform(0.5, 3, 20), np.arange(20) * 3 + 10
    tokens = rank_tokens(counts, medians, token, 8, pad=0, frame=(2, 3))
    dense = counts.toarray()
    for i in range(12):
        genes = ranked_slowly(dense[i], medians, 6, 1.0)
        part = slice(tokens.start[i], tokens.start[i + 1])
        assert tokens.ids[part].tolist() == [2, *(10 + 3 * g for g in genes), 3]
        assert tokens.gene[part].tolist() == [-1, *genes, -1]
    assert tokens.lengths.max() == 8
    assert tokens.lengths[3] == 2


def test_without_special_tokens_a_cell_without_counts_is_one_pad() -> None:
    counts = counts_of(6, 20, 3.0, 8)
    tokens = rank_tokens(counts, np.ones(20), np.arange(20) + 2, 8, pad=0)
    dense = counts.toarray()
    for i in range(6):
        genes = ranked_slowly(dense[i], np.ones(20), 8, 1.0)
        part = slice(tokens.start[i], tokens.start[i + 1])
        assert tokens.ids[part].tolist() == ([2 + g for g in genes] if i != 3 else [0])
        assert tokens.gene[part].tolist() == (genes if i != 3 else [-1])


def test_no_cells_have_no_tokens() -> None:
    tokens = rank_tokens(sp.csr_matrix((0, 5), dtype=np.float32), np.ones(5), np.arange(5), 8, pad=0, frame=(2, 3))
    assert len(tokens) == 0
    assert len(tokens.ids) == 0


def test_medians_are_over_the_cells_that_have_the_gene() -> None:
    counts = counts_of(41, 30, 1.0, 9)
    dense = counts.toarray().astype(np.float64)
    dense[:, 11] = 0
    counts = sp.csr_matrix(dense.astype(np.float32))
    found = nonzero_medians(counts)
    for gene in range(30):
        values = [row[gene] / row.sum() * 10_000 for row in dense if row[gene] > 0]
        if values:
            assert found[gene] == pytest.approx(np.median(values), rel=1e-12)
        else:
            assert np.isnan(found[gene])
    assert np.isnan(found[11])

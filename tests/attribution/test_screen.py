"""Which genes are tried: against plain orders and counts, with all of them, and where some were planted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellglass.attribution import attribute, screen
from cellglass.attribution.edits import Edits
from cellglass.attribution.gradients import path_effects
from cellglass.attribution.methods.swap import ENTRY, swap_edits
from cellglass.attribution.work import columns
from cellglass.models.base import CellModel

METHODS = ("swap", "knockout")


def real_pairs(block, concept):
    return block.pairs[(block.pairs["concept"] == concept) & (block.pairs["kind"] == "real")]


def by_difference(toy, pairs):
    counts = np.log1p(toy.cells.counts.toarray())
    return np.abs((counts[pairs["prototype"]] - counts[pairs["partner"]]).mean(axis=0))


@pytest.mark.parametrize("how", ["gradient", "difference"])
def test_the_genes_that_the_screen_puts_first_are_tried_and_no_others(toy, how):
    block = toy.block((0, 3), genes=4, methods=METHODS, screen=how)
    for concept in (0, 3):
        pairs = real_pairs(block, concept)
        size = by_difference(toy, pairs)
        if how == "gradient":
            few = pairs.drop_duplicates("prototype")
            pair = columns(few, "prototype", "partner", "concept")
            size = np.abs(path_effects(block.work, *pair, steps=1, rule="end", match_depth=False).effects.mean(axis=0))
        head = set(np.argsort(-size, kind="stable")[:4])
        tried = set()
        for name in METHODS:
            edits = block.changed[name].edits
            tried |= set(edits.gene[edits.concept == concept])
        assert tried == head
        rows = ENTRY.rows(block, "activation")
        assert set(rows.loc[rows["concept"] == concept, "gene"]) <= {f"ENSG{gene:03d}" for gene in head}


def test_without_a_gradient_genes_are_put_in_order_by_expression(toy):
    class NoGradient(type(toy.model)):
        path_gradient = CellModel.path_gradient

    block = toy.block((0,), genes=4, methods=METHODS)
    toy.model.__class__, toy.model.fast = NoGradient, False
    pairs = real_pairs(block, 0)
    assert screen.screen_of(block.work) == "difference"
    np.testing.assert_allclose(screen.scores(block.work, pairs, "difference"), by_difference(toy, pairs), rtol=1e-5)


def test_a_budget_is_kept_and_counts_each_different_run_once(toy):
    block = toy.block((0, 3), methods=METHODS, budget=0.25)
    every = toy.block((0, 3), methods=METHODS)

    def runs(of, concept):
        found = set()
        for name in METHODS:
            edits = of.changed[name].edits
            mine = edits.concept == concept
            found |= set(zip(edits.cell[mine], edits.gene[mine], edits.counts[mine], strict=True))
        return found

    for concept in (0, 3):
        some, all_of_them = runs(block, concept), runs(every, concept)
        assert some <= all_of_them
        assert 0.1 < len(some) / len(all_of_them) <= 0.25
    edits = Edits.of(
        np.array([0, 1, 1]), np.array([2, 2, 3]), np.array([1, 1, 0.0]), np.array([7, 7]), np.array([0, 0])
    )
    assert screen.runs_of_genes(edits, 5).tolist() == [0, 0, 1, 1, 0]


def test_all_of_the_budget_is_the_sweep_bit_for_bit(toy):
    def genes(**how):
        work = toy.work(prototypes=5, partners=3, methods=METHODS, **how)
        given = (work.model, work.cells, work.site, work.dictionary, work.codes, work.activations, (0, 3))
        return attribute(*given, config=work.config).genes

    pd.testing.assert_frame_equal(genes(budget=1.0), genes(), check_exact=True)
    few, every = genes(budget=0.3), genes()
    both = few.merge(every, on=["method", "on", "concept", "gene"], suffixes=("", "_all"))
    assert len(both) == len(few) < len(every)
    for name in ("effect", "se", "n"):  # what is measured is measured on all pairs; q is over fewer genes
        np.testing.assert_allclose(both[name], both[f"{name}_all"], rtol=1e-5, atol=1e-6)


def test_recall_is_that_of_a_sweep_by_hand(toy):
    block = toy.block((0, 3), methods=METHODS, budget=0.3)
    found = screen.recall(block, [3])
    assert list(found) == list(screen.COLUMNS)
    assert found["screen"].tolist() == ["gradient", "difference"]
    assert (found["concept"] == 3).all()
    pairs = real_pairs(block, 3).drop_duplicates("prototype")[: screen.CHECKED_PAIRS]
    counts = toy.cells.counts.toarray()
    exact = np.zeros((len(pairs), toy.cells.n_genes))
    for i, (p, q) in enumerate(zip(pairs["prototype"], pairs["partner"], strict=True)):
        start = toy.read(toy.cells.counts[[p]], p, 3, "activation")
        for g in np.flatnonzero(counts[p] != counts[q]):
            one = toy.cells.counts[[p]].tolil()
            one[0, g] = counts[q, g]
            exact[i, g] = (start - toy.read(one.tocsr(), p, 3, "activation")) / start
    size = np.abs(exact.mean(axis=0))
    top = np.argsort(-size, kind="stable")[: min(screen.TOP, np.count_nonzero(size > screen.ROUNDING))]
    edits = swap_edits(toy.cells.counts, *columns(pairs, "prototype", "partner", "concept"))
    for row in found.itertuples():
        chosen = screen.head(screen.scores(block.work, pairs, row.screen), edits, None, 0.3)
        assert row.recall == pytest.approx(np.isin(top, chosen).mean(), abs=0.06)
        assert (row.pairs, row.chosen) == (len(pairs), len(chosen))
        assert row.differing == np.count_nonzero((counts[pairs["prototype"]] != counts[pairs["partner"]]).any(axis=0))
        assert 0 < row.share <= 0.3


def test_nothing_is_checked_where_all_is_tried(toy):
    assert screen.recall(toy.block((0,), methods=METHODS), [0]).empty
    assert screen.recall(toy.block((0,), methods=("de",), budget=0.2), [0]).empty


def test_a_screen_finds_the_genes_that_a_network_was_made_to_read(toy):
    """Of 40 genes six reach the network, and they differ no more than others do."""
    read = np.array([1, 8, 15, 22, 29, 36])
    unread = np.setdiff1d(np.arange(40), read)
    toy.model.weight[:, unread] = 0
    z = toy.model.activations(toy.cells, ["z"])["z"]
    toy.z, toy.codes = z.numpy(), toy.dictionary.encode(z).to_csr().tocsc()
    concepts = [c for c in range(toy.codes.shape[1]) if 20 <= toy.codes[:, [c]].nnz <= 120][:2]
    block = toy.block(concepts, methods=METHODS, budget=0.5)
    found = screen.recall(block, concepts)
    assert len(found) == 2 * len(concepts) > 0
    assert (found.loc[found["screen"] == "gradient", "recall"] == 1).all()
    assert (found.loc[found["screen"] == "difference", "recall"] < 1).any()
    edits = swap_edits(toy.cells.counts, *columns(block.pairs, "prototype", "partner", "concept"))
    for chosen in (screen.chosen_genes(block, edits) or {}).values():
        assert set(chosen) <= set(read)

import numpy as np
import pytest

from cellglass.attribution.methods import swap
from cellglass.attribution.methods.swap import ENTRY, swap_edits


@pytest.mark.parametrize("on", ["activation", "preactivation"])
def test_rows_equal_a_plain_double_loop_over_pairs_and_genes(toy, on):
    block = toy.block((0, 3), prototypes=3, partners=2, methods=("swap",))
    rows = ENTRY.rows(block, on)
    counts = toy.cells.counts.toarray()
    for concept in (0, 3):
        table = block.pairs[(block.pairs["concept"] == concept) & (block.pairs["kind"] == "real")]
        effects, n = np.zeros((len(table), toy.cells.n_genes)), np.zeros(toy.cells.n_genes)
        for i, (p, q) in enumerate(zip(table["prototype"], table["partner"], strict=True)):
            before = toy.read(toy.cells.counts[[p]], p, concept, on)
            for g in np.flatnonzero(counts[p] != counts[q]):
                edited = toy.cells.counts[[p]].tolil()
                edited[0, g] = counts[q, g]
                effects[i, g] = (before - toy.read(edited.tocsr(), p, concept, on)) / before
                n[g] += 1
        mine = rows[rows["concept"] == concept].set_index("gene")
        assert mine.index.tolist() == toy.cells.genes.index[n > 0].tolist()
        np.testing.assert_allclose(mine["effect"], effects.mean(axis=0)[n > 0], rtol=1e-3, atol=2e-6)
        se = effects.std(axis=0, ddof=1) / np.sqrt(len(table))
        np.testing.assert_allclose(mine["se"], se[n > 0], rtol=1e-3, atol=2e-6)
        assert mine["n"].tolist() == n[n > 0].tolist()
        more = (np.log1p(counts[table["prototype"]]) - np.log1p(counts[table["partner"]])).mean(axis=0)
        np.testing.assert_allclose(mine["score"], (mine["effect"] * np.where(more < 0, -1, 1)[n > 0]))


def test_of_few_genes_the_effects_are_the_same(toy):
    everything, few = (ENTRY.rows(toy.block((0, 3), genes=most), "activation") for most in (None, 4))
    assert few.groupby("concept").size().tolist() == [4, 4]
    both = few.merge(everything, on=["concept", "gene"], suffixes=("", "_all"))
    assert len(both) == len(few)
    for name in ("effect", "se", "score", "n"):
        np.testing.assert_allclose(both[name], both[f"{name}_all"], rtol=1e-4, atol=1e-6)


def test_an_edit_for_each_count_that_differs_whatever_the_pieces(toy, monkeypatch):
    prototype, partner, concept = np.array([3, 8, 8]), np.array([150, 9, 3]), np.array([0, 1, 1])
    edits = swap_edits(toy.cells.counts, prototype, partner, concept)
    counts = toy.cells.counts.toarray()
    wanted = [
        (row, p, c, g, counts[q, g])
        for row, (p, q, c) in enumerate(zip(prototype, partner, concept, strict=True))
        for g in np.flatnonzero(counts[p] != counts[q])
    ]
    assert list(zip(*edits, strict=True)) == wanted
    monkeypatch.setattr(swap, "DENSE", 50)
    for a, b in zip(edits, swap_edits(toy.cells.counts, prototype, partner, concept), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(
        len(column) == 0 for column in swap_edits(toy.cells.counts, *(x[:0] for x in (prototype, partner, concept)))
    )

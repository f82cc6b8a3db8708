import numpy as np
import pytest

from cellglass.attribution.methods.knockout import ENTRY, knockout_edits


@pytest.mark.parametrize("on", ["activation", "preactivation"])
def test_rows_equal_a_plain_double_loop_over_prototypes_and_genes(toy, on):
    block = toy.block((0, 3), prototypes=3, partners=2, methods=("knockout",))
    rows = ENTRY.rows(block, on)
    counts = toy.cells.counts.toarray()
    for concept in (0, 3):
        table = block.pairs[(block.pairs["concept"] == concept) & (block.pairs["kind"] == "real")]
        table = table.drop_duplicates("prototype")
        effects, n = np.zeros((len(table), toy.cells.n_genes)), np.zeros(toy.cells.n_genes)
        for i, p in enumerate(table["prototype"]):
            before = toy.read(toy.cells.counts[[p]], p, concept, on)
            for g in np.flatnonzero(counts[p] != 0):
                edited = toy.cells.counts[[p]].tolil()
                edited[0, g] = 0
                effects[i, g] = (before - toy.read(edited.tocsr(), p, concept, on)) / before
                n[g] += 1
        mine = rows[rows["concept"] == concept].set_index("gene")
        assert mine.index.tolist() == toy.cells.genes.index[n > 0].tolist()
        np.testing.assert_allclose(mine["effect"], effects.mean(axis=0)[n > 0], rtol=1e-3, atol=2e-6)
        se = effects.std(axis=0, ddof=1) / np.sqrt(len(table))
        np.testing.assert_allclose(mine["se"], se[n > 0], rtol=1e-3, atol=2e-6)
        assert mine["n"].tolist() == n[n > 0].tolist()
        np.testing.assert_array_equal(mine["score"], mine["effect"])


def test_of_few_genes_the_effects_are_the_same(toy):
    everything, few = (ENTRY.rows(toy.block((0, 3), genes=most), "activation") for most in (None, 4))
    assert few.groupby("concept").size().max() <= 4
    both = few.merge(everything, on=["concept", "gene"], suffixes=("", "_all"))
    assert len(both) == len(few)
    for name in ("effect", "se", "score", "n"):
        np.testing.assert_allclose(both[name], both[f"{name}_all"], rtol=1e-4, atol=1e-6)


def test_an_edit_for_each_gene_that_a_prototype_expresses(toy):
    counts = toy.cells.counts.toarray()
    edits = knockout_edits(toy.cells.counts, np.array([8, 3, 8]), np.array([0, 1, 2]))
    wanted = [
        (row, p, c, g, 0) for row, (p, c) in enumerate([(8, 0), (3, 1), (8, 2)]) for g in np.flatnonzero(counts[p])
    ]
    assert list(zip(*edits, strict=True)) == wanted

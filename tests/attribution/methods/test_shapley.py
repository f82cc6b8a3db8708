"""Shapley values against all orders, one cell at a time; what they add up to; both ways to run them."""

from itertools import permutations

import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.attribution.methods.shapley import ENTRY, shapley_values
from cellglass.errors import InputError


def near_pair(toy):
    """Make cell 1 like cell 0 but for five genes; return a concept that cell 0 has."""
    counts = toy.cells.counts.toarray()
    counts[1] = counts[0]
    counts[1, [2, 9, 11, 20, 33]] += np.array([4, 7, 3, 9, 5], dtype=np.float32)
    toy.cells = toy.cells.with_counts(sp.csr_matrix(counts))
    return int(toy.dictionary.preactivations(toy.model.activations(toy.cells[[0]], ["z"])["z"])[0].argmax())


@pytest.mark.parametrize("fast", [True, False])
def test_with_many_orders_they_are_those_of_all_orders(toy, fast):
    concept = near_pair(toy)
    toy.model.fast = fast
    ours, theirs = (toy.cells.counts[i].toarray()[0] for i in (0, 1))
    genes = np.flatnonzero(ours != theirs)
    whole = toy.read(toy.cells.counts[0], 0, concept, "activation")
    expected = np.zeros(40)
    for order in permutations(genes):
        now, before = theirs.copy(), toy.read(sp.csr_matrix(theirs), 0, concept, "activation")
        for gene in order:
            now[gene] = ours[gene]
            after = toy.read(sp.csr_matrix(now), 0, concept, "activation")
            expected[gene] += (after - before) / whole / 120
            before = after
    found = shapley_values(toy.work(), [0], [1], [concept], orders=60)
    assert np.flatnonzero(found.differs[0]).tolist() == genes.tolist()
    assert np.all(np.abs(found.effects[0] - expected) <= 5 * np.nan_to_num(found.error[0]) + 1e-5)
    assert found.effects[0].sum() == pytest.approx(expected.sum(), abs=1e-5)
    assert np.abs(expected).max() > 0.02


def test_both_ways_to_run_them_agree_and_they_add_up(toy):
    cells = np.array([[3, 8], [5, 9], [12, 40]])
    concept = np.array([toy.codes[cell].argmax() for cell in cells[:, 0]])
    given = (toy.work(), cells[:, 0], cells[:, 1], concept)
    fast = shapley_values(*given, on="preactivation", orders=2, seed=4)
    for i, (cell, partner) in enumerate(cells):
        whole = toy.read(toy.cells.counts[cell], cell, concept[i], "preactivation")
        without = toy.read(toy.cells.counts[partner], cell, concept[i], "preactivation")
        assert fast.effects[i].sum() == pytest.approx((whole - without) / whole, abs=1e-4)
    toy.model.fast = False
    slow = shapley_values(*given, on="preactivation", orders=2, seed=4)
    np.testing.assert_allclose(slow.effects, fast.effects, atol=1e-4)
    alone = shapley_values(given[0], cells[1:2, 0], cells[1:2, 1], concept[1:2], on="preactivation", orders=2, seed=4)
    np.testing.assert_array_equal(alone.effects[0], slow.effects[1])
    other = shapley_values(*given, on="preactivation", orders=2, seed=5)
    assert not np.array_equal(other.effects, slow.effects)
    with pytest.raises(InputError, match="orders is 0; it must be at least 1"):
        shapley_values(*given, orders=0)


def test_rows_are_means_over_real_pairs(toy):
    block = toy.block((3,), prototypes=3, partners=2, methods=("shapley",), orders=2)
    rows = ENTRY.rows(block, "activation").set_index("gene")
    real = block.pairs[block.pairs["kind"] == "real"]
    found = shapley_values(
        block.work, real["prototype"], real["partner"], real["concept"], on="activation", orders=2, seed=block.work.seed
    )
    expected = found.effects.mean(axis=0)[found.differs.any(axis=0)]
    assert rows["effect"].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert rows["n"].to_numpy().tolist() == found.differs.sum(axis=0)[found.differs.any(axis=0)].tolist()
    assert (rows["q"].dropna() <= 1).all()

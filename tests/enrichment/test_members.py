import numpy as np
import pytest

from cellglass.enrichment.genesets import GeneSets
from cellglass.enrichment.members import members, one_gene_per_symbol
from cellglass.errors import InputError

SETS = GeneSets("s", {"big": ("A", "C", "E", "X"), "small": ("D", "A"), "other": ("E", "B")})


def test_membership_is_what_the_sets_say():
    symbols = ["E", "", "A", "B", "", "C", "D"]
    found = members(SETS, symbols, min_size=2)
    assert found.terms == ("small", "other", "big")
    assert found.sizes.tolist() == [2, 2, 3]
    assert found.n_genes == 7
    dense = found.matrix.toarray()
    for i, term in enumerate(found.terms):
        assert dense[:, i].tolist() == [float(symbol in SETS.sets[term]) for symbol in symbols]
        assert found.genes_of(i).tolist() == np.flatnonzero(dense[:, i]).tolist()
    part = found.take(slice(1, 3))
    assert part.terms == ("other", "big")
    assert np.array_equal(part.matrix.toarray(), dense[:, 1:])


def test_repeated_symbols_are_refused_and_reduced_to_the_most_expressed():
    symbols = ["A", "B", "A", "", "", "B", "D"]
    with pytest.raises(InputError, match="symbols repeat"):
        members(SETS, symbols)
    assert one_gene_per_symbol(symbols, np.array([1.0, 2, 3, 0, 0, 2, 1])).tolist() == [1, 2, 3, 4, 6]

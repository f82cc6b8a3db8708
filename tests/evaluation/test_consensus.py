"""Of three planted dictionaries two agree with the first where it was planted, and nowhere else."""

import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.evaluation.coactivation import correlations
from cellglass.evaluation.consensus import consensus, consensus_shares, needed
from cellglass.evaluation.matching import match


def _planted(seed=0, n=2000):
    """Return activations (n, 12) with a quarter of the cells active."""
    rng = np.random.default_rng(seed)
    return (rng.random((n, 12)) < 0.25) * rng.uniform(0.5, 2, (n, 12))


def _dictionaries():
    """Return four: latents 0-3 of the first are in all others, 4-7 in two of three, 8-11 in none; one is silent."""
    rng = np.random.default_rng(9)
    first, strange = _planted(0), [_planted(seed) for seed in (1, 2, 3)]
    others = []
    for number, own in enumerate(strange):
        latents = own.copy()
        latents[:, :4] = first[:, :4]
        if number < 2:
            latents[:, 4:8] = first[:, 4:8]
        noisy = latents * rng.uniform(0.8, 1.2, latents.shape)
        others.append(noisy[:, rng.permutation(12)])
    first = np.hstack([first, np.zeros((len(first), 1))])
    return [sp.csc_matrix(codes.astype(np.float32)) for codes in (first, *others)]


def test_planted_concepts_are_found_where_they_are():
    table = consensus(_dictionaries())
    assert table["latent"].tolist() == list(range(13))
    assert table["found_in"].tolist() == [3] * 4 + [2] * 4 + [0] * 5
    assert table["consensus"].tolist() == [True] * 8 + [False] * 5
    assert (table["stability"][:4] > 0.95).all()
    assert ((table["stability"][4:8] > 0.6) & (table["stability"][4:8] < 0.75)).all()
    assert (table["stability"][8:12] < 0.1).all()
    assert np.isnan(table["stability"][12])


def test_most_is_more_than_half():
    assert [needed(others) for others in (1, 2, 3, 4, 5)] == [1, 2, 2, 3, 3]
    first, both, one, none = _dictionaries()
    assert consensus([first, both, none])["consensus"].sum() == 4
    assert consensus([first, none])["consensus"].sum() == 4
    assert consensus([first, both, one, none])["consensus"].sum() == 8


def test_a_smaller_dictionary_holds_what_it_holds():
    first, other, *_ = _dictionaries()
    kept = np.flatnonzero((correlations(first, other) > 0.7).any(axis=0))[:3]
    table = consensus([first, other[:, kept]])
    assert table["found_in"].sum() == 3
    assert (table["stability"][:12] == 0).sum() >= 9


def test_shares_are_those_of_each_dictionary_as_the_first():
    codes = [c[:, np.flatnonzero(np.diff(c.indptr))] for c in _dictionaries()]
    places = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    matchings = {(i, j): match(correlations(codes[i], codes[j])) for i, j in places}
    shares = consensus_shares(matchings, [c.shape[1] for c in codes])
    plain = [consensus([codes[i], *codes[:i], *codes[i + 1 :]])["consensus"].mean() for i in range(4)]
    assert shares == pytest.approx(plain)

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from cellglass.enrichment.base import SMALLEST
from cellglass.enrichment.ora import fisher_table, ora, top_genes
from cellglass.errors import InputError


@given(
    scores=st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]), min_size=4, max_size=12).map(np.array),
    top_n=st.integers(1, 3),
)
def test_lists_are_short_positive_and_never_split_ties(scores, top_n):
    listed = top_genes(scores[None], top_n)[0]
    assert listed.sum() <= top_n
    if listed.any():
        assert scores[listed].min() > max(0, scores[~listed].max())
    left = scores[~listed & (scores > 0)]
    if len(left):  # the next block of ties does not fit
        assert listed.sum() + (left == left.max()).sum() > top_n


@pytest.fixture
def scored(random_sets):
    """Sets, and scores of which one row has fewer than 15 above 0."""
    _, sets = random_sets(120, [5, 9, 9, 30, 100])
    scores = np.random.default_rng(0).normal(size=(6, 120))
    scores[1, :] -= 1.5
    scores[:, sets.genes_of(0)[:4]] += 4
    return sets, scores


def test_tables_equal_fishers(scored):
    sets, scores = scored
    tested = ora([scores, scores[:, ::-1]], sets, top_n=15)
    for draw, values in enumerate([scores, scores[:, ::-1]]):
        listed = top_genes(values, 15)
        for c, t in np.ndindex(6, 5):
            inside = sets.matrix[:, [t]].toarray().ravel() > 0
            table = [[(inside & listed[c]).sum(), (inside & ~listed[c]).sum()]]
            table.append([(~inside & listed[c]).sum(), (~inside & ~listed[c]).sum()])
            (a, b), (c_, d) = np.array(table) + 0.5
            assert tested.p[draw, c, t] == pytest.approx(fisher_exact(table).pvalue, rel=1e-8)
            assert tested.statistic[draw, c, t] == pytest.approx(np.log(a * d / (b * c_)))


@pytest.mark.slow  # decoupler's test is compiled for many seconds; and its use of numba is said once, when it is
@pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaPendingDeprecationWarning")
def test_statistics_equal_decouplers(scored):
    import decoupler

    sets, scores = scored
    tested = ora([scores], sets, top_n=15)
    rows = sets.matrix.tocoo()
    net = pd.DataFrame({"source": [sets.terms[i] for i in rows.col], "target": [f"g{i}" for i in rows.row]})
    full = top_genes(scores, 15).sum(axis=1) == 15
    columns = [f"g{i}" for i in range(120)]
    data = pd.DataFrame(scores[full], index=[f"c{i}" for i in range(full.sum())], columns=columns)
    # decoupler 2.2 lists the genes whose ascending rank is above n_up.
    theirs, _ = decoupler.mt.ora(data, net, tmin=1, n_up=120 - 15, n_bg=0)
    np.testing.assert_allclose(tested.statistic[0, full], theirs[list(sets.terms)].to_numpy())


def test_an_empty_list_says_nothing(random_sets):
    _, sets = random_sets(60, [5, 10])
    tested = ora([np.zeros((1, 60))], sets, top_n=5)
    assert tested.p.tolist() == [[[1.0, 1.0]]]
    assert tested.statistic.tolist() == [[[0.0, 0.0]]]


def test_a_list_of_all_genes_is_refused(random_sets):
    with pytest.raises(InputError, match="top 60 of 60 genes"):
        ora([np.ones((1, 60))], random_sets(60, [5])[1], top_n=60)


def test_an_overlap_too_unlikely_for_a_float_has_the_smallest_p_not_1():
    """All 400 of 20,000 genes twice: 1 / (20,000 over 400) is below what a float holds."""
    table = fisher_table(20_000, np.array([0, 400]), np.array([400]))
    assert table[1, 0, 400] == SMALLEST
    assert (np.diff(table[1, 0, 20:]) <= 0).all()
    assert table[0, 0, 0] == 1
    assert (table > 0).all()


def test_overlaps_that_cannot_be_have_p_1():
    table = fisher_table(10, np.array([8]), np.array([7]))[0, 0]
    assert table[:5].tolist() == [1.0] * 5  # 8 and 7 of 10 share at least 5
    assert table[8] == 1.0
    assert table[7] < 1

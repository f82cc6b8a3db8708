"""One source and one test of it: the leading edge, which rows are kept, and the rates, from results made up here."""

import numpy as np
import pytest

from cellglass.enrichment import unit
from cellglass.enrichment.base import SetStatistics
from cellglass.enrichment.null import MatchedDraws
from cellglass.enrichment.unit import Unit

ABOUT = {"source": "s", "test": "t", "ranking": "r"}
SYMBOLS = [f"g{i}" for i in range(40)]


def made(random_sets, statistic, p, *, one_sided=False, draws=0, alpha=0.05):
    """Return a unit that has run a test with the given results; the scores of gene i is 20 - i, the edge lies at 0."""
    _, sets = random_sets(40, [10] * np.shape(p)[-1])
    scores = np.tile(20.0 - np.arange(40), (np.shape(p)[1], 1))

    def test(rankings, part):
        columns = [sets.terms.index(term) for term in part.terms]
        return SetStatistics(statistic[..., columns], p[..., columns], np.zeros((len(scores), len(columns))))

    done = Unit(MatchedDraws(scores, np.zeros(40, int), draws, 0), sets, test, one_sided=one_sided, alpha=alpha)
    heard = []
    done.run(lambda done, total: heard.append((done, total)))
    assert heard[-1] == (len(sets.terms), len(sets.terms))
    return done, sets


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_leading_edge_lies_where_the_statistic_says_or_at_the_top(random_sets, one_sided):
    statistic = np.array([[[2.0, -2.0, 0.0]]])
    done, sets = made(random_sets, statistic, np.full((1, 1, 3), 0.01), one_sided=one_sided)
    edges = done.table(np.array([7]), SYMBOLS, ABOUT).set_index("term")["leading_edge"]
    top = [[f"g{i}" for i in sets.genes_of(t) if i <= 20] for t in range(3)]
    bottom = [[f"g{i}" for i in sets.genes_of(t) if i >= 20][::-1] for t in range(3)]
    assert edges[sets.terms[0]].split(";") == top[0]
    assert edges[sets.terms[1]].split(";") == (top[1] if one_sided else bottom[1])
    assert edges[sets.terms[2]] == ""


def test_rows_are_kept_by_p_and_the_best_of_each_concept_whatever_their_p(random_sets, monkeypatch):
    monkeypatch.setattr(unit, "BEST", 2)
    p = np.array([[[0.9, 0.01, 0.04, 0.02], [0.9, 0.8, 0.7, 0.6]]])
    done, sets = made(random_sets, np.ones_like(p), p)
    table = done.table(np.array([3, 8]), SYMBOLS, ABOUT)
    assert table["concept"].tolist() == [3, 3, 3, 8, 8]
    assert table["term"].tolist() == [sets.terms[i] for i in (1, 3, 2, 3, 2)]
    assert table[["source", "test", "ranking"]].drop_duplicates().to_dict("records") == [ABOUT]
    assert table["null_q"].isna().all()


def test_rates_count_depleted_concepts_where_a_test_sees_them_and_pieces_change_nothing(random_sets, monkeypatch):
    p = np.full((3, 4, 5), 0.9)
    p[0, :3, 0], p[1, 0, 1], p[2, :2, 2] = 1e-6, 1e-6, 1e-6
    statistic = np.ones_like(p)
    statistic[0, 2] = -1
    assert made(random_sets, statistic, p, draws=2)[0].rate(ABOUT)["value"] == 0.75
    rate = made(random_sets, statistic, p, one_sided=True, draws=2)[0].rate(ABOUT)
    assert (rate["value"], rate["null"], rate["draws"], rate["n_tests"]) == (0.5, 0.375, 2, 20)
    assert rate["null_sd"] == pytest.approx(np.std([0.25, 0.5], ddof=1))
    monkeypatch.setattr(unit, "_BYTES", 24 * 4 * 3 * 2)
    assert made(random_sets, statistic, p, one_sided=True, draws=2)[0].rate(ABOUT) == rate


def test_one_draw_has_no_sd_and_none_no_null(random_sets):
    one = made(random_sets, np.ones((2, 3, 4)), np.full((2, 3, 4), 0.5), draws=1)[0].rate(ABOUT)
    assert (one["null"], np.isnan(one["null_sd"])) == (0.0, True)
    none = made(random_sets, np.ones((1, 3, 4)), np.full((1, 3, 4), 0.5))[0].rate(ABOUT)
    assert np.isnan([none[key] for key in ("null", "null_sd", "calibrated", "calibrated_null")]).all()

"""A planted state is steered to: its genes rise, as real ones do; no cell is learnt from and scored."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellglass.errors import InputError
from cellglass.interventions import (
    Halves,
    Subject,
    contrast_of,
    edit,
    genes_table,
    halves,
    predicted,
    real_change,
    scored,
    with_expression,
)

DOSES = [0.0, 0.5, 1.0]


@pytest.fixture
def parts(subject: Subject) -> Halves:
    state = subject.cells.obs["state"].to_numpy()
    return halves(np.flatnonzero(state == "off"), np.flatnonzero(state == "on"), seed=0)


@pytest.fixture
def table(subject: Subject, parts: Halves) -> pd.DataFrame:
    found = contrast_of(subject.dictionary, subject.rows, parts.learn_from, parts.learn_to)
    learnt = np.concatenate([parts.learn_from, parts.learn_to])
    edits = found.edits(range(subject.dictionary.n_latents))
    made = predicted(subject, parts.score_from, edits, found, learnt, doses=DOSES, draws=4)
    return with_expression(made, subject, parts.learn_from, parts.learn_to)


def test_halves_hold_every_cell_once_and_follow_the_seed() -> None:
    a, b = np.arange(0, 31), np.arange(40, 62)
    found = halves(a, b, 3)
    np.testing.assert_array_equal(np.sort(np.concatenate([found.learn_from, found.score_from])), a)
    np.testing.assert_array_equal(np.sort(np.concatenate([found.learn_to, found.score_to])), b)
    assert [len(part) for part in found] == [15, 11, 16, 11]
    assert all(np.array_equal(one, other) for one, other in zip(found, halves(a, b, 3), strict=True))
    assert not np.array_equal(found.learn_from, halves(a, b, 4).learn_from)


def test_concepts_lead_to_the_planted_state_and_random_ones_do_not(
    subject: Subject, parts: Halves, table: pd.DataFrame
) -> None:
    real = real_change(subject.cells, parts.score_from, parts.score_to)
    assert set(np.argsort(-real)[:10]) == set(range(10))
    scores = scored(table, real).set_index(["way", "dose"])
    assert scores.loc[("concepts", 1.0), "pearson"] > 0.9
    assert scores.loc[("difference", 1.0), "pearson"] > 0.9
    assert scores.loc[("expression", 1.0), "pearson"] > 0.9
    for control in ("random", "random concepts"):
        assert scores.loc[(control, 1.0), "pearson"] < scores.loc[("concepts", 1.0), "pearson"] - 0.3
        assert scores.loc[(control, 1.0), "draws"] == 4
    assert scores.loc[("none", 1.0), "explained"] == 0
    assert np.isnan(scores.loc[("none", 1.0), "pearson"])
    explained = scores.loc["concepts", "explained"]
    assert explained[0.0] == 0
    assert explained[0.5] < explained[1.0]


def test_scores_are_means_over_draws(subject: Subject, parts: Halves, table: pd.DataFrame) -> None:
    real = real_change(subject.cells, parts.score_from, parts.score_to)
    drawn = table[(table["way"] == "random") & (table["dose"] == 1.0)]
    plain = [np.corrcoef(change, real)[0, 1] for change in drawn["change"]]
    row = scored(table, real).set_index(["way", "dose"]).loc[("random", 1.0)]
    assert row["pearson"] == pytest.approx(np.mean(plain))
    assert row["pearson_sd"] == pytest.approx(np.std(plain, ddof=1))


def test_the_table_of_genes_holds_means_and_begins_with_what_changes_most(
    subject: Subject, parts: Halves, table: pd.DataFrame
) -> None:
    real = real_change(subject.cells, parts.score_from, parts.score_to)
    genes = genes_table(table, subject, real)
    assert len(genes) == 60 * (5 * len(DOSES) + 1 + 1)
    own = genes[(genes["way"] == "concepts") & (genes["dose"] == 1.0)]
    assert (own["predicted"].abs().diff().dropna() <= 0).all()
    drawn = table[(table["way"] == "random") & (table["dose"] == 1.0)]
    by = genes[(genes["way"] == "random") & (genes["dose"] == 1.0)].set_index("gene")
    np.testing.assert_allclose(by.loc["E7", "predicted"], np.mean([change[7] for change in drawn["change"]]))
    np.testing.assert_allclose(by.loc["E7", "real"], real[7])
    assert own["sd"].isna().all()
    assert genes_table(table, subject, None)["real"].isna().all()


def test_an_edit_without_a_contrast_has_no_differences_beside_it(subject: Subject, parts: Halves) -> None:
    made = predicted(subject, parts.score_from, [edit("ablate", [0])], None, parts.learn_from, doses=[1.0], draws=2)
    assert list(dict.fromkeys(made["way"])) == ["concepts", "random concepts", "random", "none"]


def test_what_cannot_be_is_said(subject: Subject, parts: Halves) -> None:
    with pytest.raises(InputError, match="the groups have 9 and 20 cells; each needs 10"):
        halves(np.arange(9), np.arange(20, 40), 0)
    with pytest.raises(InputError, match="5 cells are in both groups"):
        halves(np.arange(20), np.arange(15, 40), 0)
    one = [edit("ablate", [0])]
    with pytest.raises(InputError, match="doses are"):
        predicted(subject, parts.score_from, one, None, parts.learn_from, doses=[-1])
    with pytest.raises(InputError, match="draws is 0"):
        predicted(subject, parts.score_from, one, None, parts.learn_from, draws=0)

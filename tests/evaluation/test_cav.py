"""Concept activation vectors: planted directions are found, figures are those of plain loops, chance finds little."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cellglass.errors import InputError
from cellglass.evaluation.cav import concept_answers, find_direction, gene_answers, q_against

D = 6


@pytest.fixture(scope="module")
def planted():
    """Return 400 cells in 6 dimensions, a quarter of them shifted along a direction, and the direction."""
    rng = np.random.default_rng(0)
    positive = np.arange(400) % 4 == 0
    direction = np.array([3.0, -4, 0, 0, 0, 0]) / 5
    x = rng.normal(size=(400, D)) + 2.5 * positive[:, None] * direction
    return x, positive, direction


@pytest.fixture(scope="module")
def cav(planted):
    return find_direction(planted[0], planted[1], draws=40, seed=1)


@pytest.fixture(scope="module")
def dictionary(linear, planted):
    """Four latents: along the planted direction, against it, and two across."""
    across = np.eye(D)[[2, 3]]
    return linear(np.concatenate([planted[2][None], -planted[2][None], across]))


def test_a_planted_direction_is_found_and_told_in_other_cells(planted, cav):
    _, positive, direction = planted
    assert cav.label.vector @ direction > 0.97
    assert cav.mean_difference.vector @ direction > 0.97
    assert np.linalg.norm(cav.label.vector) == pytest.approx(1)
    best = 0.8944  # of normal densities 2.5 apart: P(Z < 1.25)
    assert cav.label.accuracy == pytest.approx(best, abs=0.05)
    assert np.mean([one.accuracy for one in cav.random]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([one.accuracy for one in cav.groups]) > 0.7
    assert cav.scoring.sum() == 200
    assert (cav.scoring & positive).sum() == 50


def test_scoring_cells_have_no_say(planted, cav):
    x, positive, _ = planted
    other = np.where(cav.scoring[:, None], x[::-1] * 3, x)
    found = find_direction(other, positive, draws=3, seed=1)
    np.testing.assert_array_equal(found.scoring, cav.scoring)
    np.testing.assert_allclose(found.label.vector, cav.label.vector)
    np.testing.assert_allclose(found.mean_difference.vector, cav.mean_difference.vector)
    np.testing.assert_allclose(found.random[0].vector, cav.random[0].vector)


def test_the_units_of_the_site_change_nothing_but_units(planted, cav):
    x, positive, _ = planted
    scale = 10.0 ** np.arange(D)
    found = find_direction(x * scale, positive, draws=3, seed=1)
    back = found.label.vector * scale
    np.testing.assert_allclose(back / np.linalg.norm(back), cav.label.vector, atol=1e-3)
    assert found.label.accuracy == pytest.approx(cav.label.accuracy, abs=0.011)


def test_concepts_answer_as_plain_loops_say_and_only_planted_ones_are_sure(planted, cav, dictionary):
    x = planted[0]
    codes = dictionary.encode(torch.from_numpy(x).float()).to_csr().tocsc()
    table = concept_answers(cav, x, codes, dictionary)
    some, v, step = x[cav.scoring], cav.label.vector, cav.label.vector * cav.label.sd
    directions = dictionary.directions.double().numpy()
    for j, w in enumerate(directions):
        before, after = np.maximum(some @ w, 0), np.maximum((some + step) @ w, 0)
        assert table.loc[j, "cosine"] == pytest.approx(w @ v, abs=1e-6)
        assert table.loc[j, "correlation"] == pytest.approx(np.corrcoef(before, some @ v)[0, 1], abs=1e-5)
        assert table.loc[j, "slope"] == pytest.approx((w @ step) / (some @ w).std(), abs=1e-5)
        assert table.loc[j, "recruited"] == pytest.approx((after > before + 1e-6).mean(), abs=1e-9)
        sizes = [abs(w @ one.vector) for one in cav.groups]
        assert table.loc[j, "cosine_groups_above"] == pytest.approx(np.mean(np.array(sizes) >= abs(w @ v)), abs=1e-9)
        assert table.loc[j, "cosine_random"] == pytest.approx(
            np.mean([abs(w @ r.vector) for r in cav.random]), abs=1e-6
        )
    for figure in ("cosine", "correlation", "slope"):
        assert (table[f"{figure}_q"] < 0.05).tolist() == [True, True, False, False]
    assert (table["correlation"].to_numpy()[:2] > 0).tolist() == [True, False]


def test_genes_of_an_exponential_decoder_change_by_its_weights(planted, cav):
    x = planted[0][cav.scoring]
    weights = torch.from_numpy(np.stack([cav.label.vector, -2 * cav.label.vector, np.zeros(D)])).float()
    table = gene_answers(cav, x, lambda a: (a @ weights.T).exp())
    np.testing.assert_allclose(table["change"], np.array([1, -2, 0]) * cav.label.sd, atol=1e-5)
    assert table["rises"].tolist() == [1, 0, 0]
    assert (table["change_q"] < 0.05).tolist() == [True, True, False]
    assert table["change_mean_difference"][0] == pytest.approx(cav.mean_difference.sd, rel=0.05)


def test_random_labels_are_found_as_seldom_as_q_says(planted, dictionary):
    """Each random label in turn is held against the others."""
    x, positive, _ = planted
    many = find_direction(x, positive, draws=60, seed=2)
    codes = dictionary.encode(torch.from_numpy(x).float()).to_csr().tocsc()
    few = many.random[:3]
    tables = [
        concept_answers(many._replace(label=r, random=few, groups=few), x, codes, dictionary) for r in many.random
    ]
    for figure in ("cosine", "correlation", "slope"):
        drawn = np.array([table[figure] for table in tables])
        hits = [(q_against(drawn[i], np.delete(drawn, i, axis=0)) < 0.05).mean() for i in range(len(drawn))]
        assert np.mean(hits) <= 0.05


def test_q_of_what_does_not_vary_is_one():
    assert q_against(np.array([1.0, 0.0]), np.zeros((5, 2))).tolist() == [1, 1]
    drawn = np.random.default_rng(0).normal(size=(50, 1))
    assert q_against(np.array([8.0]), drawn)[0] < 1e-6


def test_groups_that_fill_a_half_are_still_told_apart():
    """Two far blobs whose cells alternate between few and many: every half keeps a cell of both sides."""
    x = np.concatenate(
        [np.random.default_rng(0).normal(size=(8, 2)), 50 + np.random.default_rng(1).normal(size=(8, 2))]
    )
    found = find_direction(x, np.arange(16) < 8, draws=5, seed=0)
    assert found.label.accuracy == 1
    assert all(0 <= one.accuracy <= 1 for one in found.groups)


def test_what_cannot_be_is_refused(planted):
    x, positive, _ = planted
    with pytest.raises(InputError, match="7 of 400 cells have the label"):
        find_direction(x, np.arange(400) < 7)
    with pytest.raises(InputError, match="400 of 400 cells"):
        find_direction(x, np.ones(400, dtype=bool))
    with pytest.raises(InputError, match="2 draws say nothing"):
        find_direction(x, positive, draws=2)


def test_an_axis_that_does_not_vary_is_no_part_of_it(planted, dictionary):
    x, positive, _ = planted
    still = x.copy()
    still[:, 5] = 1.0
    found = find_direction(still, positive, draws=3)
    assert found.label.vector[5] == 0
    assert np.isfinite(concept_answers(found, still, sp.csc_matrix((400, 4)), dictionary).to_numpy()).all()

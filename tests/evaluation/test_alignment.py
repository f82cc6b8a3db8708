"""Alignment against scikit-learn, one latent and one value at a time, and on planted marker latents."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve

from cellglass.errors import InputError
from cellglass.evaluation.alignment import align, alignment_metrics, label_of_concepts
from cellglass.evaluation.labels import Labels, encode_labels, split
from cellglass.seeds import generator


def _halves(labels, seed, name=""):
    first = split(labels.code, 0.5, generator(seed, "alignment", name))
    return first, ~first & (labels.code >= 0)


def _slow(dense, labels, seed):
    """Best F1 and threshold on the first half by scikit-learn's curve; F1 and average precision on the second half."""
    first, second = _halves(labels, seed)
    shape = (dense.shape[1], len(labels.names))
    chosen, threshold = np.zeros(shape), np.full(shape, np.inf)
    f1, ap = np.zeros(shape), np.zeros(shape)
    for j in range(shape[1]):
        truth = labels.code == j
        for c in range(shape[0]):
            x = dense[:, c]
            precision, recall, cuts = precision_recall_curve(truth[first], x[first])
            for p, r, t in zip(precision[:-1], recall[:-1], cuts, strict=True):
                score = 2 * p * r / (p + r) if t > 0 and p + r > 0 else 0.0
                if t > 0 and (score > chosen[c, j] + 1e-12 or (score > chosen[c, j] - 1e-12)):
                    chosen[c, j], threshold[c, j] = (
                        max(score, chosen[c, j]),
                        t,
                    )  # cuts rise: the highest of equals stays
            if np.isfinite(threshold[c, j]):
                threshold[c, j] = (threshold[c, j] + max([0, *x[first & (x < threshold[c, j])]])) / 2
            f1[c, j] = f1_score(truth[second], x[second] >= threshold[c, j], zero_division=0)
            ap[c, j] = average_precision_score(truth[second], x[second])
    return chosen, threshold, f1, ap


def _random(seed, n=120, n_latents=7, n_values=3, levels=None, density=0.3):
    rng = np.random.default_rng(seed)
    code = rng.integers(-1, n_values, n)
    code[: 4 * n_values] = np.repeat(np.arange(n_values), 4)
    dense = rng.random((n, n_latents)) * (rng.random((n, n_latents)) < density)
    if levels:
        dense = np.ceil(dense * levels) / levels
    dense[:, -1] = 0
    return dense, Labels(code, [f"v{i}" for i in range(n_values)])


def _assert_equal(result, dense, labels, seed):
    chosen, threshold, f1, ap = _slow(dense, labels, seed)
    np.testing.assert_allclose(result.chosen, chosen, atol=1e-12)
    np.testing.assert_allclose(result.threshold, threshold)
    np.testing.assert_allclose(result.f1, f1, atol=1e-12)
    np.testing.assert_allclose(result.ap, ap, atol=1e-12)


@pytest.mark.parametrize("levels", [None, 4, 1])
@pytest.mark.parametrize("density", [0.05, 0.5, 1.0])
def test_equals_scikit_learn(levels, density):
    dense, labels = _random(3, levels=levels, density=density)
    _assert_equal(align(sp.csc_matrix(dense), labels, 5), dense, labels, 5)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(-1, 1)), min_size=4, max_size=40),
    st.integers(0, 5),
)
def test_equals_scikit_learn_with_many_ties(cells, seed):
    padded = [*cells, (1, 0, 0), (0, 2, 0), (3, 0, 0), (0, 0, 0), (1, 2, 1), (2, 2, 1), (0, 1, 1), (0, 0, 1)]
    table = np.array(padded, dtype=float)
    labels = Labels(table[:, 2].astype(int), ["a", "b"])
    _assert_equal(align(sp.csc_matrix(table[:, :2]), labels, seed), table[:, :2], labels, seed)


def test_no_threshold_beats_the_chosen_one():
    dense, labels = _random(8, n=60)
    first, _ = _halves(labels, 2)
    result = align(sp.csc_matrix(dense), labels, 2)
    for c in range(dense.shape[1]):
        for t in np.unique(dense[first, c]):
            if t > 0:
                scores = [f1_score(labels.code[first] == j, dense[first, c] >= t, zero_division=0) for j in range(3)]
                assert (result.chosen[c] >= np.array(scores) - 1e-12).all()


def _planted():
    rng = np.random.default_rng(0)
    code = np.repeat([0, 1, 2, 3], 100)
    dense = rng.random((400, 12)) * (rng.random((400, 12)) < 0.1)
    for value, latent in enumerate([5, 2, 9]):  # value 3 has no latent of its own
        dense[code == value, latent] = 2 + rng.random(100)
    labels = pd.DataFrame({"type": pd.Categorical.from_codes(code, ["B.cell", "NK", "T", "mono"]), "one": "x"})
    return sp.csc_matrix(dense), labels


def test_planted_latents_are_found():
    codes, labels = _planted()
    metrics = {
        m.metric: m for m in alignment_metrics(codes, encode_labels(labels["type"]), 1, name="type", basis="pca")
    }
    assert list(metrics) == [f"alignment.type.{v}.pca" for v in ("B.cell", "NK", "T", "mono")]
    assert all(metrics[f"alignment.type.{v}.pca"].value == 1 for v in ("B.cell", "NK", "T"))
    assert metrics["alignment.type.mono.pca"].value < 0.5
    assert all(m.null < 0.5 and m.n == 50 for m in metrics.values())
    result = align(codes, encode_labels(labels["type"]), 1, name="type")
    assert result.best_latents()[:3].tolist() == [5, 2, 9]


def test_records_hold_the_score_of_the_best_latent_of_the_table():
    dense, labels = _random(4)
    codes = sp.csc_matrix(dense)
    table = align(codes, labels, 9, name="x")
    metrics = alignment_metrics(codes, labels, 9, name="x", basis="ica")
    for j, metric in enumerate(metrics):
        assert metric.value == table.f1[table.best_latents()[j], j]
        assert metric.n == table.n[j]


def test_shuffled_labels_score_like_their_null():
    codes, labels = _planted()
    encoded = encode_labels(labels["type"].sample(frac=1, random_state=0, ignore_index=True))
    for metric in alignment_metrics(codes, encoded, 1, name="type", basis="concepts"):
        assert metric.value == pytest.approx(metric.null, abs=0.15)


def test_label_of_concepts():
    codes, labels = _planted()
    labels["half"] = np.where(np.arange(400) < 200, "early", "late")
    codes = sp.hstack(
        [codes, sp.csc_matrix((400, 1)), sp.csc_matrix((labels["half"] == "late").to_numpy()[:, None] * 1.0)]
    )
    table = label_of_concepts(codes, labels, 1)
    columns = ["latent", "label_column", "value", "f1", "ap", "null", "threshold", "p", "n", "q"]
    assert table.columns.tolist() == columns
    assert table["latent"].tolist() == list(range(14))
    assert table.loc[5, ["label_column", "value", "f1", "ap"]].tolist() == ["type", "B.cell", 1.0, 1.0]
    assert table.loc[12, ["label_column", "value", "f1", "ap"]].tolist() == ["", "", 0.0, 0.0]
    assert table.loc[13, ["label_column", "value", "f1"]].tolist() == ["half", "late", 1.0]
    assert (table["label_column"] != "one").all()


def test_the_p_of_a_label_is_that_of_permuting_the_labels_of_the_scoring_half():
    rng = np.random.default_rng(2)
    codes = sp.csc_matrix(rng.random((240, 6)) * (rng.random((240, 6)) < 0.4))
    others = rng.choice(["b", "c", "d", "e", "f"], 240)
    marked = codes[:, 0].toarray().ravel() + rng.random(240) > 1.1
    labels = pd.DataFrame({"type": pd.Categorical(np.where(marked, "a", others))})
    table, encoded = label_of_concepts(codes, labels, 3), encode_labels(labels["type"])
    found = align(codes, encoded, 3, name="type")
    score = ~split(encoded.code, 0.5, generator(3, "alignment", "type"))
    share = np.bincount(encoded.code) / 240
    for latent, row in table[table["p"].notna()].iterrows():
        j = int((found.chosen[latent] - 2 * share / (1 + share)).argmax())
        above = codes[score, latent].toarray().ravel() >= found.threshold[latent, j]
        truth = encoded.code[score] == j
        both = np.array([(rng.permutation(truth) & above).sum() for _ in range(1000)])
        draws = 2 * both / (truth.sum() + above.sum())  # F1
        assert row["p"] == pytest.approx(np.mean(draws >= found.f1[latent, j] - 1e-9), abs=0.05)
        assert row["null"] == pytest.approx(np.mean(draws), abs=0.01)
        assert (row["n"], row["threshold"]) == (truth.sum(), found.threshold[latent, j])
    assert table["p"].notna().sum() > 2
    assert (table["q"] >= table["p"] - 1e-12)[table["p"].notna()].all()
    assert (table.loc[~(table["q"] < 0.05), "value"] == "").all()
    assert table.loc[0, "value"] == "a"


def test_permuted_labels_name_no_concepts():
    codes, labels = _planted()
    labels["half"] = np.where(np.arange(400) < 200, "early", "late")
    named = [
        (label_of_concepts(codes, labels.sample(frac=1, random_state=i, ignore_index=True), i)["value"] != "").any()
        for i in range(60)
    ]
    assert sum(named) <= 8  # of 60 at 5 %: more than 8 once in 500 times


def test_without_labels_concepts_have_none():
    codes, labels = _planted()
    table = label_of_concepts(codes, labels[[]], 1)
    assert (table["value"] == "").all()
    assert len(table) == 12


def test_the_same_seed_gives_the_same_and_cells_must_match():
    codes, labels = _planted()
    first, again = label_of_concepts(codes, labels, 4), label_of_concepts(codes, labels, 4)
    pd.testing.assert_frame_equal(first, again)
    with pytest.raises(InputError, match="399 cells"):
        align(codes[:399], encode_labels(labels["type"]), 1)


@pytest.mark.parametrize("silent", [0, 1, 2])
def test_a_latent_is_scored_alike_whatever_silent_ones_come_before_it(silent: int) -> None:
    noise = np.random.default_rng(0)
    code = noise.integers(0, 2, 60)
    answers = sp.csc_matrix(np.where(code == 1, 1.0 + noise.random(60), noise.random(60) * (noise.random(60) < 0.3)))
    labels = Labels(code, ["a", "b"])
    alone = align(answers.T.tocsc(), labels, 3)
    padded = align(sp.hstack([sp.csc_matrix((60, silent)), answers.T.tocsc()], format="csc"), labels, 3)
    for name in ("chosen", "threshold", "f1", "ap"):
        np.testing.assert_array_equal(getattr(padded, name)[silent:], getattr(alone, name))
    assert alone.chosen[0, 1] > 0.8

"""What stands beside a label, which gene and gene set name a concept, and in which order concepts are listed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas.evidence import (
    comes_back,
    label_evidence,
    label_sizes,
    leading_order,
    named_gene,
    opening,
    residual,
    surest,
)


def test_sizes_are_of_what_can_be_a_label_and_missing_values_are_none() -> None:
    obs = pd.DataFrame(
        {"type": pd.Categorical(["B", "T", None, "T"]), "batch": ["a", "a", "b", None], "n": [1, 2, 3, 4]}
    )
    obs["good"] = [True, False, True, True]
    assert label_sizes(obs) == {"type": {"B": 1, "T": 2}, "batch": {"a": 2, "b": 1}, "good": {"True": 3, "False": 1}}


def test_an_older_atlas_gets_the_f1_of_calling_every_cell() -> None:
    var = pd.DataFrame({"best_label": ["T", "", np.nan, "gone"], "best_label_f1": [0.9, 0, np.nan, 0.4]})
    found = label_evidence(var, {"type": {"B": 1, "T": 3}})
    assert found["column"].tolist() == ["type", "", "", ""]
    assert found["null"].iloc[0] == pytest.approx(2 * 0.75 / 1.75)
    assert found["n"].iloc[0] == 3
    assert found["null"].iloc[1:].isna().all()
    assert found["every"].all()
    assert found[["q", "threshold"]].isna().all(axis=None)


def test_what_an_atlas_states_itself_comes_first() -> None:
    stated = {
        "best_label_column": "fine",
        "threshold": 0.4,
        "best_label_null": 0.2,
        "best_label_q": 0.01,
        "best_label_n": 7,
    }
    var = pd.DataFrame({"best_label": ["T", "T"], "best_label_f1": 0.9, **stated})
    var.loc[1, ["best_label_null", "best_label_n"]] = np.nan
    found = label_evidence(var, {"type": {"T": 5, "B": 5}, "fine": {"T": 2, "B": 8}})
    assert found["column"].tolist() == ["fine", "fine"]
    assert found["null"].tolist() == pytest.approx([0.2, 2 * 0.2 / 1.2])
    assert found["n"].tolist() == [7, 2]
    assert found["every"].tolist() == [False, True]
    assert found.loc[0, ["q", "threshold"]].tolist() == [0.01, 0.4]


def test_the_test_and_ranking_that_open_first_are_those_of_the_vocabulary() -> None:
    rows = [("ora", "path"), ("gsea", "de"), ("gsea", "path"), ("mine", "path")]
    assert opening(pd.DataFrame(rows, columns=["test", "ranking"])) == ("gsea", "path")


def test_gene_sets_that_pass_both_are_ordered_by_q_and_stand_before_all_others() -> None:
    q = np.array([0.04, 0.001, 0.2, 0.001, np.nan])
    null_q = np.array([0.01, 0.04, 0.01, 0.3, 0.01])
    order = surest(q, null_q)
    assert np.argsort(order).tolist() == [1, 0, 2, 3, 4]
    assert np.isnan(order[4])


def test_the_stronger_of_two_significant_genes_names_a_concept() -> None:
    var = pd.DataFrame(
        {
            "top_gene": ["A"] * 4, "top_gene_score": [0.2, 0.2, 0.2, 0.2], "top_gene_q": [0.01, 0.01, 0.3, np.nan],
            "absent_gene": ["Z"] * 4, "absent_gene_score": [-0.1, -0.3, -0.1, -0.5],
            "absent_gene_q": [0.01, 0.01, 0.01, 0.2],
        }
    )  # fmt: skip
    found = named_gene(var)
    assert found["gene"].tolist() == ["A", "Z", "Z", "A"]
    assert found["score"].tolist() == [0.2, -0.3, -0.1, 0.2]
    assert named_gene(var[["top_gene"]])["gene"].tolist() == ["A"] * 4


def test_what_comes_back_leads_then_f1_then_residual_latents_and_silent_ones_come_last() -> None:
    var = pd.DataFrame({"best_label_f1": [0.9, 0.5, 0.7, np.nan, 1.0], "density": [0.1, 0.1, 0.1, 0.1, 0.0]})
    assert leading_order(var).tolist() == [0, 2, 1, 3, 4]
    seeds = var.assign(residual=False, reproducibility=np.float32([0, 1, 0.5, 1, 1]))
    assert leading_order(seeds).tolist() == [1, 3, 2, 0, 4]
    halves = var.assign(residual=[True, False, False, True, False], reproducibility=[1, 0.8, 0.9, 1, 1])
    assert leading_order(halves).tolist() == [2, 1, 0, 3, 4]


def test_reproducibility_counts_in_tenths() -> None:
    """13 and 14 of 16 pairs are as good as the same: the better F1 leads; 15 of 16 is more."""
    var = pd.DataFrame({"best_label_f1": [0.5, 0.9, 0.1], "density": 0.1, "residual": False})
    assert leading_order(var.assign(reproducibility=np.float32([14, 13, 15]) / 16)).tolist() == [2, 1, 0]
    assert leading_order(var.assign(reproducibility=np.float32([0.9, 0.91, np.nan]))).tolist() == [1, 0, 2]


def test_a_concept_comes_back_from_the_least_share_on_and_a_residual_latent_never_does() -> None:
    var = pd.DataFrame({"reproducibility": np.float32([0.8, 0.79, 1, np.nan]), "residual": [False, False, True, False]})
    assert comes_back(var, {"least": 0.8}).tolist() == [True, False, False, False]
    assert residual(var).tolist() == [False, False, True, False]
    assert comes_back(var, None).tolist() == comes_back(var[[]], {"least": 0.8}).tolist() == [False] * 4
    assert residual(var[[]]).tolist() == [False] * 4

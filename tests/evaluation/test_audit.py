"""Each question of the audit, with an atlas that is sound and with each fault planted on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellglass.evaluation.audit import QUESTIONS, Facts, audit

BASES = {"concepts": 0.8, "clusters": 0.6, "neurons": 0.5, "pca": 0.5, "ica": 0.4, "random": 0.5}


def sound() -> Facts:
    rows: dict[str, tuple[float, float | None]] = {
        f"alignment.type.{value}.{basis}": (f1 + 0.01 * i, 0.1)
        for i, value in enumerate(("B", "T.reg"))
        for basis, f1 in BASES.items()
    }
    rows["reproducibility.concepts"] = 0.9, 0.0
    rows["annotation.bundled.gsea.calibrated"] = 0.8, 0.02
    rows["annotation.bundled.gsea.de.calibrated"] = 1.0, 0.9
    concepts = pd.DataFrame(
        {
            "best_label_n": 9,
            "top_gene_q": [0.01, 0.02, 0.5],
            "absent_gene_q": np.nan,
            "depth_correlation": [0.1, -0.3, 0],
        },
        index=["a", "b", "c"],
    )
    obs = pd.DataFrame({"type": ["B", "T.reg"] * 8, "stim": ["on", "off"] * 8, "donor": list("aabbccdd") * 2})
    return Facts(
        config={
            "cells": {"labels": ["type"], "batch": "donor"},
            "attribution": {"null": "matched"},
            "model": {"control": None},
        },
        metrics=pd.DataFrame.from_dict(rows, orient="index", columns=["value", "null"]),
        concepts=concepts,
        obs=obs,
        methods=("path", "swap", "de"),
        asking=("path", "swap"),
        reproducibility={"by": "donors", "n": 16, "least": 0.8},
        n_genes=3000,
        planted={"genes": 30, "share": 0.15, "effect": 1.0, "correlation": 0.9, "auroc": 0.98},
    )


def answers(facts: Facts) -> dict[str, Any]:
    return {one.question: one for one in audit(facts)}


def test_a_sound_atlas_holds_in_all_that_can_be_known() -> None:
    found = answers(sound())
    assert list(found) == list(QUESTIONS)
    assert {name for name, one in found.items() if one.verdict != "holds"} == {"model"}
    assert found["model"].verdict == "not known"
    assert all(one.figures and one.where and one.asks.endswith("?") for one in found.values())
    assert all(bool(one.remedy) == (one.verdict != "holds") for one in found.values())
    assert "67% of concepts" in found["claims"].figures
    assert "90% of concepts" in found["comes back"].figures
    control = replace(
        sound(), metrics=sound().metrics * 0.5, config={**sound().config, "model": {"control": "untrained"}}
    )
    control = replace(control, concepts=control.concepts.assign(top_gene_q=0.9))
    against = answers(replace(sound(), control=control))["model"]
    assert against.verdict == "holds"
    assert "mean F1 of type 0.81, untrained model 0.40" in against.figures
    assert answers(control)["model"].verdict == "fails"


def with_config(facts: Facts, **tables: Any) -> Facts:
    return replace(facts, config={**facts.config, **tables})


def with_f1(facts: Facts, basis: str, f1: float) -> Facts:
    metrics = facts.metrics.copy()
    metrics.loc[metrics.index.str.endswith(f".{basis}") & metrics.index.str.startswith("alignment"), "value"] = f1
    return replace(facts, metrics=metrics)


def with_metric(facts: Facts, name: str, column: str, value: float) -> Facts:
    metrics = facts.metrics.copy()
    metrics.loc[name, column] = value
    return replace(facts, metrics=metrics)


def with_concepts(facts: Facts, **columns: Any) -> Facts:
    return replace(facts, concepts=facts.concepts.assign(**columns))


def of_a_clustering(facts: Facts) -> Facts:
    metrics = facts.metrics.set_axis(facts.metrics.index.str.replace(".type.", ".leiden."))
    return with_config(replace(facts, metrics=metrics), cells={"labels": ["leiden"], "batch": None})


def without_rival(facts: Facts) -> Facts:
    return replace(facts, metrics=facts.metrics[~facts.metrics.index.str.endswith(".clusters")])


SPOILED: dict[str, Callable[[Facts], Facts]] = {
    "weak null": lambda f: with_config(f, attribution={"null": "random"}),
    "random directions do as well": lambda f: with_f1(f, "random", 0.79),
    "a rival is missing": without_rival,
    "a rival wins": lambda f: with_f1(f, "clusters", 0.85),
    "scored where chosen": lambda f: replace(f, concepts=f.concepts.drop(columns="best_label_n")),
    "labels of the same counts": of_a_clustering,
    "cells for donors": lambda f: replace(f, reproducibility={"by": "halves", "n": 16, "least": 0.8}),
    "random genes mean as much": lambda f: with_metric(f, "annotation.bundled.gsea.calibrated", "null", 0.75),
    "a panel": lambda f: replace(f, n_genes=400),
    "one condition": lambda f: replace(f, obs=f.obs.assign(stim="on")),
    "one seed": lambda f: replace(f, reproducibility=None),
    "does not come back": lambda f: with_metric(f, "reproducibility.concepts", "value", 0.4),
    "no model was asked": lambda f: replace(f, methods=("de",), asking=()),
    "no gene is significant": lambda f: with_concepts(f, top_gene_q=0.4),
    "depth": lambda f: with_concepts(f, depth_correlation=[0.9, -0.8, 0.1]),
    "not found": lambda f: replace(f, planted={**(f.planted or {}), "correlation": 0.3}),
    "an untrained model does as well": lambda f: replace(f, control=with_config(f, model={"control": "untrained"})),
}


@pytest.mark.parametrize(
    ("fault", "question", "verdict", "says"),
    [
        ("weak null", "null", "fails", "drawn at random"),
        ("random directions do as well", "null", "doubtful", "type: 0.81 against 0.79"),
        ("a rival is missing", "rivals", "fails", "k-means clusters for type"),
        ("a rival wins", "rivals", "doubtful", r"k-means clusters (0.85, concepts 0.81) for type"),
        ("scored where chosen", "double dipping", "fails", "did not choose latent and threshold"),
        ("labels of the same counts", "double dipping", "doubtful", "leiden"),
        ("cells for donors", "replicates", "doubtful", "donor with 4 values"),
        ("random genes mean as much", "ceiling", "fails", "80% of concepts have a gene set, and 75% of rankings"),
        ("a panel", "ceiling", "doubtful", "the model reads 400 genes"),
        ("one condition", "conditions", "not known", "stim has one value"),
        ("one seed", "comes back", "fails", "one dictionary from one seed"),
        ("does not come back", "comes back", "doubtful", "40% of concepts come back"),
        ("no model was asked", "claims", "fails", "Expression alone: decoding"),
        ("no gene is significant", "claims", "fails", "0% of concepts"),
        ("depth", "depth", "fails", "2 of 3 concepts correlate"),
        ("not found", "positive control", "doubtful", "correlates with it at 0.30"),
        ("an untrained model does as well", "model", "fails", "untrained model 0.67"),
    ],
)
def test_each_fault_is_found_and_nothing_else(fault: str, question: str, verdict: str, says: str) -> None:
    found = answers(SPOILED[fault](sound()))
    assert found[question].verdict == verdict
    assert says in found[question].figures
    others = {name: one.verdict for name, one in answers(sound()).items() if name != question}
    if fault == "one seed":
        others["replicates"] = "doubtful"  # nothing was halved by donors either
    assert {name: found[name].verdict for name in others} == others


def test_no_null_is_claimed_that_is_not_there_and_the_least_clear_test_speaks() -> None:
    facts = sound()
    without = facts.metrics[~facts.metrics.index.str.endswith(".random")]
    assert answers(replace(facts, metrics=without))["null"].verdict == "not known"
    alone = answers(replace(facts, methods=("de",), asking=()))["null"]
    assert alone.verdict == "holds"
    assert "partners" not in alone.figures
    one = pd.DataFrame({"value": [0.5], "null": [0.45]}, index=["annotation.bundled.ulm.calibrated"])
    mixed = answers(replace(facts, metrics=pd.concat([facts.metrics, one])))["ceiling"]
    assert mixed.verdict == "doubtful"
    assert "by the least clear test (bundled.ulm)" in mixed.figures


def test_what_is_not_there_is_said_to_be_not_known() -> None:
    facts = replace(
        sound(),
        config={**sound().config, "cells": {"labels": [], "batch": None}},
        metrics=sound().metrics.iloc[:0],
        concepts=sound().concepts.drop(columns="depth_correlation"),
        obs=pd.DataFrame({"x": range(16)}),
        reproducibility={"by": "halves"},
        planted=None,
    )
    found = answers(facts)
    assert {name for name, one in found.items() if one.verdict == "not known"} == set(QUESTIONS) - {"claims"}

"""Sentences of verdict: what the rule says of made-up figures, and that every panel of an atlas has one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.summary import summarize
from cellglass.atlas.verdicts import verdicts


def said(panel: str, **figures: float | tuple[float, float]) -> str:
    """Return the sentence of a panel; a figure is a value, or a value and its null, and `__` in a name is a dot."""
    records: list[dict[str, Any]] = []
    for name, figure in figures.items():
        value, null = figure if isinstance(figure, tuple) else (figure, None)
        metric = f"{panel.split('.')[0]}.{name.replace('__', '.').replace('_', ' ')}"
        records.append({"metric": metric, "value": value, "null": null, "n": 9})
    return verdicts(records, ["type"]).get(panel, "")


@pytest.mark.parametrize(
    ("panel", "figures", "sentence"),
    [
        (
            "alignment.type",
            {"type__a__concepts": (0.8, 0.2), "type__b__concepts": (0.6, 0.2), "type__a__pca": 0.7,
             "type__b__pca": 0.64, "type__a__random": 0.4, "type__b__random": 0.5},
            "Concepts lead: mean F1 0.70, 0.03 above PCA (0.67); concepts are best for 1 of 2 values; random "
            "directions, the hard null, get 0.45, and shuffled labels, the weak one, 0.20.",
        ),
        (
            "alignment.type",
            {"type__a__concepts": 0.704, "type__a__pca": 0.7, "type__a__random": 0.64},
            "Concepts and PCA tie: mean F1 0.70; concepts are best for 1 of 1 values; random directions get 0.64, "
            "nearly as much.",
        ),
        (
            "alignment.type",
            {"type__a__concepts": 0.3, "type__a__clusters": 0.5, "type__a__pca": 0.7},
            "PCA leads: mean F1 0.70, 0.20 above k-means clusters (0.50); concepts get 0.30 and are best for 0 of 1 "
            "values; no null was measured.",
        ),
        (
            "reproducibility",
            {"concepts": (0.74, 0.03), "concepts__count": 14, "pca": 0.4, "pca__count": 16, "random": 0.08},
            "Concepts come back most: 74 %, 34 points more than PCA (40 %); in number PCA leads (16, against 14 of "
            "concepts); random directions, the hard null, get 8 %, and turned dictionaries, the weak one, 3 %.",
        ),
        (
            "probe",
            {"type__concepts": (0.86, 0.2), "type__site": 0.87, "phase__concepts": (0.71, 0.7), "phase__site": 0.71},
            "The whole site leads by at most 0.01 (0.86 against 0.87 for type); phase (null 0.70) says little, since "
            "its null gets nearly as far.",
        ),
        (
            "annotation",
            {"a__gsea": (0.8, 0.1), "b__ora": (0.95, 0.9)},
            "a, GSEA leads: 80 % of concepts against 10 % of random genes, 70 points more; b, ORA (95 % of concepts "
            "against 90 % of random genes) says little.",
        ),
        (
            "stability",
            {"concepts": (0.74, 0.5), "concepts__coactivation": (0.61, 0.04), "pca__coactivation": 0.5, "pca": 0.9},
            "Concepts are most alike between two seeds: mean similarity 0.61 by the cells in which they are active, "
            "0.11 above PCA (0.50); chance gets 0.04, and by direction 0.50 (concepts 0.74), which says less.",
        ),
        (
            "fidelity",
            {"variance_explained": (0.9, 0.85)},
            "The dictionary explains 90 % of the variance of activations in held-out cells, and its null 85 %: this "
            "figure says little.",
        ),
    ],
)  # fmt: skip
def test_a_sentence_follows_from_the_figures(panel: str, figures: dict[str, Any], sentence: str) -> None:
    if panel == "fidelity":
        record = {"metric": "fidelity.variance_explained", "value": 0.9, "null": 0.85, "n": 9}
        assert verdicts([record], []) == {"fidelity": sentence}
    else:
        assert said(panel, **figures) == sentence


def test_every_panel_of_an_atlas_has_a_sentence_and_none_is_made_of_nothing(atlas_folder: Path) -> None:
    found = summarize(open_atlas(atlas_folder))["verdicts"]
    panels = {"fidelity", "reproducibility", "probe", "annotation", "alignment.cell type", "alignment.phase"}
    assert set(found) == panels
    assert all(text.endswith(".") and "nan" not in text for text in found.values())
    assert verdicts([], ["type"]) == {}
    unknown = {"metric": "alignment.type.a.concepts", "value": float("nan"), "null": None, "n": None}
    assert verdicts([unknown], ["type"]) == {}

"""What features fire on: planted ones are found, controls less often; files, resuming, names in traces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellglass.circuits import load_transcoders, trace
from cellglass.circuits.transcoders import Transcoders, fingerprint_of
from cellglass.dictionaries import CrossLayerConfig, CrossLayerTranscoder
from cellglass.dictionaries.sparse import SparseDictionary
from cellglass.errors import InputError
from cellglass.evaluation import explain_features, feature_meanings, interpretable_rate
from cellglass.evaluation.feature_rate import ROWS, drawn_features
from cellglass.evaluation.feature_sums import KINDS
from circuits.models import LATENTS, NAMES, WIDTH, K, cells_of, model_of, transcoders_of
from evaluation.features import RULE, planted, some_cells


def test_planted_features_are_interpretable_and_controls_less_often() -> None:
    model, transcoders, genes = planted()
    assert len(genes) >= 8
    table = feature_meanings(model, some_cells(), transcoders, rule=RULE).features
    assert len(table) == 2 * LATENTS
    for feature, gene in genes.items():
        row = table.iloc[feature]
        assert (row["layer"], row["feature"], row["interpretable"], row["why"]) == (0, feature, True, "genes")
        assert (row["name"].split(" in ")[0], row["genes"]) == (f"fires on {gene}", gene)
    rates = interpretable_rate(model, some_cells(), transcoders, rule=RULE).set_index("of")
    assert tuple(rates.index) == ROWS
    assert rates.loc["features", "interpretable"] == table["interpretable"].sum() >= len(genes)
    assert (rates["rate"].drop("features") < rates.loc["features", "rate"]).all()
    assert rates["units"].tolist() == [2 * LATENTS, 2 * LATENTS, rates.loc["neurons", "units"], 2 * LATENTS]
    np.testing.assert_allclose(rates["rate"], rates["interpretable"] / rates["units"])
    assert rates.loc["features", "labelled"] == (table["f1"] >= 0.5).mean()
    later = table[table["layer"] > 0]["interpretable"].mean()
    assert rates.loc["features", "rate_later"] == pytest.approx(later)


@pytest.mark.parametrize("kind", ["scgpt", "geneformer", "scgpt, cross-layer"])
def test_encoders_and_cross_layer_transcoders_are_explained_too(kind: str) -> None:
    name, model = kind.split(",")[0], model_of(kind.split(",")[0])
    made: tuple[SparseDictionary, ...] = tuple(transcoders_of(name))
    if "cross" in kind:
        one = CrossLayerTranscoder(CrossLayerConfig(2 * WIDTH, 2 * LATENTS, k=K, d_out=2 * WIDTH, n_layers=2))
        for layer, own in enumerate(made):
            rows, columns = slice(layer * LATENTS, (layer + 1) * LATENTS), slice(layer * WIDTH, (layer + 1) * WIDTH)
            one.encoder.data[rows], one.encoder_bias.data[rows] = own.encoder, own.encoder_bias
            one.centre[columns], one.scale[columns] = own.centre, own.scale
        made = (one.freeze(),)
    found = feature_meanings(model, some_cells(), Transcoders(name, fingerprint_of(model), 2, made), rule=RULE)
    table = found.features
    assert len(table) == 2 * LATENTS
    shares = table[table["frequency"] > 0][[f"on_{kind}" for kind in KINDS]]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares["on_hidden"].max() > 0
    assert shares["on_answer"].max() == 0
    assert set(found.genes["gene"]) <= set(NAMES)
    assert not (table["why"] == "spelling").any()
    if "cross" in kind:
        plain = Transcoders(name, fingerprint_of(model), 2, tuple(transcoders_of(name)))
        other = feature_meanings(model, some_cells(), plain, rule=RULE).features
        np.testing.assert_allclose(table["frequency"], other["frequency"], atol=1e-3)


class KilledError(Exception):
    pass


def test_tables_are_written_once_and_traces_take_the_names(tmp_path: Path) -> None:
    model, transcoders, genes = planted()
    transcoders.save(tmp_path / "t")
    options = {"controls": True, "rule": RULE, "seed": 1}
    for what in ("what neurons fire on", "untrained model: read the MLPs"):

        def kill(said: str, done: int, total: int, what: str = what) -> None:
            if said == what:
                raise KilledError

        with pytest.raises(KilledError):
            explain_features(model, some_cells(), transcoders, tmp_path / "t", **options, progress=kill)
        assert not (tmp_path / "t" / "features.csv").exists()
    told: list[str] = []
    made = explain_features(
        model, some_cells(), transcoders, tmp_path / "t", **options, progress=lambda what, *_: told.append(what)
    )
    assert not any(what.startswith("what features fire on") for what in told)
    files = {path.name for path in (tmp_path / "t").iterdir() if path.name != ".lock"}
    assert files == {
        "layer-0", "layer-1", "transcoders.json", "features.csv", "features.json", "feature_genes.parquet",
        "feature_rates.csv",
    }  # fmt: skip
    told.clear()
    again = explain_features(
        model, some_cells(), transcoders, tmp_path / "t", **options, progress=lambda what, *_: told.append(what)
    )
    assert not told
    pd.testing.assert_frame_equal(again.meanings.features, made.meanings.features, check_dtype=False)
    pd.testing.assert_frame_equal(again.rates, made.rates)
    fresh = feature_meanings(model, some_cells(), transcoders, rule=RULE, seed=1)
    pd.testing.assert_frame_equal(fresh.features, made.meanings.features)

    loaded = load_transcoders(tmp_path / "t")
    graph = trace(model, some_cells(), "c0", loaded, "B cell", "T cell", features=200, delete=False)
    nodes = graph.nodes[(graph.nodes["kind"] == "feature") & (graph.nodes["layer"] == 0)]
    planted_here = nodes[nodes["feature"].isin(genes)]
    assert len(planted_here)
    for row in planted_here.to_dict(orient="records"):
        assert row["label"].startswith(f"fires on {genes[row['feature']]}")
    drawn = drawn_features(made.meanings.features, 20, 3)
    assert len(drawn) == 20
    pd.testing.assert_frame_equal(drawn, drawn_features(made.meanings.features, 20, 3))


def test_wrong_input_is_refused_in_one_line() -> None:
    model, transcoders, _ = planted()
    for change, options, words in (
        ({}, {"n_cells": 9}, "9 cells are too few to choose on one half"),
        ({}, {"labels": ["celltypo"]}, "there is no obs column 'celltypo'"),
        ({}, {"gene_sets": ["nowhere.gmt"]}, "no such file and no such source"),
        ({"fingerprint": "0" * 64}, {}, "belong to another model"),
    ):
        with pytest.raises(InputError, match=words) as error:
            feature_meanings(model, some_cells(), replace(transcoders, **change), **options)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="belong to another model"):
        feature_meanings(model_of("scgpt"), cells_of(12), transcoders)

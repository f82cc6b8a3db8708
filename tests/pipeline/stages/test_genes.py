"""Genes and pathways of a run: the tables hold what the parts give, and planted programs are found."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from cellglass.atlas import open_atlas, schema
from cellglass.atlas.checks import check_columns, concept_columns
from cellglass.attribution import attribute
from cellglass.cells import Simulated
from cellglass.enrichment.normal_scores import normal_scores
from cellglass.pipeline.runner import Run
from cellglass.pipeline.stages import genes as interpret
from cellglass.pipeline.stages.activations import open_activations
from cellglass.pipeline.stages.dictionaries import open_codes, open_concepts
from cellglass.pipeline.stages.model import open_explained, open_model
from cellglass.seeds import derive


def test_the_table_of_genes_is_what_attribution_gives(small_run: Run) -> None:
    """One concept, attributed by hand and alone."""
    codes, (store, site) = open_codes(small_run), open_activations(small_run)
    concept = int(np.argmax(np.diff(codes.indptr) > 20))
    config = small_run.config.attribution
    by_hand = attribute(
        open_model(small_run),
        open_explained(small_run),
        site,
        open_concepts(small_run),
        codes,
        store,
        [concept],
        n_prototypes=config.prototypes,
        n_partners=config.partners,
        steps=config.steps,
        seed=derive(0, "attribution"),
    ).genes
    table = pd.read_parquet(small_run.path("genes.parquet"))
    table = table[table["concept"] == concept]
    assert set(table["method"]) == {"path", "swap", "knockout", "de"}
    key = ["method", "on", "gene"]
    joined = by_hand.merge(table, on=key, suffixes=("", "_kept"))
    assert len(joined) == len(by_hand) == len(table)
    for column in ("effect", "se", "score"):
        np.testing.assert_allclose(joined[column], joined[f"{column}_kept"], rtol=1e-3, atol=1e-5)


def test_what_a_run_leaves_is_where_and_as_the_schema_says(small_run: Run) -> None:
    for name, columns in ((schema.GAPS, schema.GAPS_COLUMNS), (schema.PAIRS, schema.TABLES[schema.PAIRS].types)):
        table = pd.read_parquet(small_run.path(name))
        assert list(table) == list(columns)
        check_columns(table, columns, name)
    for name in (schema.MODEL, schema.ACTIVATIONS):
        assert small_run.path(name).is_dir()
    var = open_atlas(small_run.folder).concepts.var
    assert list(var) == list(concept_columns(var))
    assert set(schema.TERM_CONCEPT_COLUMNS) <= set(var)


def test_prototypes_and_partners_are_kept(small_run: Run) -> None:
    pairs = pd.read_parquet(small_run.path(schema.PAIRS))
    codes = open_codes(small_run).toarray()
    real = pairs[pairs["kind"] == "real"]
    assert len(real) > 0
    assert np.all(codes[real["prototype"], real["concept"]] > 0)
    assert np.all(codes[real["partner"], real["concept"]] == 0)


def test_rankings_are_dense_tables_of_scores(small_run: Run) -> None:
    ranked = dict(interpret.rankings(small_run))
    table = pd.read_parquet(small_run.path("genes.parquet"))
    assert list(ranked) == ["path", "swap", "de"]
    row = table[(table["method"] == "path") & (table["on"] == "activation")].iloc[5]
    assert ranked["path"].loc[row["concept"], row["gene"]] == row["score"]
    assert ranked["path"].shape[1] == open_explained(small_run).n_genes


def test_effects_are_tested_on_normal_scores_and_lists_and_t_as_they_are(small_run: Run) -> None:
    scores = dict(interpret.rankings(small_run))["swap"]
    assert interpret.on_scale(scores, "swap", "ora") is scores
    assert interpret.on_scale(scores, "de", "gsea") is scores
    for test in ("gsea", "ulm"):
        np.testing.assert_array_equal(interpret.on_scale(scores, "swap", test), normal_scores(scores.to_numpy()))


def test_planted_programs_are_found_by_differential_expression_of_concepts(small_run: Run, planted: Simulated) -> None:
    pathways = pd.read_parquet(small_run.path("pathways.parquet"))
    assert set(pathways["source"]) == {"planted"}
    assert set(pathways["test"]) == {"gsea", "ulm", "ora"}
    found = pathways[(pathways["ranking"] == "de") & (pathways["test"] == "ulm") & (pathways["q"] < 0.05)]
    assert found["term"].nunique() >= 4
    rates = json.loads(small_run.path(interpret.RATES).read_text())
    assert len(rates) == 9
    assert all(0 <= rate["value"] <= 1 for rate in rates)
    on_lists = next(rate for rate in rates if (rate["ranking"], rate["test"]) == ("path", "ora"))
    assert on_lists["value"] > on_lists["null"]

"""Genes of a run: the tables hold what attribution gives."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cellglass.atlas import open_atlas, schema
from cellglass.atlas.checks import check_columns, concept_columns
from cellglass.attribution import attribute
from cellglass.pipeline import workspace
from cellglass.pipeline.run import Run
from cellglass.seeds import derive


def test_the_table_of_genes_is_what_attribution_gives(small_run: Run) -> None:
    """One concept, attributed by hand and alone."""
    codes, (store, site) = workspace.open_codes(small_run), workspace.open_activations(small_run)
    concept = int(np.argmax(np.diff(codes.indptr) > 20))
    by_hand = attribute(
        workspace.open_model(small_run),
        workspace.open_explained(small_run),
        site,
        workspace.open_concepts(small_run),
        codes,
        store,
        [concept],
        config=small_run.config.attribution,
        seed=derive(0, "attribution"),
        thresholds=workspace.open_best_labels(small_run)["threshold"].to_numpy(),
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
    for name, columns in (
        (schema.GAPS, schema.GAPS_COLUMNS),
        (schema.SCREENS, schema.SCREENS_COLUMNS),
        (schema.PAIRS, schema.TABLES[schema.PAIRS].types),
    ):
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
    codes = workspace.open_codes(small_run).toarray()
    real = pairs[pairs["kind"] == "real"]
    assert len(real) > 0
    assert np.all(codes[real["prototype"], real["concept"]] > 0)
    assert np.all(codes[real["partner"], real["concept"]] == 0)

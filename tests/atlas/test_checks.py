import numpy as np
import pandas as pd
import pytest

from cellglass.atlas import checks, schema
from cellglass.errors import InputError

RECORD = {"metric": "fidelity.l0", "value": 1.0, "spread": None, "null": None, "n": 3, "definition": "mean"}


def pathway_table() -> pd.DataFrame:
    row = {name: "a" if kind == "str" else 1 for name, kind in schema.PATHWAYS_COLUMNS.items()}
    return pd.DataFrame([row, row])


def test_as_columns_gives_exactly_the_columns_in_order_and_type() -> None:
    table = pathway_table().assign(extra=1)[["extra", *reversed(schema.PATHWAYS_COLUMNS)]]
    done = checks.as_columns(table, schema.PATHWAYS_COLUMNS, "t")
    assert list(done) == list(schema.PATHWAYS_COLUMNS)
    for name, kind in schema.PATHWAYS_COLUMNS.items():
        assert (
            isinstance(done[name].dtype, pd.CategoricalDtype) if kind == "str" else done[name].dtype == np.dtype(kind)
        )
    checks.check_columns(done, schema.PATHWAYS_COLUMNS, "t")


def test_missing_text_becomes_empty_text() -> None:
    done = checks.as_columns(pathway_table().assign(term=[None, "x"]), schema.PATHWAYS_COLUMNS, "t")
    assert done["term"].tolist() == ["", "x"]


@pytest.mark.parametrize("column", schema.PATHWAYS_COLUMNS)
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(InputError, match=f"^pathways.parquet: column '{column}' is missing"):
        checks.as_columns(pathway_table().drop(columns=column), schema.PATHWAYS_COLUMNS, schema.PATHWAYS)


def test_a_column_of_another_type_is_named() -> None:
    with pytest.raises(InputError, match="column 'q' cannot be read as float32"):
        checks.as_columns(pathway_table().assign(q="high"), schema.PATHWAYS_COLUMNS, "t")
    with pytest.raises(InputError, match="column 'ok' cannot be read as bool: it holds object"):
        checks.as_columns(pd.DataFrame({"ok": ["yes", "no"]}), {"ok": "bool"}, "t")
    with pytest.raises(InputError, match="column 'ok' holds int64, not bool"):
        checks.check_columns(pd.DataFrame({"ok": [1, 0]}), {"ok": "bool"}, "t")
    with pytest.raises(InputError, match="column 'concept' holds float64"):
        checks.check_columns(pathway_table().assign(concept=0.5), {"concept": "int32"}, "t")


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({}, "no list"),
        ([1], "record 0 is no object"),
        ([{k: v for k, v in RECORD.items() if k != "null"}], "record 0 has no 'null'"),
        ([RECORD, RECORD], "'fidelity.l0' stands twice"),
        ([{**RECORD, "value": "1"}], "'value' of metric 'fidelity.l0' is no number"),
    ],
)
def test_records_that_cannot_be_read(records: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        checks.check_records(records)


OURS = schema.Encoding("cellglass.genes", "2.1.0")


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"encoding-type": "cellglass.genes", "encoding-version": "1.0.0"},
        {"encoding-type": "cellglass.genes", "encoding-version": "2.9.3"},
        {"encoding-type": "cellglass.genes", "encoding-version": "2", "other": "x"},
    ],
)
def test_what_states_nothing_an_older_or_this_major_version_is_read(found: dict[str, str]) -> None:
    checks.check_encoding(found, OURS, "atlas/genes.parquet")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            {"encoding-version": "3.0.0"},
            r"version 3\.0\.0 and this cellglass reads up to 2\.1\.0; update with",
        ),
        ({"encoding-version": "10"}, "pip install -U cellglass"),
        ({"encoding-version": "next"}, "'next', which is none; write the atlas again"),
        ({"encoding-version": None}, "'None', which is none"),
        ({"encoding-type": "cellglass.pairs"}, "it holds cellglass.pairs, not cellglass.genes; write"),
    ],
)
def test_another_encoding_and_a_newer_version_are_named(found: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        checks.check_encoding(found, OURS, "atlas/genes.parquet")
    assert str(raised.value).startswith("atlas/genes.parquet: ")


def test_optional_columns_of_concepts_come_in_groups() -> None:
    assert checks.concept_columns(pd.DataFrame()) == dict(schema.CONCEPT_COLUMNS)
    found = checks.concept_columns(pd.DataFrame({"residual": [True], "best_term_q": [0.1]}))
    assert found == {**schema.CONCEPT_COLUMNS, **schema.TERM_CONCEPT_COLUMNS, **schema.REPRODUCIBILITY_COLUMNS}
    found = checks.concept_columns(pd.DataFrame({"agreement": [0.9]}))
    assert found == {**schema.CONCEPT_COLUMNS, **schema.READOUT_CONCEPT_COLUMNS}

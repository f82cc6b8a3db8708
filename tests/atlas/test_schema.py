import numpy as np
import pandas as pd
import pytest

from cellglass.atlas import schema
from cellglass.errors import InputError

RECORD = {"metric": "fidelity.l0", "value": 1.0, "spread": None, "null": None, "n": 3, "definition": "mean"}


def pathway_table() -> pd.DataFrame:
    row = {name: "a" if kind == "str" else 1 for name, kind in schema.PATHWAYS_COLUMNS.items()}
    return pd.DataFrame([row, row])


def test_as_columns_gives_exactly_the_columns_in_order_and_type() -> None:
    table = pathway_table().assign(extra=1)[["extra", *reversed(schema.PATHWAYS_COLUMNS)]]
    done = schema.as_columns(table, schema.PATHWAYS_COLUMNS, "t")
    assert list(done) == list(schema.PATHWAYS_COLUMNS)
    for name, kind in schema.PATHWAYS_COLUMNS.items():
        assert (
            isinstance(done[name].dtype, pd.CategoricalDtype) if kind == "str" else done[name].dtype == np.dtype(kind)
        )
    schema.check_columns(done, schema.PATHWAYS_COLUMNS, "t")


def test_missing_text_becomes_empty_text() -> None:
    done = schema.as_columns(pathway_table().assign(term=[None, "x"]), schema.PATHWAYS_COLUMNS, "t")
    assert done["term"].tolist() == ["", "x"]


@pytest.mark.parametrize("column", schema.PATHWAYS_COLUMNS)
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(InputError, match=f"^pathways.parquet: column '{column}' is missing"):
        schema.as_columns(pathway_table().drop(columns=column), schema.PATHWAYS_COLUMNS, schema.PATHWAYS)


def test_a_column_of_another_type_is_named() -> None:
    with pytest.raises(InputError, match="column 'q' cannot be read as float32"):
        schema.as_columns(pathway_table().assign(q="high"), schema.PATHWAYS_COLUMNS, "t")
    with pytest.raises(InputError, match="column 'ok' cannot be read as bool: it holds object"):
        schema.as_columns(pd.DataFrame({"ok": ["yes", "no"]}), {"ok": "bool"}, "t")
    with pytest.raises(InputError, match="column 'ok' holds int64, not bool"):
        schema.check_columns(pd.DataFrame({"ok": [1, 0]}), {"ok": "bool"}, "t")
    with pytest.raises(InputError, match="column 'concept' holds float64"):
        schema.check_columns(pathway_table().assign(concept=0.5), {"concept": "int32"}, "t")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ([], "no cellglass atlas"),
        ({"name": "other"}, "no cellglass atlas"),
        ({"schema_version": 2, "stages": {}}, "schema version 2 .* pip install -U cellglass"),
        ({"schema_version": 1}, "no stages"),
        ({"schema_version": 1, "stages": {"genes": {"state": "lost"}}}, "stage 'genes' has no state"),
    ],
)
def test_manifests_that_cannot_be_read(manifest: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        schema.check_manifest(manifest, "folder")
    assert "\n" not in str(raised.value)


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
        schema.check_records(records)


def test_outputs_come_from_finished_stages_only() -> None:
    stages = {
        "a": {"state": "done", "outputs": {"x": "1"}},
        "b": {"state": "running", "outputs": {"y": "2"}},
    }
    assert schema.outputs_of({"stages": stages}) == {"x": "1"}
    assert schema.unfinished_stages({"stages": stages}) == ["b"]

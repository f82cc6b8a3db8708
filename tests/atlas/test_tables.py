"""Tables of an atlas: rows that meet conditions, batches, and tables that are not there, foreign, or newer."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cellglass.atlas import schema, tables
from cellglass.atlas.tables import Tables, plain
from cellglass.atlas.write import write_genes, write_pairs
from cellglass.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        {"method": method, "on": "activation", "concept": concept, "gene": f"g{gene}", "effect": 0.1 * gene}
        for method in ("swap", "path")
        for concept in range(4)
        for gene in range(5)
    ]
    table = pd.DataFrame(rows).assign(se=0.1, score=lambda t: t["effect"], q=0.5, n=3)
    write_genes(tmp_path, table, {"g1": "CD3D"})
    return tmp_path


def change(place: Path, **stated: str | None) -> None:
    """Write a table again with other key-value metadata."""
    table = pq.read_table(place)
    metadata = {key.replace("_", "-"): value for key, value in stated.items() if value is not None}
    pq.write_table(pa.table(table.columns, schema=table.schema.with_metadata(metadata)), place)


def test_rows_are_those_that_meet_every_condition(folder: Path) -> None:
    whole = pq.read_table(folder / schema.GENES).to_pandas()
    found = Tables(folder).rows(schema.GENES, {"concept": [1, 3], "method": "swap", "on": None})
    expected = whole[whole["concept"].isin([1, 3]) & (whole["method"] == "swap")].reset_index(drop=True)
    pd.testing.assert_frame_equal(plain(found), expected)
    assert isinstance(found["gene"].dtype, pd.CategoricalDtype)
    assert list(Tables(folder).rows(schema.GENES, columns=["score", "gene"])) == ["score", "gene"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_batches_are_the_table_and_what_it_lacks_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(tables, "BATCH", size)
    batches = list(Tables(folder).batches(schema.GENES, ["gene", "symbol", "score", "term"]))
    assert all(len(batch) <= size for batch in batches)
    assert all(isinstance(batch[name].dtype, pd.CategoricalDtype) for batch in batches for name in ("gene", "symbol"))
    found = pd.concat([plain(batch) for batch in batches], ignore_index=True)
    pd.testing.assert_frame_equal(found, pq.read_table(folder / schema.GENES).to_pandas()[["gene", "symbol", "score"]])


def test_a_table_that_is_not_there_is_empty(tmp_path: Path) -> None:
    table = Tables(tmp_path).rows(schema.PATHWAYS, {"concept": 3})
    assert (len(table), list(table)) == (0, list(schema.PATHWAYS_COLUMNS))
    assert list(Tables(tmp_path).batches(schema.PATHWAYS, ["term"])) == []


def test_every_table_states_its_encoding_and_an_older_one_need_not(folder: Path) -> None:
    metadata = pq.read_schema(folder / schema.GENES).metadata
    assert metadata[b"encoding-type"] == b"cellglass.genes"
    assert metadata[b"encoding-version"] == b"1.0.0"
    before = Tables(folder).rows(schema.GENES)
    for stated in ({}, {"encoding_version": "1.7"}):
        change(folder / schema.GENES, **stated)
        pd.testing.assert_frame_equal(Tables(folder).rows(schema.GENES), before)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"encoding_version": "2.0.0"}, r"genes\.parquet: it has encoding version 2\.0\.0 .* pip install -U cellglass"),
        ({"encoding_type": "cellglass.pairs"}, r"genes\.parquet: it holds cellglass\.pairs, not cellglass\.genes"),
    ],
)
def test_a_newer_table_and_another_one_are_refused(folder: Path, stated: dict[str, str], message: str) -> None:
    change(folder / schema.GENES, **stated)
    for read in (
        lambda: Tables(folder).rows(schema.GENES),
        lambda: list(Tables(folder).batches(schema.GENES, ["gene"])),
    ):
        with pytest.raises(InputError, match=message):
            read()


def test_a_damaged_table_and_one_without_a_column_are_named(folder: Path) -> None:
    place = folder / schema.GENES
    content = place.read_bytes()
    pq.write_table(pq.read_table(place).drop(["se"]), place)
    with pytest.raises(InputError, match=r"genes\.parquet: column 'se' is missing"):
        Tables(folder).rows(schema.GENES)
    place.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"cannot be read .* it goes on") as raised:
        Tables(folder).rows(schema.GENES)
    assert "\n" not in str(raised.value)


def test_pairs_come_back_as_they_were_with_the_gap_where_it_is_known(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "concept": [1, 0],
            "prototype": [5, 2**40],
            "partner": [7, 8],
            "kind": ["real", "null"],
            "difference": [0.5, -1],
        }
    )
    place = write_pairs(tmp_path, table)
    read = pq.read_table(place)
    assert dict(zip(read.column_names, map(str, read.schema.types), strict=True)) == {
        "concept": "int32", "prototype": "int64", "partner": "int64", "kind": "string", "difference": "float",
    }  # fmt: skip
    pd.testing.assert_frame_equal(
        read.to_pandas(), table.astype({"concept": "int32", "difference": "float32"}), check_column_type=False
    )
    write_pairs(tmp_path, table.assign(gap=[0.1, 0.2], other=1))
    assert pq.read_schema(place).names == [*schema.PAIRS_COLUMNS, "gap"]
    with pytest.raises(InputError, match=r"pairs\.parquet: column 'partner' is missing"):
        write_pairs(tmp_path, table.drop(columns="partner"))

"""The tables of an atlas (parquet), opened once each: rows that meet conditions, or all rows batch after batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cellglass.atlas import schema
from cellglass.atlas.checks import check_columns, check_encoding
from cellglass.atlas.reading import reading

BATCH = 1 << 18
"""Rows of a table that are read at once where a whole table is passed over."""


class Tables:
    """The tables in the folder of an atlas, called by the names of their files, such as `schema.GENES`.

    Text is read as categories. A table that is not there is empty.

    Raises
    ------
    InputError
        When a table is read: if it is damaged, lacks a column, or a newer cellglass wrote it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: dict[str, Any] = {}

    def rows(
        self, name: str, wanted: Mapping[str, object] | None = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return rows of a table. Conditions reach the reader, so that a large table is not read whole.

        Parameters
        ----------
        name : str
        wanted : mapping, optional
            Column -> the value, or the list of values, that a row has; None takes every row.
        columns : sequence of str, optional
            The columns to read; None takes all.
        """
        opened = self._open(name)
        if opened is None:
            return _empty(schema.TABLES[name].columns)
        import pyarrow.dataset as ds

        condition = None
        for key, value in (wanted or {}).items():
            if value is not None:
                equal = ds.field(key).isin(value) if isinstance(value, list) else ds.field(key) == value
                condition = equal if condition is None else condition & equal
        keep = None if columns is None else list(columns)
        table: pd.DataFrame = reading(
            self.folder / name, lambda: opened.to_table(columns=keep, filter=condition).to_pandas()
        )
        return table

    def batches(self, name: str, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Yield some columns of a table, a batch of rows at a time; those that it lacks are left out."""
        opened = self._open(name)
        if opened is None:
            return
        import pyarrow.parquet as pq

        place, types = self.folder / name, schema.TABLES[name].types
        have = [key for key in columns if key in opened.schema.names]
        texts = [key for key in have if types.get(key) == "str"]
        with reading(place, lambda: pq.ParquetFile(place, read_dictionary=texts)) as file:
            batches = file.iter_batches(batch_size=BATCH, columns=have)
            while (batch := reading(place, lambda: next(batches, None))) is not None:
                yield batch.to_pandas()

    def _open(self, name: str) -> Any:
        """Return the table as a dataset of pyarrow, once it is known to be one; None where it is not there."""
        place = self.folder / name
        if name not in self._opened and place.exists():
            import pyarrow.dataset as ds

            table = schema.TABLES[name]
            texts = {key for key, kind in table.types.items() if kind == "str"}
            form = ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns=texts))
            found = reading(place, lambda: ds.dataset(place, format=form))
            check_encoding(_stated(found.schema.metadata or {}), table.encoding, place)
            check_columns(found.schema.empty_table().to_pandas(), table.columns, str(place))
            self._opened[name] = found
        return self._opened.get(name)


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with categories as plain text."""
    return table.astype({name: object for name in table if isinstance(table[name].dtype, pd.CategoricalDtype)})


def _stated(metadata: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return what the key-value metadata of a file says of its encoding."""
    keys = [key for key in schema.ENCODING_KEYS if key.encode() in metadata]
    return {key: metadata[key.encode()].decode("utf-8", "replace") for key in keys}


def _empty(columns: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {name: pd.Series([], dtype="object" if kind == "str" else kind) for name, kind in columns.items()}
    )

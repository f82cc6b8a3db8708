"""Whether a part of an atlas is as its schema says, and tables brought into that form. What is wrong is an InputError.

Opens no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cellglass.atlas import schema
from cellglass.errors import InputError


def as_columns(table: pd.DataFrame, columns: Mapping[str, str], artefact: str) -> pd.DataFrame:
    """Return `table` with exactly `columns`, in their order and types.

    Text comes back as categories in alphabetic order: a table of millions of rows names few methods and genes.

    Raises
    ------
    InputError
        If a column is not there or cannot be read as its type: names artefact and column.
    """
    done = {}
    for name, kind in columns.items():
        if name not in table:
            raise InputError(f"{artefact}: column {name!r} is missing; it needs: {', '.join(columns)}")
        column = table[name]
        if kind == "bool" and not _holds(column, kind):
            raise InputError(f"{artefact}: column {name!r} cannot be read as bool: it holds {column.dtype}")
        try:
            done[name] = text(column) if kind == "str" else column.to_numpy(dtype=kind)
        except (ValueError, TypeError) as error:
            raise InputError(f"{artefact}: column {name!r} cannot be read as {kind}: {error}") from error
    return pd.DataFrame(done, index=table.index)


def text(column: pd.Series[Any]) -> pd.Categorical:
    """Return `column` as categories of text in alphabetic order; what is missing becomes empty text."""
    codes, values = pd.factorize(column)
    texts = np.array([*map(str, values), ""], dtype=object)  # code -1, nothing, takes the last one
    categories, place = np.unique(texts, return_inverse=True)
    chosen: Any = place[codes]
    return pd.Categorical.from_codes(chosen, categories=categories.tolist())


def check_columns(table: pd.DataFrame, columns: Mapping[str, str], artefact: str) -> None:
    """Raise InputError where `table`, as read from a file, lacks a column or has another type in it."""
    for name, kind in columns.items():
        if name not in table:
            raise InputError(
                f"{artefact}: column {name!r} is missing, so cellglass did not write it, or a newer one did; "
                "write the atlas again into an empty folder"
            )
        column = table[name].astype(object) if isinstance(table[name].dtype, pd.CategoricalDtype) else table[name]
        if not _holds(column, kind):
            raise InputError(f"{artefact}: column {name!r} holds {column.dtype}, not {kind}; write the atlas again")


def check_encoding(found: Mapping[str, str], ours: schema.Encoding, place: object) -> None:
    """Raise InputError where the part at `place` states another encoding than `ours`, or a newer major version of it.

    A part that states none is of version 1.
    """
    type_key, version_key = schema.ENCODING_KEYS
    kind, version = str(found.get(type_key, ours.type)), str(found.get(version_key, "1"))
    if kind != ours.type:
        raise InputError(f"{place}: it holds {kind}, not {ours.type}; write the atlas again into an empty folder")
    major = version.partition(".")[0]
    if not major.isdecimal():
        raise InputError(f"{place}: its encoding version is {version!r}, which is none; write the atlas again")
    if int(major) > int(ours.version.partition(".")[0]):
        raise InputError(
            f"{place}: it has encoding version {version} and this cellglass reads up to {ours.version}; "
            "update with: pip install -U cellglass"
        )


def concept_columns(var: pd.DataFrame) -> dict[str, str]:
    """Return the columns of a table of concepts; of optional ones that go together all where it has one of them."""
    columns = dict(schema.CONCEPT_COLUMNS)
    for group in schema.OPTIONAL_CONCEPT_COLUMNS:
        if any(name in var for name in group):
            columns |= group
    return columns


def check_concept_table(var: pd.DataFrame, artefact: str = schema.CONCEPTS) -> None:
    """Raise InputError unless `var` describes concepts: its columns, unique names, unique latents."""
    check_columns(var, concept_columns(var), f"{artefact} var")
    if not var.index.is_unique:
        twice = var.index[var.index.duplicated()][0]
        raise InputError(f"{artefact} var: two concepts have the name {twice!r}; make the names unique")
    if not var["latent"].is_unique:
        twice = var["latent"][var["latent"].duplicated()].iloc[0]
        raise InputError(f"{artefact} var: two concepts have the latent number {twice}; give each its own")


def check_records(records: object, artefact: str = schema.EVALUATION) -> list[dict[str, Any]]:
    """Return the metric records if they are as in the schema, else raise InputError that names the record and field."""
    if not isinstance(records, list):
        raise InputError(f"{artefact}: it holds no list of metric records; write the atlas again")
    seen: set[str] = set()
    for position, record in enumerate(records):
        if not isinstance(record, dict):
            raise InputError(f"{artefact}: record {position} is no object; write the atlas again")
        for name in schema.METRIC_FIELDS:
            if name not in record:
                raise InputError(
                    f"{artefact}: record {position} has no {name!r}; it needs: {', '.join(schema.METRIC_FIELDS)}"
                )
        if record["metric"] in seen:
            raise InputError(f"{artefact}: metric {record['metric']!r} stands twice; give each one record")
        seen.add(record["metric"])
        for name in ("value", "spread", "null"):
            if record[name] is not None and not isinstance(record[name], int | float):
                raise InputError(f"{artefact}: {name!r} of metric {record['metric']!r} is no number")
    return records


def _holds(column: pd.Series[Any], kind: str) -> bool:
    if kind in ("int32", "int64"):
        return pd.api.types.is_integer_dtype(column)
    if kind == "float32":
        return pd.api.types.is_float_dtype(column)
    if kind == "bool":
        return pd.api.types.is_bool_dtype(column)
    return all(isinstance(value, str) for value in column.dropna().unique())

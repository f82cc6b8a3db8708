"""Schema version 1 of an atlas: the names of its artefacts, their columns and types, and checks that say what is wrong.

Pure description: nothing here opens a file. A change that an older reader would misread raises `SCHEMA_VERSION`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cellglass.errors import InputError

SCHEMA_VERSION = 1

MANIFEST = "manifest.json"
CONCEPTS = "concepts.zarr"
EXPRESSION = "expression.zarr"
GENES = "genes.parquet"
PATHWAYS = "pathways.parquet"
TOKENS = "tokens.parquet"
EVALUATION = "evaluation.json"
DICTIONARIES = "dictionaries"
ANNOTATIONS = "annotations.sqlite"

GENES_COLUMNS: Mapping[str, str] = {
    "method": "str",
    "on": "str",
    "concept": "int32",
    "gene": "str",
    "effect": "float32",
    "se": "float32",
    "score": "float32",
    "q": "float32",
    "n": "int32",
}
"""Columns of genes.parquet; ``symbol`` (str) may follow. One row for each measured pair of concept and gene."""

PATHWAYS_COLUMNS: Mapping[str, str] = {
    "concept": "int32",
    "source": "str",
    "term": "str",
    "test": "str",
    "ranking": "str",
    "statistic": "float32",
    "p": "float32",
    "q": "float32",
    "null_q": "float32",
    "n_genes": "int32",
    "leading_edge": "str",
}
"""Columns of pathways.parquet. One row for each concept, term, test and ranking."""

CONCEPT_COLUMNS: Mapping[str, str] = {
    "latent": "int32",
    "density": "float32",
    "mean_activation": "float32",
    "max_activation": "float32",
    "best_label": "str",
    "best_label_f1": "float32",
    "best_term": "str",
    "top_gene": "str",
    "name_by": "str",
}
"""Columns of ``var`` of concepts.zarr; its index holds the concepts' unique names."""

CONSENSUS_COLUMNS: Mapping[str, str] = {"found_in": "int32", "stability": "float32", "consensus": "bool"}
"""Columns that ``var`` of concepts.zarr has beside, all or none: none where one seed ran, so that nothing is known."""

TOKEN_CONCEPT_COLUMNS: Mapping[str, str] = {"gene_identity": "float32"}
"""Column that ``var`` of concepts.zarr has beside where the site has one row for each gene of a cell."""

TOKENS_COLUMNS: Mapping[str, str] = {
    "concept": "int32",
    "gene": "str",
    "mean": "float32",
    "active": "float32",
    "part": "float32",
    "n": "int32",
}
"""Columns of tokens.parquet, which such an atlas has: one row for each concept and gene on whose tokens it is active;
``symbol`` (str) may follow."""

METRIC_FIELDS = ("metric", "value", "spread", "null", "n", "definition")
"""Fields of each record of evaluation.json."""

STAGE_STATES = ("done", "running")


def _holds(column: pd.Series[Any], kind: str) -> bool:
    if kind == "int32":
        return pd.api.types.is_integer_dtype(column)
    if kind == "float32":
        return pd.api.types.is_float_dtype(column)
    if kind == "bool":
        return pd.api.types.is_bool_dtype(column)
    return all(isinstance(value, str) for value in column.dropna().unique())


def as_columns(table: pd.DataFrame, columns: Mapping[str, str], artefact: str) -> pd.DataFrame:
    """Return `table` with exactly `columns`, in their order and types; ``symbol`` is kept where there is one.

    Text comes back as categories in alphabetic order: a table of millions of rows names few methods and genes.

    Raises
    ------
    InputError
        If a column is not there or cannot be read as its type: names artefact and column.
    """
    optional = {"symbol": "str"} if "symbol" in table and "symbol" not in columns else {}
    done = {}
    for name, kind in {**columns, **optional}.items():
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


def concept_columns(var: pd.DataFrame) -> dict[str, str]:
    """Return the columns of a table of concepts: those of the consensus and of tokens too where it has one of them."""
    columns = dict(CONCEPT_COLUMNS)
    for group in (CONSENSUS_COLUMNS, TOKEN_CONCEPT_COLUMNS):
        if any(name in var for name in group):
            columns |= group
    return columns


def check_concept_table(var: pd.DataFrame, artefact: str = CONCEPTS) -> None:
    """Raise InputError unless `var` describes concepts: its columns, unique names, unique latents."""
    check_columns(var, concept_columns(var), f"{artefact} var")
    if not var.index.is_unique:
        twice = var.index[var.index.duplicated()][0]
        raise InputError(f"{artefact} var: two concepts have the name {twice!r}; make the names unique")
    if not var["latent"].is_unique:
        twice = var["latent"][var["latent"].duplicated()].iloc[0]
        raise InputError(f"{artefact} var: two concepts have the latent number {twice}; give each its own")


def check_records(records: object, artefact: str = EVALUATION) -> list[dict[str, Any]]:
    """Return the metric records if they are as in the schema, else raise InputError that names the record and field."""
    if not isinstance(records, list):
        raise InputError(f"{artefact}: it holds no list of metric records; write the atlas again")
    seen: set[str] = set()
    for position, record in enumerate(records):
        if not isinstance(record, dict):
            raise InputError(f"{artefact}: record {position} is no object; write the atlas again")
        for name in METRIC_FIELDS:
            if name not in record:
                raise InputError(f"{artefact}: record {position} has no {name!r}; it needs: {', '.join(METRIC_FIELDS)}")
        if record["metric"] in seen:
            raise InputError(f"{artefact}: metric {record['metric']!r} stands twice; give each one record")
        seen.add(record["metric"])
        for name in ("value", "spread", "null"):
            if record[name] is not None and not isinstance(record[name], int | float):
                raise InputError(f"{artefact}: {name!r} of metric {record['metric']!r} is no number")
    return records


def check_manifest(manifest: object, place: object) -> dict[str, Any]:
    """Return the manifest if this version of cellglass can read its atlas, else raise InputError.

    A manifest without ``schema_version`` belongs to some other program; a larger one to a newer cellglass.
    """
    if not isinstance(manifest, dict) or not isinstance(manifest.get("schema_version"), int):
        raise InputError(
            f"{place}: {MANIFEST} has no schema_version, so this is no cellglass atlas; name another folder"
        )
    version = manifest["schema_version"]
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{place}: the atlas has schema version {version} and this cellglass reads up to {SCHEMA_VERSION}; "
            "update with: pip install -U cellglass"
        )
    if not isinstance(manifest.get("stages"), dict):
        raise InputError(f"{place}: {MANIFEST} has no stages; run the same command again; it goes on")
    for name, stage in manifest["stages"].items():
        if not isinstance(stage, dict) or stage.get("state") not in STAGE_STATES:
            raise InputError(
                f"{place}: {MANIFEST}: stage {name!r} has no state; run the same command again; it goes on"
            )
    return manifest


def unfinished_stages(manifest: Mapping[str, Any]) -> list[str]:
    """Return the names of the stages that have begun and have not ended."""
    return [name for name, stage in manifest["stages"].items() if stage["state"] != "done"]


def outputs_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return relative path -> sha256 of every artefact of the stages that are done."""
    found: dict[str, str] = {}
    for stage in manifest["stages"].values():
        if stage["state"] == "done":
            found.update(stage.get("outputs", {}))
    return found


def empty_table(columns: Mapping[str, str]) -> pd.DataFrame:
    """Return a table with `columns` and no rows."""
    return pd.DataFrame(
        {name: pd.Series([], dtype="object" if kind == "str" else kind) for name, kind in columns.items()}
    )


def names(items: Iterable[object], limit: int = 12) -> str:
    """Return `items` for a message: at most `limit` of them, with how many more there are."""
    listed = [str(item) for item in items]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more if listed else "none"

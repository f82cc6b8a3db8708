"""Writes the parts of an atlas: concepts, genes, pairs, pathways, evaluation; the counts are in ``write_counts.py``.

The same input gives the same bytes (zarr v3 without sharding, parquet without times), so that two atlases are compared
by `cellglass.files.sha256` of each part. Every part is written whole or not at all, and tables state their encoding.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.atlas import checks, schema
from cellglass.atlas.tables import plain
from cellglass.errors import InputError
from cellglass.evaluation.metric import finite_or_none
from cellglass.files import atomic_path

ROW_GROUP = 1 << 13


def write_concepts(
    folder: Path | str,
    codes: sp.csc_matrix,
    obs: pd.DataFrame,
    umap: np.ndarray[Any, Any],
    var: pd.DataFrame,
    uns: Mapping[str, Any],
    *,
    means: sp.csc_matrix | None = None,
) -> Path:
    """Write ``concepts.zarr``, an AnnData of cells x concepts.

    Parameters
    ----------
    codes : scipy.sparse.csc_matrix, shape (n_cells, n_concepts)
        Activations, >= 0, without stored zeros.
    obs : pandas.DataFrame
        One row for each cell: its name as index, its labels as columns.
    umap : numpy.ndarray, shape (n_cells, 2)
        Where each cell is drawn.
    var : pandas.DataFrame
        One row for each concept, with its unique name as index, the columns of `schema.CONCEPT_COLUMNS` and what there
        is of `schema.OPTIONAL_CONCEPT_COLUMNS`.
    uns : mapping
        The keys that the schema has (``UNS_...``): text, numbers, and mappings of them.
    means : scipy.sparse.csc_matrix, optional
        Where the site has one row for each gene of a cell, `codes` are the largest activations over a cell's genes, and
        these, which become the layer `schema.MEANS`, their means.
    """
    from anndata import AnnData

    if codes.shape != (len(obs), len(var)) or umap.shape != (len(obs), 2):
        raise InputError(
            f"{schema.CONCEPTS}: {len(obs)} cells and {len(var)} concepts, but codes have shape {codes.shape} "
            f"and the layout {umap.shape}"
        )
    if not np.isfinite(umap).all():
        raise InputError(f"{schema.CONCEPTS}: the layout holds numbers that are not finite; draw it again")
    columns = checks.concept_columns(var)
    var = plain(checks.as_columns(var, columns, f"{schema.CONCEPTS} var"))
    checks.check_concept_table(var)
    matrix = sp.csc_matrix(codes, dtype=np.float32)
    matrix.sort_indices()
    table = AnnData(
        X=matrix,
        obs=writable_obs(obs),
        var=var.set_axis(var.index.astype(str), axis=0),
        obsm={schema.LAYOUT: np.asarray(umap, dtype=np.float32)},
        uns=dict(uns),
    )
    if means is not None:
        table.layers[schema.MEANS] = sp.csc_matrix(means, dtype=np.float32)
    return write_zarr(table, Path(folder) / schema.CONCEPTS)


def write_genes(
    folder: Path | str, tables: pd.DataFrame | Iterable[pd.DataFrame], symbols: Mapping[str, str] | None = None
) -> Path:
    """Write ``genes.parquet`` from one table or several, such as one for each method.

    Each table is sorted by concept, method and falling score, so that reading one concept touches few row groups. With
    `symbols` (gene id -> symbol) a column ``symbol`` is added.
    """

    def prepared() -> Iterator[pd.DataFrame]:
        for table in _each(tables):
            rows = checks.as_columns(table, schema.TABLES[schema.GENES].among(table), schema.GENES)
            if symbols is not None or "symbol" not in rows:
                ids = rows["gene"].cat.categories
                named = pd.Series([str((symbols or {}).get(gene, gene)) for gene in ids])
                rows["symbol"] = checks.text(named.iloc[rows["gene"].cat.codes])
            keys = (
                rows["gene"].cat.codes,
                -rows["score"],
                rows["on"].cat.codes,
                rows["method"].cat.codes,
                rows["concept"],
            )
            yield rows.iloc[np.lexsort(keys)]

    return _write_parquet(folder, schema.GENES, schema.TABLES[schema.GENES].types, prepared())


def write_pathways(folder: Path | str, tables: pd.DataFrame | Iterable[pd.DataFrame]) -> Path:
    """Write ``pathways.parquet`` from one table or several, each sorted by concept, source, test, ranking, null_q."""
    order = ["concept", "source", "test", "ranking", "null_q", "q", "p", "term"]
    prepared = (
        checks.as_columns(table, schema.PATHWAYS_COLUMNS, schema.PATHWAYS).sort_values(order, kind="stable")
        for table in _each(tables)
    )
    return _write_parquet(folder, schema.PATHWAYS, schema.PATHWAYS_COLUMNS, prepared)


def write_tokens(folder: Path | str, table: pd.DataFrame) -> Path:
    """Write ``tokens.parquet``, sorted by concept and falling share of the concept's activation."""
    rows = table.sort_values(["concept", "part", "gene"], ascending=[True, False, True], kind="stable")
    columns = schema.TABLES[schema.TOKENS].types
    return _write_parquet(folder, schema.TOKENS, columns, [checks.as_columns(rows, columns, schema.TOKENS)])


def write_pairs(folder: Path | str, table: pd.DataFrame) -> Path:
    """Write ``pairs.parquet``, prototypes and partners, in the order of `table`."""
    columns = schema.TABLES[schema.PAIRS].among(table)
    return _write_parquet(folder, schema.PAIRS, columns, [checks.as_columns(table, columns, schema.PAIRS)])


def write_evaluation(folder: Path | str, records: Iterable[Any]) -> Path:
    """Write ``evaluation.json``: a list of metric records (mappings, named tuples or dataclasses), one a line.

    Numbers that are not finite become null, since JSON has none.
    """
    done = []
    for record in records:
        item = _as_dict(record)
        for name in ("value", "spread", "null", "n"):
            if name in item:
                item[name] = finite_or_none(item[name])
        done.append({name: item[name] for name in schema.METRIC_FIELDS if name in item})
    checks.check_records(done)
    target = Path(folder) / schema.EVALUATION
    with atomic_path(target) as temporary:
        lines = ",\n".join(json.dumps(item, ensure_ascii=False, allow_nan=False) for item in done)
        temporary.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return target


def writable_obs(obs: pd.DataFrame) -> pd.DataFrame:
    """Return `obs` as any AnnData reader takes it: numbers and truth values as they are, the rest as categories."""
    columns = {}
    for name in obs:
        column = obs[name]
        if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
            columns[str(name)] = column
            continue
        text = [None if gone else value for value, gone in zip(column.tolist(), column.isna().tolist(), strict=True)]
        order = (
            [str(c) for c in column.cat.categories]
            if isinstance(column.dtype, pd.CategoricalDtype)
            else sorted({str(value) for value in text if value is not None})
        )
        values = [None if value is None else str(value) for value in text]
        columns[str(name)] = pd.Series(pd.Categorical(values, categories=list(dict.fromkeys(order))), index=obs.index)
    done = pd.DataFrame(columns, index=obs.index.astype(str))
    done.index.name = None
    return done


def write_zarr(table: Any, target: Path) -> Path:
    """Write an AnnData as a zarr v3 folder."""
    import zarr
    from anndata.io import write_elem

    with atomic_path(target) as temporary, zarr_settings():
        group = zarr.open_group(str(temporary), mode="w", zarr_format=3)
        write_elem(group, "/", table)
    return target


@contextmanager
def zarr_settings() -> Iterator[None]:
    """Make anndata write zarr v3, one file a chunk, whatever its defaults are in the version that is installed."""
    import anndata

    wanted = {"zarr_write_format": 3, "auto_shard_zarr_v3": False}
    with anndata.settings.override(**{key: value for key, value in wanted.items() if hasattr(anndata.settings, key)}):
        yield


def _each(tables: pd.DataFrame | Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
    return [tables] if isinstance(tables, pd.DataFrame) else tables


def _write_parquet(folder: Path | str, name: str, columns: Mapping[str, str], tables: Iterable[pd.DataFrame]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = {"str": pa.string(), "int32": pa.int32(), "int64": pa.int64(), "float32": pa.float32()}
    stated = dict(zip(schema.ENCODING_KEYS, schema.TABLES[name].encoding, strict=True))
    fields = pa.schema([(name, arrow[kind]) for name, kind in columns.items()], metadata=stated)
    target = Path(folder) / name
    with (
        atomic_path(target) as temporary,
        pq.ParquetWriter(temporary, fields, compression="zstd", write_statistics=True) as writer,
    ):
        for table in tables:
            arrays = [pa.array(table[name], from_pandas=False).cast(fields.field(name).type) for name in columns]
            writer.write_table(pa.Table.from_arrays(arrays, schema=fields), row_group_size=ROW_GROUP)
    return target


def _as_dict(record: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return dataclasses.asdict(record)
    if hasattr(record, "_asdict"):
        return dict(record._asdict())
    return dict(record)

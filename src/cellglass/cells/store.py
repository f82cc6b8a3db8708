"""Cells on disk: a folder whose counts are memory-mapped, so that cells that do not fit into memory can be read.

    meta.json                     format, schema version, shape, source
    counts/{data,indices,indptr}.npy   CSR: float32, int32 (int64 beyond 2^31 entries), int64
    obs.parquet, genes.parquet    tables
    obsm/0.npy, ...               matrices; their names are in meta.json

Written whole or not at all. Says nothing about whether the numbers are counts: ``counts.py`` does.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from io import BufferedRandom
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.cells.blocks import Rows
from cellglass.cells.cells import Cells
from cellglass.cells.obs import plain_table
from cellglass.errors import InputError, one_line
from cellglass.files import atomic_path, read_json

FORMAT = "cellglass.cells"
SCHEMA = 1
_INT32 = np.iinfo(np.int32).max


def write_cells(cells: Cells, folder: Path | str) -> None:
    """Write `cells` into `folder`, which takes the place of cells that were written there before."""
    refuse_foreign(folder)
    with atomic_path(folder) as temporary:
        counts = cells.counts
        with CountsWriter(temporary, cells.n_genes, counts.nnz) as writer:
            for block in Rows(counts.data, counts.indices, counts.indptr, counts.shape).blocks():
                writer.append(block)
        write_tables(temporary, cells.genes, cells.obs, cells.obsm, cells.source)


def write_blocks(blocks: Iterable[Cells], folder: Path | str, entries: int) -> None:
    """Write consecutive blocks of cells, all with the same genes, as one; memory holds one block, and the tables.

    `entries` bounds how many stored counts come in all.
    """
    refuse_foreign(folder)
    blocks = iter(blocks)
    first = next(blocks, None)
    if first is None:
        raise InputError(f"{folder}: there are no cells to write; give at least one block")
    obs, obsm = [], {key: [value] for key, value in first.obsm.items()}
    with atomic_path(folder) as temporary:
        with CountsWriter(temporary, first.n_genes, entries) as writer:
            for block in chain([first], blocks):
                writer.append(block.counts)
                obs.append(block.obs)
                for key in obsm if block is not first else ():
                    obsm[key].append(block.obsm[key])
        joined = {key: np.concatenate(parts) for key, parts in obsm.items()}
        write_tables(temporary, first.genes, pd.concat(obs), joined, first.source)


def link_cells(source: Path | str, folder: Path | str) -> None:
    """Let `folder` hold the cells of `source` too: the same files, so no room is taken; copies where links are not had.

    Neither is ever changed in place, and either may be removed.
    """
    refuse_foreign(folder)
    with atomic_path(folder) as temporary:
        shutil.copytree(source, temporary, copy_function=_link)


def open_cells(folder: Path | str) -> Cells:
    """Open cells that `write_cells` wrote; counts and obsm stay on disk until rows are asked for.

    In memory lie the tables and one number for each cell (the row pointers).
    """
    folder = Path(folder)
    meta = _meta(folder)
    try:
        data, indices, indptr = (_map(folder / "counts" / f"{name}.npy") for name in ("data", "indices", "indptr"))
        counts = mapped_csr(data, indices, indptr, (meta["n_cells"], meta["n_genes"]))
        obs = _read_table(folder / "obs.parquet", meta["categories"]["obs"])
        genes = _read_table(folder / "genes.parquet", meta["categories"]["genes"])
        obsm = {key: _map(folder / file) for key, file in meta["obsm"].items()}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: these cells are damaged ({one_line(error)}); write them again") from error
    return Cells(counts, genes, obs, obsm, meta["source"])


def mapped_csr(data: Any, indices: Any, indptr: Any, shape: tuple[int, int]) -> sp.csr_matrix:
    """Return canonical CSR over the given arrays without copying or scanning `data` and `indices`.

    scipy wants one type for both index arrays, so the short one, `indptr`, takes the type of the long one.
    """
    indptr = np.asarray(indptr).astype(indices.dtype)
    if len(indptr) != shape[0] + 1 or indptr[-1] != len(data) or len(data) != len(indices):
        raise ValueError("the arrays of the counts do not fit each other")
    matrix = sp.csr_matrix(shape, dtype=data.dtype)
    matrix.data, matrix.indices, matrix.indptr = data, indices, indptr
    matrix.has_sorted_indices = True
    matrix.has_canonical_format = True
    return matrix


class CountsWriter:
    """Writes CSR blocks one after the other as the counts of a folder; `entries` bounds how many come in all."""

    def __init__(self, folder: Path, n_genes: int, entries: int) -> None:
        self.n_genes = n_genes
        self.entries = 0
        self._lengths: list[np.ndarray[Any, Any]] = []
        self._folder = folder / "counts"
        self._folder.mkdir(parents=True)
        index = np.dtype(np.int32 if entries <= _INT32 else np.int64)
        self._files = {"data": np.dtype(np.float32), "indices": index}
        self._open: dict[str, BufferedRandom] = {}

    def __enter__(self) -> Self:
        for name, dtype in self._files.items():
            self._open[name] = (self._folder / f"{name}.npy").open("w+b")
            _header(self._open[name], dtype, 0)
        return self

    def append(self, block: sp.csr_matrix) -> None:
        """Add the cells of `block` (canonical CSR)."""
        for name, dtype in self._files.items():
            self._open[name].write(np.ascontiguousarray(getattr(block, name), dtype=dtype).data)
        self._lengths.append(np.diff(block.indptr).astype(np.int64))
        self.entries += int(block.nnz)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, file in self._open.items():
            if kind is None:
                file.seek(0)
                _header(file, self._files[name], self.entries)
            file.close()
        if kind is None:
            indptr = np.concatenate([np.zeros(1, dtype=np.int64), *self._lengths]).cumsum()
            np.save(self._folder / "indptr.npy", indptr)


def write_tables(
    folder: Path, genes: pd.DataFrame, obs: pd.DataFrame, obsm: Mapping[str, np.ndarray[Any, Any]], source: str
) -> None:
    """Write everything but the counts."""
    obs, genes = plain_table(obs), plain_table(genes)
    obs.to_parquet(folder / "obs.parquet")
    genes.to_parquet(folder / "genes.parquet")
    files = {key: f"obsm/{i}.npy" for i, key in enumerate(sorted(obsm))}
    if files:
        (folder / "obsm").mkdir()
    for key, file in files.items():
        np.save(folder / file, np.ascontiguousarray(obsm[key]), allow_pickle=False)
    meta = {
        "format": FORMAT,
        "schema": SCHEMA,
        "n_cells": len(obs),
        "n_genes": len(genes),
        "source": source,
        "obsm": files,
        "categories": {"obs": _categories(obs), "genes": _categories(genes)},
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))


def refuse_foreign(folder: Path | str) -> None:
    """Refuse a folder (or file) with something else in it: writing would put an end to that."""
    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / "meta.json").is_file()):
        raise InputError(f"{folder}: holds something else than cells of cellglass; name an empty or a new folder")
    if folder.is_dir() and any(folder.iterdir()):
        _meta(folder)


def _meta(folder: Path) -> dict[str, Any]:
    missing = f"{folder}: holds no cells of cellglass (no meta.json); write them again"
    meta = read_json(folder / "meta.json", missing=missing, way_out="write the cells again")
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(f"{folder}: meta.json does not describe cells of cellglass; name the right folder")
    if meta.get("schema") != SCHEMA:
        raise InputError(
            f"{folder}: cells of schema {meta.get('schema')}, but this version reads schema {SCHEMA}; write them again"
        )
    return meta


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _header(file: BufferedRandom, dtype: np.dtype[Any], n: int) -> None:
    # NumPy leaves room for the first axis to grow, so the header has one length for every n.
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (n,)}
    np.lib.format.write_array_header_1_0(file, description)


def _map(path: Path) -> np.ndarray[Any, Any]:
    mapped: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def _categories(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Categories, their order and those that no cell has: parquet keeps them for text only."""
    return {
        str(name): {"values": column.cat.categories.tolist(), "ordered": bool(column.cat.ordered)}
        for name, column in table.items()
        if isinstance(column.dtype, pd.CategoricalDtype) and column.cat.categories.dtype.kind in "Obiuf"
    }


def _read_table(path: Path, categories: dict[str, dict[str, Any]]) -> pd.DataFrame:
    table = pd.read_parquet(path)
    for name, kept in categories.items():
        dtype = pd.CategoricalDtype(kept["values"], ordered=kept["ordered"])
        table[name] = table[name].astype(dtype)
    return table

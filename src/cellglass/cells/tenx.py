"""Cell Ranger's output as cells: ``.h5`` files (version 2 and 3) and folders with a Matrix Market file.

Only features of type "Gene Expression" are kept; what else was measured is named in the log. Ids are Ensembl ids, the
column ``symbol`` the names. The matrix lies on disk by cell, so it is read in blocks.
"""

from __future__ import annotations

import csv
import gzip
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellglass.cells import blocks
from cellglass.cells.blocks import Entries, Rows, Scattered, Source
from cellglass.cells.contents import Contents, Slot, reading
from cellglass.errors import InputError

log = logging.getLogger(__name__)

EXPRESSION = "Gene Expression"
_MATRIX = ("matrix.mtx.gz", "matrix.mtx")
_FEATURES = ("features.tsv.gz", "features.tsv", "genes.tsv.gz", "genes.tsv")
_BARCODES = ("barcodes.tsv.gz", "barcodes.tsv")


@contextmanager
def open_tenx_h5(path: Path) -> Iterator[Contents]:
    """Open Cell Ranger's HDF5 file: one group ``matrix`` (version 3) or one group for each genome (version 2)."""
    import h5py

    name = str(path)
    with reading(name):
        file = h5py.File(path, "r")
    try:
        with reading(name):
            groups = [key for key in file if isinstance(file[key], h5py.Group) and "barcodes" in file[key]]
            if len(groups) != 1:
                raise InputError(f"{name}: holds several genomes ({', '.join(groups)}); write each into its own file")
            group = file[groups[0]]
            barcodes = _texts(group["barcodes"])
            if "features" in group:
                parts = {key: _texts(group["features"][key]) for key in ("id", "name", "feature_type")}
                var = pd.DataFrame({"symbol": parts["name"], "feature_type": parts["feature_type"]}, index=parts["id"])
            else:
                var = pd.DataFrame({"symbol": _texts(group["gene_names"])}, index=_texts(group["genes"]))
            shape = (len(barcodes), len(var))
            source = Rows(group["data"], group["indices"], group["indptr"], shape, partial(reading, name))
            contents = _contents(name, source, var, barcodes)
        yield contents
    finally:
        file.close()


@contextmanager
def open_tenx_mtx(folder: Path) -> Iterator[Contents]:
    """Open a folder with matrix.mtx, barcodes.tsv and features.tsv or genes.tsv, gzipped or plain, prefixed or not."""
    name = str(folder)
    with reading(name):
        matrix, features, barcodes = (_find(folder, names) for names in (_MATRIX, _FEATURES, _BARCODES))
        table = _tsv(features)
        var = pd.DataFrame({"symbol": table[min(1, table.shape[1] - 1)].to_numpy()}, index=table[0].to_numpy())
        if table.shape[1] > 2 and features.name.removesuffix(".gz").endswith("features.tsv"):
            var["feature_type"] = table[2].to_numpy()
        cells = _tsv(barcodes)[0].to_numpy()
        shape = (len(cells), len(var))
        entries, dtype = _dimensions(matrix, shape)
        source = Scattered(
            partial(_entries, matrix, entries, dtype), shape, entries, dtype, partial(reading, str(matrix))
        )
    yield _contents(name, source, var, cells)


def is_tenx_folder(folder: Path) -> bool:
    """Tell whether a folder has a Matrix Market file by Cell Ranger's name."""
    return any(path.name.endswith(_MATRIX) for path in folder.iterdir())


def _contents(name: str, source: Source, var: pd.DataFrame, barcodes: np.ndarray[Any, Any]) -> Contents:
    if "feature_type" in var:
        other = var["feature_type"] != EXPRESSION
        if other.all() and len(var):
            held = ", ".join(sorted(set(var["feature_type"])))
            raise InputError(
                f"{name}: there are no genes, no feature is of type {EXPRESSION!r} but {held}; is it the right file?"
            )
        for kind, n in var.loc[other, "feature_type"].value_counts().items():
            log.info("%s: left out %d features of type %s", name, n, kind)
        if other.any():
            source = _Chosen(source, np.flatnonzero(~other.to_numpy()))
        var = var[~other].drop(columns="feature_type")
    obs = pd.DataFrame(index=pd.Index(barcodes, dtype=object))
    return Contents(name, {"X": Slot("X", "matrix", source, var)}, obs)


class _Chosen:
    """A source with only some of its columns."""

    def __init__(self, source: Source, columns: np.ndarray[Any, Any]) -> None:
        self.source, self.columns = source, columns
        self.shape = (source.shape[0], len(columns))
        self.entries = source.entries

    def blocks(self, scratch: Path | None = None) -> Iterator[Any]:
        for block in self.source.blocks(scratch):
            yield block[:, self.columns]


def _texts(dataset: Any) -> np.ndarray[Any, Any]:
    return np.array([text.decode() if isinstance(text, bytes) else str(text) for text in dataset[:]], dtype=object)


def _find(folder: Path, names: tuple[str, ...]) -> Path:
    found = [path for path in sorted(folder.iterdir()) if path.name.endswith(names)]
    exact = [path for path in found if path.name in names]
    if len(exact) == 1 or len(found) == 1:
        return (exact or found)[0]
    what = "several files" if found else "no file"
    raise InputError(f"{folder}: {what} named {' or '.join(names)}; a 10x folder has exactly one")


def _open(path: Path) -> Any:
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")


def _tsv(path: Path) -> pd.DataFrame:
    with _open(path) as file:
        content = file.read()
    if not content.strip():
        return pd.DataFrame({0: np.zeros(0, dtype=object)})
    return pd.read_csv(
        io.BytesIO(content), sep="\t", header=None, dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE
    )


def _head(file: Any) -> tuple[str, list[int]]:
    """Read the first lines of a Matrix Market file: what it holds, and rows, columns, entries."""
    banner = file.readline().decode(errors="replace").lower()
    if not banner.startswith("%%matrixmarket matrix coordinate") or "general" not in banner or "pattern" in banner:
        raise ValueError(f"its first line is {banner.strip()[:60]!r}, not a general coordinate matrix of numbers")
    line = file.readline()
    while line.startswith(b"%") or (line and not line.strip()):
        line = file.readline()
    return banner, [int(number) for number in line.split()]


def _dimensions(path: Path, shape: tuple[int, int]) -> tuple[int, np.dtype[Any]]:
    with _open(path) as file:
        banner, (n_genes, n_cells, entries) = _head(file)
    if (n_cells, n_genes) != shape:
        raise InputError(
            f"{path}: has {n_genes} rows and {n_cells} columns, but there are {shape[1]} features and {shape[0]} "
            "barcodes; rows are features and columns are barcodes"
        )
    return entries, np.dtype(np.int64 if "integer" in banner else np.float64)


def _entries(path: Path, expected: int, dtype: np.dtype[Any]) -> Iterator[Entries]:
    """Yield (cell, gene, value) of a Matrix Market file of genes x cells, piece by piece."""
    guard = partial(reading, str(path))
    seen = 0
    with _open(path) as file:
        with guard():
            _head(file)
            pieces = (
                pd.read_csv(
                    file,
                    sep=r"\s+",
                    header=None,
                    names=["gene", "cell", "value"],
                    dtype={"gene": np.int64, "cell": np.int64, "value": dtype},
                    chunksize=blocks.BLOCK_ENTRIES,
                )
                if expected
                else iter(())
            )
        while True:
            with guard():
                piece = next(iter(pieces), None)
            if piece is None:
                break
            seen += len(piece)
            yield piece["cell"].to_numpy() - 1, piece["gene"].to_numpy() - 1, piece["value"].to_numpy()
    if seen != expected:
        raise InputError(f"{path}: ends after {seen} of {expected} entries; copy or download it again")

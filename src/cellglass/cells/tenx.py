"""Cell Ranger's output as cells: ``.h5`` files (version 2 and 3) and folders with a Matrix Market file.

Only features of type "Gene Expression" are kept; what else was measured is named in the log. Where no type that Cell
Ranger knows is named (biotypes of other tools, or none), all are genes. Ids are Ensembl ids, the column ``symbol`` the
names. The matrix lies on disk by cell, so it is read in blocks. Folders that others write in this layout (kallisto's
``cells_x_genes.mtx``) are read too.
"""

from __future__ import annotations

import csv
import gzip
import io
import logging
import re
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
from cellglass.cells.gene_ids import is_ensembl
from cellglass.cells.hdf5 import missing_filters, open_hdf5
from cellglass.errors import InputError

log = logging.getLogger(__name__)

EXPRESSION = "Gene Expression"
_TYPES = frozenset({
    "gene expression", "antibody capture", "crispr guide capture", "multiplexing capture", "antigen capture", "peaks",
    "vdj", "vdj-t", "vdj-b", "custom", "chromatin accessibility", "multiplexing oligo",
})  # fmt: skip
"""The types of features that Cell Ranger writes, in small letters."""
_HEADINGS = frozenset(
    {"", "x", "v1", "barcode", "barcodes", "cell", "cells", "cell_id", "gene", "genes", "gene_id", "id"}
)
_MATRIX = ("matrix.mtx.gz", "matrix.mtx", "cells_x_genes.mtx.gz", "cells_x_genes.mtx")
_FEATURES = (
    "features.tsv.gz", "features.tsv", "genes.tsv.gz", "genes.tsv", "cells_x_genes.genes.txt.gz",
    "cells_x_genes.genes.txt",
)  # fmt: skip
_BARCODES = ("barcodes.tsv.gz", "barcodes.tsv", "cells_x_genes.barcodes.txt.gz", "cells_x_genes.barcodes.txt")


@contextmanager
def open_tenx_h5(path: Path) -> Iterator[Contents]:
    """Open Cell Ranger's HDF5 file: one group ``matrix`` (version 3) or one group for each genome (version 2)."""
    import h5py

    name = str(path)
    with open_hdf5(path) as file:
        guard = partial(reading, name, missing_filters(file))
        with guard():
            groups = [key for key in file if isinstance(file[key], h5py.Group) and "barcodes" in file[key]]
            if len(groups) != 1:
                raise InputError(f"{name}: holds several genomes ({', '.join(groups)}); write each into its own file")
            group = file[groups[0]]
            barcodes = _texts(group["barcodes"])
            if "features" in group:
                features = group["features"]
                ids = _texts(features["id"])
                var = pd.DataFrame({"symbol": _texts(features["name"]) if "name" in features else ids}, index=ids)
                if "feature_type" in features:
                    var["feature_type"] = _texts(features["feature_type"])
            else:
                var = pd.DataFrame({"symbol": _texts(group["gene_names"])}, index=_texts(group["genes"]))
            shape = (len(barcodes), len(var))
            source = Rows(group["data"], group["indices"], group["indptr"], shape, guard)
            contents = _contents(name, source, var, barcodes)
        yield contents


@contextmanager
def open_tenx_mtx(folder: Path) -> Iterator[Contents]:
    """Open a folder with matrix.mtx, barcodes.tsv and features.tsv or genes.tsv, gzipped or plain, prefixed or not."""
    name = str(folder)
    with reading(name):
        matrix, features, barcodes = (_find(folder, names) for names in (_MATRIX, _FEATURES, _BARCODES))
        shape, entries, dtype = _dimensions(matrix)
        table, cells = _tsv(features), _tsv(barcodes)
        by_cell = matrix.name.removesuffix(".gz").endswith("cells_x_genes.mtx")
        n_genes, n_cells = reversed(shape) if by_cell else shape
        table = _without_header(table, n_genes, features)
        names = _without_header(cells, n_cells, barcodes)[0].to_numpy()
        if (len(table), len(names)) != (n_genes, n_cells):
            raise InputError(
                f"{matrix}: has {shape[0]} rows and {shape[1]} columns, but there are {len(table)} features and "
                f"{len(names)} barcodes; rows are {'barcodes' if by_cell else 'features'} and columns are "
                f"{'features' if by_cell else 'barcodes'}"
            )
        var = pd.DataFrame({"symbol": table[min(1, table.shape[1] - 1)].to_numpy()}, index=table[0].to_numpy())
        if table.shape[1] > 2 and features.name.removesuffix(".gz").endswith("features.tsv"):
            var["feature_type"] = table[2].to_numpy()
        source = Scattered(
            partial(_entries, matrix, entries, dtype, by_cell=by_cell),
            (n_cells, n_genes), entries, dtype, partial(reading, str(matrix)),
        )  # fmt: skip
    yield _contents(name, source, var, names)


def is_tenx_folder(folder: Path) -> bool:
    """Tell whether a folder has a Matrix Market file by Cell Ranger's name."""
    return any(path.name.endswith(_MATRIX) for path in folder.iterdir())


def _contents(name: str, source: Source, var: pd.DataFrame, barcodes: np.ndarray[Any, Any]) -> Contents:
    if "feature_type" in var:
        source, var = _only_genes(name, source, var)
    obs = pd.DataFrame(index=pd.Index(barcodes, dtype=object))
    return Contents(name, {"X": Slot("X", "matrix", source, var)}, obs)


def _only_genes(name: str, source: Source, var: pd.DataFrame) -> tuple[Source, pd.DataFrame]:
    """Leave out what is no gene; where no type that Cell Ranger knows is named, all are genes."""
    types = var["feature_type"].str.strip().str.replace("_", " ").str.lower()
    genes = types == EXPRESSION.lower()
    held = ", ".join(sorted(set(var["feature_type"]))[:8])
    if not types.isin(_TYPES).any():
        if len(var) and held.strip():
            log.info("%s: took all features as genes, their types are none of 10x (%s)", name, held)
        genes[:] = True
    if len(var) and not genes.any():
        raise InputError(
            f"{name}: there are no genes, no feature is of type {EXPRESSION!r} but {held}; is it the right file?"
        )
    for kind, n in var.loc[~genes, "feature_type"].value_counts().items():
        log.info("%s: left out %d features of type %s", name, n, kind)
    if not genes.all():
        source = _Chosen(source, np.flatnonzero(genes.to_numpy()))
    return source, var[genes].drop(columns="feature_type")


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
    if found:
        named = ", ".join(path.name for path in found[:4])
        raise InputError(f"{folder}: holds several samples ({named}); put the files of each into a folder of its own")
    usual = " or ".join(name for name in names if name.endswith(".gz") and not name.startswith("cells_x"))
    raise InputError(f"{folder}: no file named {usual} (or the same unpacked); a 10x folder has exactly one")


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


def _without_header(table: pd.DataFrame, n: int, path: Path) -> pd.DataFrame:
    """Return a table without its first row where that is one too many: some tools write a header."""
    if len(table) != n + 1 or not _is_header(table[0]):
        return table
    log.warning("%s: has one line more than the matrix; took the first, %r, for a header", path, table[0].iloc[0])
    return table.iloc[1:].reset_index(drop=True)


def _is_header(column: pd.Series[Any]) -> bool:
    """Tell whether the first value is a heading: a usual word, or alone in not looking like a barcode or an id."""
    first, rest = str(column.iloc[0]).strip('"'), column.iloc[1:1001]
    if first.lower() in _HEADINGS:
        return True
    return any(rest.map(look).all() and not look(first) for look in (is_ensembl, _is_barcode))


def _is_barcode(text: str) -> bool:
    return re.search("[ACGTN]{8,}", text) is not None


def _head(file: Any, path: Path) -> tuple[str, list[int]]:
    """Read the first lines of a Matrix Market file: what it holds, and rows, columns, entries."""
    banner = file.readline().decode(errors="replace").lower()
    if not banner.startswith("%%matrixmarket matrix coordinate") or "general" not in banner or "pattern" in banner:
        raise InputError(
            f"{path}: its first line is {banner.strip()[:60]!r}, so it is no sparse matrix of numbers (matrix "
            "coordinate integer general); write it as one, such as with scipy.io.mmwrite"
        )
    line = file.readline()
    while line.startswith(b"%") or (line and not line.strip()):
        line = file.readline()
    return banner, [int(number) for number in line.split()]


def _dimensions(path: Path) -> tuple[tuple[int, int], int, np.dtype[Any]]:
    """Return rows and columns, how many entries there are, and their type, of a Matrix Market file."""
    with _open(path) as file:
        banner, (rows, columns, entries) = _head(file, path)
    return (rows, columns), entries, np.dtype(np.int64 if "integer" in banner else np.float64)


def _entries(path: Path, expected: int, dtype: np.dtype[Any], *, by_cell: bool) -> Iterator[Entries]:
    """Yield (cell, gene, value) of a Matrix Market file of genes x cells, or of cells x genes, piece by piece."""
    guard = partial(reading, str(path))
    seen = 0
    with _open(path) as file:
        with guard():
            _head(file, path)
            pieces = (
                pd.read_csv(
                    file,
                    sep=r"\s+",
                    header=None,
                    names=["cell", "gene", "value"] if by_cell else ["gene", "cell", "value"],
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

"""Tables of text as cells: ``.csv``, ``.tsv`` and ``.txt``, gzipped or not, read piece by piece and kept sparse.

The first row and the first column hold names, all else numbers; further columns of text are metadata. Fields are
separated by tabs, commas, semicolons or blanks; a first row that is one field short (as R writes it) is a row of names
too. Which side the genes are on is told by the names:

- that side has the genes whose names are Ensembl ids, or of which some are symbols that everybody knows (``ACTB``,
  ``CD3E``, ``RPL3``, in the case of any species);
- else the other side has the cells if its names are barcodes (eight or more of the letters A, C, G, T in a row);
- else nothing is guessed: ``--counts genes-by-cells`` or ``--counts cells-by-genes`` says it.

A table of cells x genes is read in two passes (names, values), one of genes x cells in three, since its entries are
first put in order by cell. In memory lie the names and one piece.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.cells import blocks
from cellglass.cells.blocks import Entries, Guard, Scattered, Source
from cellglass.cells.contents import Contents, Slot, reading
from cellglass.cells.gene_ids import clean_ids, look_like_symbols, mostly_ensembl
from cellglass.errors import InputError, listed

GENES_BY_CELLS, CELLS_BY_GENES = "genes-by-cells", "cells-by-genes"
_SEPARATORS = ("\t", ",", ";", " ")
_LOOK = 100
"""Rows that tell which columns hold text."""


class _Layout(NamedTuple):
    path: Path
    separator: str
    columns: list[str]
    """Names of all columns, the first one, of the row names, included."""
    text: list[str]
    """Columns that hold text, in the order of the file; the first is that of the row names."""
    encoding: str

    @property
    def numbers(self) -> list[str]:
        held = set(self.text)
        return [name for name in self.columns if name not in held]

    def pieces(self, columns: list[str]) -> Iterator[pd.DataFrame]:
        """Yield the rows of the table, as many at a time as a block holds; text as str, numbers as float64."""
        rows = max(1, blocks.BLOCK_ENTRIES // len(self.columns))
        types: Any = dict.fromkeys(self.columns, np.float64) | dict.fromkeys(self.text, str)
        with _open(self.path) as file:
            yield from pd.read_csv(
                file, sep=self.separator, header=None, names=self.columns, skiprows=1, dtype=types, usecols=columns,
                chunksize=rows, index_col=False, encoding=self.encoding, low_memory=False,
                keep_default_na=columns is not self.text,  # NA may be a gene
            )  # fmt: skip


@contextmanager
def open_table(path: Path, counts: str = "auto") -> Iterator[Contents]:
    """Open a table of text; `counts` may say which side the genes are on."""
    name = str(path)
    guard = partial(reading, name)
    with guard():
        layout = _layout(path)
        rows = _text_columns(layout)
        first, beside = rows.iloc[:, 0], rows.iloc[:, 1:]
        side = _side(name, first.tolist(), layout.numbers, counts)
        across = pd.DataFrame(index=pd.Index(layout.numbers, dtype=object))
        down = beside.set_axis(pd.Index(first, dtype=object), axis=0)
        contents = _contents(name, side, layout, down, across, guard)
    yield contents


def _contents(
    name: str, side: str, layout: _Layout, down: pd.DataFrame, across: pd.DataFrame, guard: Guard
) -> Contents:
    source: Source
    if side == CELLS_BY_GENES:
        obs, var = down, across
        source = _ByRow(layout, (len(down), len(across)), guard)
    else:
        obs, var = across, down
        n = len(down) * len(across)
        source = Scattered(partial(_entries, layout, guard), (len(across), len(down)), n, np.dtype(float), guard)
    return Contents(name, {side: Slot(side, "the table", source, var)}, obs)


class _ByRow:
    """A table whose rows are cells."""

    def __init__(self, layout: _Layout, shape: tuple[int, int], guard: Guard) -> None:
        self.layout, self.shape, self.guard = layout, shape, guard
        self.entries = shape[0] * shape[1]

    def blocks(self, scratch: Path | None = None) -> Iterator[sp.csr_matrix]:  # noqa: ARG002
        for piece in _guarded(self.layout.pieces(self.layout.numbers), self.guard):
            yield sp.csr_matrix(piece.to_numpy(dtype=np.float64))


def _entries(layout: _Layout, guard: Guard) -> Iterator[Entries]:
    """Yield (cell, gene, value) of a table whose rows are genes."""
    start = 0
    for piece in _guarded(layout.pieces(layout.numbers), guard):
        values = piece.to_numpy(dtype=np.float64)
        gene, cell = np.nonzero(values)
        yield cell, gene + start, values[gene, cell]
        start += len(values)


def _guarded(pieces: Iterator[pd.DataFrame], guard: Guard) -> Iterator[pd.DataFrame]:
    while True:
        with guard():
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece


def _layout(path: Path) -> _Layout:
    """Find the separator, the names of the columns, and which of them hold text."""
    lines, encoding = _first_lines(path)
    if len(lines) < 2:
        raise InputError(f"{path}: is text of one line, no table of counts; a table has names in its first row")
    separator = max(_SEPARATORS, key=lambda mark: (lines[0].count(mark) > 0) * lines[1].count(mark))
    if separator not in lines[1]:
        raise InputError(f"{path}: is text, but no table: its lines hold no tab, comma or semicolon")
    header, row = (next(csv.reader([line], delimiter=separator)) for line in lines[:2])
    if len(header) == len(row) - 1:
        header = ["", *header]
    elif len(header) != len(row):
        raise InputError(
            f"{path}: is text, but no table: its first line has {len(header)} fields and its second {len(row)}"
        )
    names = [header[0].strip() or "names", *(name.strip() for name in header[1:])]
    columns = _unique(names)
    with _open(path) as file:
        sample = pd.read_csv(
            file, sep=separator, header=None, names=columns, skiprows=1, nrows=_LOOK, index_col=False,
            encoding=encoding,
        )  # fmt: skip
    text = [name for name in columns if sample[name].dtype.kind not in "iuf"]
    for name in text:
        numbers = pd.to_numeric(sample[name], errors="coerce").notna()
        if name != columns[0] and numbers.mean() > 0.5:
            odd = sample.loc[~numbers & sample[name].notna(), name].iloc[0]
            raise InputError(
                f"{path}: column {name!r} holds text among its numbers, first {str(odd)[:40]!r}; repair it"
            )
    text = text if columns[0] in text else [columns[0], *text]
    if len(text) == len(columns) or not len(sample):
        raise InputError(f"{path}: is a table of text without numbers; counts are numbers")
    return _Layout(path, separator, columns, text, encoding)


def _text_columns(layout: _Layout) -> pd.DataFrame:
    parts = list(layout.pieces(layout.text))
    return pd.concat(parts, ignore_index=True)[layout.text]


def _unique(names: list[str]) -> list[str]:
    """Return names of which none occurs twice: pandas wants that; genes that occur twice are summed later."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name}\x00{seen[name]}")
    return made


def _side(where: str, down: list[str], across: list[str], counts: str) -> str:
    """Return which way the table lies."""
    if counts in (GENES_BY_CELLS, CELLS_BY_GENES):
        return counts
    across = [name.partition("\x00")[0] for name in across]
    for fits in (mostly_ensembl, look_like_symbols):
        ways = fits(clean_ids(down)), fits(clean_ids(across))
        if ways[0] != ways[1]:
            return GENES_BY_CELLS if ways[0] else CELLS_BY_GENES
    ways = _barcodes(across), _barcodes(down)
    if ways[0] != ways[1]:
        return GENES_BY_CELLS if ways[0] else CELLS_BY_GENES
    raise InputError(
        f"{where}: its names do not tell whether rows are genes or cells (rows: {listed(down, 2)}; columns: "
        f"{listed(across, 2)}); say it with --counts {GENES_BY_CELLS} or --counts {CELLS_BY_GENES}"
    )


def _barcodes(names: list[str]) -> bool:
    some = names[:1000]
    return bool(some) and 2 * sum(re.search("[ACGT]{8,}", name) is not None for name in some) > len(some)


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]  # a file all the same


def _first_lines(path: Path) -> tuple[list[str], str]:
    with _open(path) as file:
        raw = [line for line in (file.readline(1 << 24) for _ in range(6)) if line.strip()]
    encoding = "utf-16" if raw and raw[0][:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if encoding == "utf-16":
        raise InputError(f"{path}: is text in UTF-16; save it as UTF-8")
    try:
        return [line.decode(encoding).rstrip("\r\n") for line in raw], encoding
    except UnicodeDecodeError:
        return [line.decode("latin-1").rstrip("\r\n") for line in raw], "latin-1"

"""From one slot to `Cells`: read its blocks, check each, map its genes, and gather the result in memory or on disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.cells.cells import Cells
from cellglass.cells.contents import Contents, Slot
from cellglass.cells.counts import NotCountsError, as_counts
from cellglass.cells.genes import GeneMap
from cellglass.cells.plausible import CellSums
from cellglass.cells.store import CountsWriter, mapped_csr, open_cells, write_tables
from cellglass.files import atomic_path

FIRST_ENTRIES = 1 << 24
"""How many entries the arrays in memory have room for at first."""


def collect(
    slot: Slot,
    genes: GeneMap,
    obs: pd.DataFrame,
    contents: Contents,
    source: str,
    spool: Path | None,
    *,
    rounded: bool = False,
) -> tuple[Cells, CellSums]:
    """Read one slot to its end, into memory or into the folder `spool`; return what is known of each cell too."""
    sums: list[CellSums] = []
    if spool is None:
        memory = _Memory(len(genes.genes), slot.source.entries)
        for block in _checked(slot, genes, obs.index, None, sums, rounded=rounded):
            memory.append(block)
        return Cells(memory.matrix(), genes.genes, obs, dict(contents.obsm), source), CellSums.joined(sums)
    with atomic_path(spool) as folder:
        with CountsWriter(folder, len(genes.genes), slot.source.entries) as writer:
            for block in _checked(slot, genes, obs.index, folder / "scratch", sums, rounded=rounded):
                writer.append(block)
        shutil.rmtree(folder / "scratch", ignore_errors=True)
        write_tables(folder, genes.genes, obs, contents.obsm, source)
    return open_cells(spool), CellSums.joined(sums)


def _checked(
    slot: Slot, genes: GeneMap, cells: pd.Index[Any], scratch: Path | None, sums: list[CellSums], *, rounded: bool
) -> Iterator[sp.csr_matrix]:
    start, entries, names = 0, 0, slot.var.index.to_numpy()
    for block in slot.source.blocks(scratch):
        counts = as_counts(block, cells[start : start + block.shape[0]], names, rounded=rounded)
        start, entries = start + block.shape[0], entries + counts.nnz
        sums.append(CellSums.of(counts))
        yield genes.apply(counts)
    if entries == 0:
        raise NotCountsError("holds only zeros")


class _Memory:
    """Gathers CSR blocks in arrays that grow in place, so that blocks and result never lie in memory both."""

    def __init__(self, n_genes: int, entries: int) -> None:
        self.n_genes = n_genes
        self.entries = 0
        self.lengths: list[np.ndarray[Any, Any]] = []
        self.data = np.empty(min(entries, FIRST_ENTRIES), dtype=np.float32)
        self.indices = np.empty(len(self.data), dtype=np.int32)

    def append(self, block: sp.csr_matrix) -> None:
        end = self.entries + block.nnz
        if end > len(self.data):
            self._resize(max(end, len(self.data) + len(self.data) // 2))
        self.data[self.entries : end] = block.data
        self.indices[self.entries : end] = block.indices
        self.entries = end
        self.lengths.append(np.diff(block.indptr).astype(np.int64))

    def matrix(self) -> sp.csr_matrix:
        self._resize(self.entries)
        indptr = np.concatenate([np.zeros(1, dtype=np.int64), *self.lengths]).cumsum()
        indices = self.indices if self.entries <= np.iinfo(np.int32).max else self.indices.astype(np.int64)
        return mapped_csr(self.data, indices, indptr, (len(indptr) - 1, self.n_genes))

    def _resize(self, n: int) -> None:
        self.data.resize(n, refcheck=False)
        self.indices.resize(n, refcheck=False)

"""Read cells from a file: `read_cells` chooses the slot that holds raw counts and says in one line why none does.

What a file is, is found in ``formats.py`` and read by ``h5ad.py`` and ``tenx.py``; values are judged in ``counts.py``,
gene ids found in ``genes.py``, the result gathered in ``collect.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.cells.cells import Cells, CellsLike
from cellglass.cells.collect import collect
from cellglass.cells.contents import Contents, Slot, UnreadableError, label_of
from cellglass.cells.counts import NotCountsError
from cellglass.cells.formats import open_contents
from cellglass.cells.genes import gene_map
from cellglass.cells.obs import safe_columns, tidy_obs
from cellglass.cells.plausible import doubts
from cellglass.cells.store import open_cells, refuse_foreign, write_cells
from cellglass.errors import InputError, listed

if TYPE_CHECKING:
    from anndata import AnnData

log = logging.getLogger(__name__)

_AUTO = ("layers/counts", "X", "raw", "genes-by-cells", "cells-by-genes")


def read_cells(
    path: Path | str,
    *,
    counts: str = "auto",
    gene_ids: str | None = None,
    round_counts: bool = False,
    need_counts: bool = True,
    columns: Sequence[str] = (),
    safe_names: bool = False,
    spool: Path | str | None = None,
) -> Cells:
    """Read cells and their raw counts.

    Parameters
    ----------
    path : path
        An ``.h5ad`` file, an AnnData zarr folder, a 10x ``.h5`` file (Cell Ranger 2 or later), a 10x folder with
        ``matrix.mtx``, a ``.loom`` file, a table (``.csv``, ``.tsv``, gzipped or not; see `cellglass.cells.tables`), or
        a folder that `write_cells` wrote.
    counts : str
        Where the raw counts are: ``"X"``, ``"raw"``, ``"layers/NAME"`` or the name of a layer. ``"auto"`` takes the
        first of layer ``counts``, ``X`` and ``raw`` that holds raw counts; `Cells.source` says which. Of a table
        ``"genes-by-cells"`` or ``"cells-by-genes"``, where its names do not tell its rows from its columns.
    gene_ids : str, optional
        The var column to take gene ids from instead of var's index.
    round_counts : bool
        Take estimated or corrected counts too (SoupX, RSEM), rounded to whole numbers.
    need_counts : bool
        Without it, a file in which no slot holds raw counts gives cells without genes (`Cells.has_counts`), and a line
        in the log; so it is for embeddings. A slot that `counts` names must hold counts all the same.
    columns : sequence of str
        Columns of obs that must be there.
    safe_names : bool
        Give obs columns the names that `cellglass.cells.obs.safe_name` says, as an atlas does; `columns` are those.
    spool : path, optional
        A new or empty folder: the counts go there block by block and the returned cells are memory-mapped, so that
        memory does not grow with their number (but for the tables). The result is the same.

    Returns
    -------
    Cells

    Raises
    ------
    InputError
        If the file cannot be read or is none of these, if no slot holds raw counts (the message says what it holds
        instead), if cells or genes are lacking, if cell names are not unique, if a column is not there.
    """
    path = Path(path)
    if (path / "meta.json").is_file():
        cells = open_cells(path)
        if safe_names:
            cells = replace(cells, obs=safe_columns(cells.obs, str(path), columns))
        _check_columns(cells.obs, columns, str(path))
        return cells
    options = _Options(
        counts, gene_ids, round_counts, need_counts, columns, safe_names, None if spool is None else Path(spool)
    )
    with open_contents(path, counts) as contents:
        return _cells(contents, path.name, options)


def cells_from_anndata(
    adata: AnnData,
    *,
    counts: str = "auto",
    gene_ids: str | None = None,
    round_counts: bool = False,
    need_counts: bool = True,
    columns: Sequence[str] = (),
    safe_names: bool = False,
    spool: Path | str | None = None,
    name: str = "AnnData",
) -> Cells:
    """Read cells from an AnnData object, which is left as it is; see `read_cells`. `name` is what messages call it."""
    from cellglass.cells.h5ad import in_memory

    options = _Options(
        counts, gene_ids, round_counts, need_counts, columns, safe_names, None if spool is None else Path(spool)
    )
    return _cells(in_memory(adata, name), name, options)


def as_cells(cells: CellsLike) -> Cells:
    """Return cells as they are, and an AnnData read as `cells_from_anndata` does, so that either may be given."""
    return cells if isinstance(cells, Cells) else cells_from_anndata(cells)


class _Options(NamedTuple):
    counts: str
    gene_ids: str | None
    round_counts: bool
    need_counts: bool
    columns: Sequence[str]
    safe_names: bool
    spool: Path | None

    @property
    def may_lack_counts(self) -> bool:
        return not self.need_counts and self.counts == "auto"


def _cells(contents: Contents, source: str, options: _Options) -> Cells:
    if options.spool is not None:
        refuse_foreign(options.spool)
    obs = tidy_obs(contents.obs, contents.name, options.columns)
    if options.safe_names:
        obs = safe_columns(obs, contents.name, options.columns)
    _check_columns(obs, options.columns, contents.name)
    if contents.unreadable:
        named = [f"{label_of(key)}, which {reason}" for key, reason in contents.unreadable.items()]
        log.warning("%s: left out %s", contents.name, listed(named, 6))
    refused: list[tuple[Slot, NotCountsError]] = []
    damaged: list[tuple[Slot, UnreadableError]] = []
    for slot in _candidates(contents, options):
        genes = gene_map(slot.var, options.gene_ids, f"{contents.name}: {slot.label}")
        try:
            label = f"{source}, {slot.label}"
            cells, sums = collect(slot, genes, obs, contents, label, options.spool, rounded=options.round_counts)
        except NotCountsError as error:
            refused.append((slot, error))
            continue
        except UnreadableError as error:
            damaged.append((slot, error))
            continue
        for other, reason in refused:
            log.info("%s: took %s, since %s %s", contents.name, slot.label, other.label, reason.what)
        for other, problem in damaged:
            log.warning("took %s, since %s is not to be read: %s", slot.label, other.label, problem)
        for doubt in doubts(sums):
            log.warning("%s: %s", contents.name, doubt)
        return cells
    if options.may_lack_counts:
        return _without_counts(contents, obs, source, _reasons(refused, damaged), options.spool)
    if damaged:
        raise damaged[0][1]
    raise InputError(_refusal(contents, refused))


def _without_counts(contents: Contents, obs: pd.DataFrame, source: str, why: str, spool: Path | None) -> Cells:
    """Return cells with their metadata and embeddings alone."""
    log.warning("%s: no slot holds raw counts (%s), so genes, pathways and expression are left out", contents.name, why)
    genes = pd.DataFrame({"symbol": np.zeros(0, dtype=object)}, index=pd.Index([], dtype=object))
    counts = sp.csr_matrix((len(obs), 0), dtype=np.float32)
    cells = Cells(counts, genes, obs, dict(contents.obsm), f"{source}, without raw counts")
    if spool is None:
        return cells
    write_cells(cells, spool)
    return open_cells(spool)


def _reasons(refused: Sequence[tuple[Slot, NotCountsError]], damaged: Sequence[tuple[Slot, UnreadableError]]) -> str:
    told = [f"{slot.label} {error.what}" for slot, error in refused]
    return "; ".join([*told, *(f"{slot.label} cannot be read" for slot, _ in damaged)]) or "there is no matrix"


def _candidates(contents: Contents, options: _Options) -> list[Slot]:
    slots, counts = contents.slots, options.counts
    if counts == "auto":
        found = [slots[key] for key in _AUTO if key in slots]
        if not found and not options.may_lack_counts:
            unreadable = [key for key in _AUTO if key in contents.unreadable]
            if unreadable:
                raise InputError(_unreadable(contents, unreadable[0]))
            raise InputError(f"{contents.name}: has neither X, raw nor a layer 'counts'; {_hint(contents, [])}")
        return found
    for key in (counts, f"layers/{counts}"):
        if key in slots:
            return [slots[key]]
        if key in contents.unreadable:
            raise InputError(_unreadable(contents, key))
    held = ", ".join(slots) or "no matrix at all"
    raise InputError(f"{contents.name}: there is no slot {counts!r} to take counts from; it has {held}")


def _unreadable(contents: Contents, key: str) -> str:
    reason = contents.unreadable[key]
    return f"{contents.name}: {label_of(key)} {reason}; write the file anew with adata.write_h5ad"


def _refusal(contents: Contents, refused: Sequence[tuple[Slot, NotCountsError]]) -> str:
    tried = [slot.key for slot, _ in refused]
    if len(refused) == 1:
        slot, error = refused[0]
        way_out = "; ".join(filter(None, [error.remedy, _hint(contents, tried)]))
        return f"{contents.name}: {slot.label} {error.what}, so it is not raw counts; {way_out}"
    reasons = "; ".join(f"{slot.label} {error.what}" for slot, error in refused)
    return f"{contents.name}: no slot holds raw counts: {reasons}; {_hint(contents, tried)}"


def _hint(contents: Contents, tried: Sequence[str]) -> str:
    others = [key for key in contents.slots if key not in tried]
    if others:
        return f"choose the slot that holds raw counts with counts= (there are also {', '.join(others)})"
    return "bring a file that holds raw counts in X or in layers['counts']"


def _check_columns(obs: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    for column in columns:
        if column not in obs:
            held = ", ".join(map(str, obs.columns)) or "none"
            raise InputError(f"{name}: there is no obs column {column!r}; the columns are: {held}")

"""Selections written into an AnnData file (.h5ad): a bool column of obs each. The file is never lost.

A copy is changed and takes its place when it is whole, so memory does not grow with the counts. Cells are matched by
name. A column of the same name is replaced where an earlier call wrote it (``uns["cellglass_selections"]`` lists
those), and refused else; no column is ever removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellglass.cells.obs import safe_name
from cellglass.errors import InputError, listed, one_line
from cellglass.files import atomic_path

Array = np.ndarray[Any, Any]
OURS = "cellglass_selections"


class Written(NamedTuple):
    """What was written."""

    path: Path
    columns: dict[str, int]
    """Name of each column, and the cells of the file for which it is true."""
    missing: list[str]
    """Cells of selections that the file lacks."""
    others: int
    """Cells of the file that the atlas lacks, for which every column is false."""


def write_into(
    source: Path | str,
    target: Path | str,
    selections: Mapping[str, Array],
    names: Sequence[str],
    *,
    in_place: bool = False,
) -> Written:
    """Write `source` with a column for each selection to `target`.

    Parameters
    ----------
    source : path
        An .h5ad file.
    target : path
        A new file; or `source` itself, with `in_place`.
    selections : mapping of str to numpy.ndarray
        Positions of the cells of each, by its name.
    names : sequence of str
        The names of the atlas's cells.

    Raises
    ------
    InputError
        If `source` is no .h5ad file, has two cells of one name or none of the atlas's, or has a column that would be
        overwritten and is not ours; or if there is a file at `target`.
    """
    source, target = Path(source), Path(target)
    if not in_place and target.exists():
        raise InputError(f"{target}: there is a file already; name a new one with --out, or use --in-place")
    if in_place and source.is_symlink():
        source = target = source.resolve()
    found = _names_of(source)
    place = found.get_indexer(list(names))
    if len(names) and not (place >= 0).any():
        raise InputError(
            f"{source}: it has none of the atlas's cells (there {found[0] if len(found) else 'none'!r}, here "
            f"{names[0]!r}); name the file that the atlas was made from"
        )
    chosen: dict[str, Array] = {}
    for name, rows in selections.items():
        mask = np.zeros(len(found), dtype=bool)
        mask[place[rows][place[rows] >= 0]] = True
        chosen[_free(safe_name(name), chosen)] = mask
    lost = np.unique(np.concatenate([np.zeros(0, np.int64), *(rows[place[rows] < 0] for rows in selections.values())]))
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        _write(temporary, source, chosen)
        shutil.copymode(source, temporary)
    counts = {name: int(mask.sum()) for name, mask in chosen.items()}
    return Written(target, counts, [str(names[row]) for row in lost], len(found) - int((place >= 0).sum()))


def _names_of(source: Path) -> Any:
    """Return the names of a file's cells as a pandas Index."""
    import h5py
    import pandas as pd
    from anndata.io import read_elem

    if not source.is_file():
        raise InputError(f"{source}: there is no such file; name an .h5ad file")
    if not h5py.is_hdf5(source):
        raise InputError(f"{source}: it is no .h5ad file; name one")
    try:
        with h5py.File(source, "r") as file:
            obs = file["obs"]
            if not isinstance(obs, h5py.Group):
                raise InputError(f"{source}: an old anndata wrote it; read and write it again with anndata first")
            index = pd.Index(np.asarray(read_elem(obs[str(obs.attrs["_index"])])).astype(str))
    except (OSError, KeyError) as error:
        raise InputError(f"{source}: it is no .h5ad file ({one_line(error, 80)}); name one") from error
    if not index.is_unique:
        twice = index[index.duplicated()][0]
        raise InputError(
            f"{source}: two cells are called {twice!r}; make the names unique first (obs_names_make_unique)"
        )
    return index


def _write(path: Path, shown: Path, columns: Mapping[str, Array]) -> None:
    """Add columns to the obs of a file, in place."""
    import h5py
    from anndata.io import read_elem, write_elem

    with h5py.File(path, "r+") as file:
        obs, uns = file["obs"], file.get("uns")
        there = [str(name) for name in obs.attrs["column-order"]]
        ours = {str(name) for name in read_elem(uns[OURS])} if uns is not None and OURS in uns else set()
        taken = [name for name in columns if name in obs and name not in ours]
        if taken:
            raise InputError(
                f"{shown}: obs has a column {listed(taken)} that cellglass did not write; rename the selection"
            )
        for name, mask in columns.items():
            if name in obs:
                del obs[name]
            write_elem(obs, name, mask)
        order = list(dict.fromkeys([*there, *columns]))
        obs.attrs["column-order"] = np.array(order, dtype=h5py.string_dtype())
        if uns is None:
            write_elem(file, "uns", {})
        if OURS in file["uns"]:
            del file["uns"][OURS]
        write_elem(file["uns"], OURS, np.array(sorted(ours.union(columns)), dtype=object))


def _free(name: str, taken: Mapping[str, Any]) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free

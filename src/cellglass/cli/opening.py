"""What the commands of circuits open: a model, cells for it, what is asked in words, and where a circuit goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.errors import InputError

if TYPE_CHECKING:
    from cellglass.atlas.circuits import Circuits
    from cellglass.cells import Cells
    from cellglass.circuits.answers import Target
    from cellglass.models.base import CellModel


def model_of(folder: Path) -> CellModel:
    """Return the model in `folder`, or the one that the atlas in it keeps."""
    from cellglass import models
    from cellglass.atlas.circuits import kept_model

    if not _is_atlas(folder):
        return models.load(folder)
    from cellglass.atlas.manifest import read_manifest

    read_manifest(folder)
    return kept_model(folder)


def cells_of(folder: Path, cells: Path | None, columns: Sequence[str | None]) -> Cells:
    """Return the cells of a file, with some columns of obs, or those that an atlas keeps."""
    from cellglass.atlas.circuits import kept_cells
    from cellglass.cells import read_cells

    if cells is not None:
        return read_cells(cells, columns=[name for name in columns if name is not None])
    if not _is_atlas(folder):
        raise InputError(f"{folder} is no atlas, so it holds no cells; give --cells, a file with raw counts")
    return kept_cells(folder)


def circuits_of(folder: Path) -> Circuits:
    """Return the circuits of an atlas, where a graph goes by default; InputError for a model."""
    from cellglass.atlas.circuits import Circuits
    from cellglass.atlas.schema import CIRCUITS

    return Circuits(_atlas(folder) / CIRCUITS)


def class_circuits_of(folder: Path) -> Path:
    """Return where circuits of classes go by default in an atlas; InputError for a model."""
    from cellglass.atlas.schema import CLASS_CIRCUITS

    return _atlas(folder) / CLASS_CIRCUITS


def target_of_words(folder: Path, target: str, site: str | None, at: str | None) -> Target:
    """Return what is asked by the words of the command line."""
    from cellglass.atlas import open_atlas
    from cellglass.atlas.circuits import CONCEPT, target_of
    from cellglass.circuits import Direction, read_vector

    sort, _, text = target.partition(":")
    if sort == "direction":
        if site is None:
            raise InputError(f"{target}: say with --site where in the model the direction is, as layers.1.resid")
        return Direction(site, read_vector(text), gene=at, name=f"direction {Path(text).stem}")
    if not target.startswith(CONCEPT):
        return target
    if not _is_atlas(folder):
        raise InputError(f"{folder} is a model and no atlas, so it has no concepts; name an atlas for {target}")
    return target_of(open_atlas(folder), target, at)


def _atlas(folder: Path) -> Path:
    if not _is_atlas(folder):
        raise InputError(f"{folder} is a model and no atlas; say with --out where the graph is to go")
    return folder


def _is_atlas(folder: Path) -> bool:
    return (folder / "manifest.json").is_file()

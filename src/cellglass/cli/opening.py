"""What the commands of circuits open: the model of a folder or an atlas, cells for it, and where a circuit goes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.errors import InputError

if TYPE_CHECKING:
    from cellglass.cells import Cells
    from cellglass.models.base import CellModel


def cells_of(folder: Path, cells: Path | None, columns: Sequence[str | None]) -> Cells:
    """Return the cells of a file, with some columns of obs, or those that an atlas keeps."""
    from cellglass.cells import open_cells, read_cells
    from cellglass.pipeline.workspace import CELLS

    if cells is not None:
        return read_cells(cells, columns=[name for name in columns if name is not None])
    if not (folder / "manifest.json").is_file():
        raise InputError(f"{folder} is no atlas, so it holds no cells; give --cells, a file with raw counts")
    if not (folder / CELLS).is_dir():
        raise InputError(f"{folder} is an atlas that no longer keeps its cells ({CELLS} is gone); give --cells")
    return open_cells(folder / CELLS)


def in_atlas(folder: Path, *name: str) -> Path:
    """Return where a circuit goes by default: into the atlas, under folders and a name."""
    if not (folder / "manifest.json").is_file():
        raise InputError(f"{folder} is a model and no atlas; say with --out where the graph is to go")
    return folder.joinpath("circuits", *name[:-1], f"{slug(name[-1])}.json")


def slug(cell: str) -> str:
    """Return the name of a cell or a class as that of a file."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", cell)[:100] or "cell"


def model_of(folder: Path) -> CellModel:
    """Return the model in `folder`, or the one that the atlas in it keeps."""
    from cellglass import models
    from cellglass.pipeline.workspace import MODEL

    if not (folder / "manifest.json").is_file():
        return models.load(folder)
    from cellglass.atlas.manifest import read_manifest

    read_manifest(folder)
    if not (folder / MODEL).is_dir():
        raise InputError(
            f"{folder} is an atlas that no longer keeps its model ({MODEL} is gone); give the folder of the model, or "
            "run the command that made the atlas again"
        )
    return models.load(folder / MODEL)


def ready(model: CellModel, cells: Cells) -> CellModel:
    """Return the model with the cells' genes where it holds none, on a GPU where there is one."""
    import torch

    from cellglass.circuits.objectives import as_transformer

    found = as_transformer(model)
    found = found if len(found.genes) else as_transformer(found.for_cells(cells))
    return found.to("cuda" if torch.cuda.is_available() else "cpu")

"""What the commands of circuits open: the model of a folder or of an atlas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cellglass.models.base import CellModel


def model_of(folder: Path) -> CellModel:
    """Return the model in `folder`, or the one that the atlas in it keeps."""
    from cellglass import models
    from cellglass.atlas.circuits import kept_model

    if not (folder / "manifest.json").is_file():
        return models.load(folder)
    from cellglass.atlas.manifest import read_manifest

    read_manifest(folder)
    return kept_model(folder)

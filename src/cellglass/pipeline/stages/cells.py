"""The first stage: cells onto disk, with all that could be found wrong later looked at first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellglass.files import sha256
from cellglass.pipeline.early import check_cells
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.workspace import CELLS, say_once

if TYPE_CHECKING:
    from cellglass.cells import Cells


class CellsStage(Stage):
    """Reads the cells, refuses what is no counts, and keeps them memory-mapped on disk."""

    name = "cells"
    does = "read the cells"
    outputs = (CELLS,)
    quick = True
    revision = 2

    def in_memory(self) -> bool:
        """Say whether the cells lie in the caller's memory."""
        return not isinstance(self.run.inputs.get("cells"), Path | None)

    def settings(self) -> Any:
        """Return what the cells are: the sha256 of their file or of their content, and which parts are read."""
        source, config = self.run.inputs.get("cells"), self.run.config.cells
        read = {
            "counts": config.counts,
            "gene_ids": config.gene_ids,
            "round": config.round,
            "needed": self._needed,
            "columns": self.run.config.columns,
        }
        if source is None:
            return {"cells": "demo", **read}
        if isinstance(source, Path):
            return {"cells": sha256(source) if source.exists() else None, **read}
        return {"cells": cells_fingerprint(source), **read}

    def do(self, name: str, folder: Path) -> None:  # noqa: ARG002 (there is one unit)
        """Write the cells."""
        from cellglass.cells import demo_cells, read_cells, write_cells

        source, config = self.run.inputs.get("cells"), self.run.config.cells
        target, columns = folder / Path(CELLS).name, self.run.config.columns
        if isinstance(source, Path):
            cells = read_cells(
                source,
                counts=config.counts,
                gene_ids=config.gene_ids,
                round_counts=config.round,
                need_counts=self._needed,
                columns=columns,
                safe_names=True,
                spool=target,
            )
            if target.exists():
                return
        else:
            cells = demo_cells() if source is None else source
            for column in columns:
                cells.column(column)
        write_cells(cells, target)  # among others, cells that write_cells wrote: those are opened where they are

    def join(self, made: Mapping[str, Path]) -> None:
        """Put the cells in their place, and refuse now what would be found wrong only at the end."""
        super().join(made)
        self._refuse_early()

    @property
    def _needed(self) -> bool:
        from cellglass.pipeline.stages.model import needs_counts

        return needs_counts(self.run.config.model.path, self.run.inputs.get("model"))

    def _refuse_early(self) -> None:
        from cellglass.cells import open_cells
        from cellglass.enrichment.choose import choose
        from cellglass.models.embedding import EmbeddingModel
        from cellglass.pipeline.stages.model import EMBEDDING

        cells = open_cells(self.run.path(CELLS))
        check_cells(cells, self.run.config)
        path = self.run.config.model.path
        if path.startswith(EMBEDDING):
            EmbeddingModel.of(cells, [path.removeprefix(EMBEDDING)])
        for note in choose(self.run.config.enrichment, list(cells.symbols)).notes if cells.has_counts else ():
            say_once(self.run.folder, note)


def cells_fingerprint(cells: Cells) -> str:
    """Return a sha256 of counts, genes, metadata and embeddings."""
    digest = hashlib.sha256()
    for array in (cells.counts.indptr, cells.counts.indices, cells.counts.data):
        digest.update(np.ascontiguousarray(array).data)
    for table in (cells.genes, cells.obs):
        digest.update(json.dumps([*map(str, table.columns)]).encode())
        digest.update(pd.util.hash_pandas_object(table.astype(str), index=True).to_numpy().data)
    for key in sorted(cells.obsm):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(cells.obsm[key]).data)
    return digest.hexdigest()

"""The stage that gets the model, fitted, loaded or brought, and writes it and the cells in its genes.

What lies in the caller's memory is on disk from here on; only a model whose code is with the caller alone is not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellglass.errors import InputError
from cellglass.models import registry
from cellglass.models.kind import FitConfig, Fitting
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.workspace import CELLS, COVERAGE, EXPLAINED, MODEL, say_once
from cellglass.seeds import derive
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.cells import Cells
    from cellglass.models.base import CellModel

log = logging.getLogger(__name__)

EMBEDDING = "obsm:"
_STEP = 4096


def needs_counts(path: str, brought: CellModel | None) -> bool:
    """Say whether raw counts are needed: an embedding, by its path or as a model in memory, does without."""
    return brought.kind != "embedding" if brought is not None else not path.startswith(EMBEDDING)


class ModelStage(Stage):
    """Fits a model, or takes the one that was brought; writes it, and the cells in its genes."""

    name = "model"
    does = "fit or load the model"
    outputs = (EXPLAINED, MODEL)
    needs = ("cells",)
    optional = (COVERAGE,)
    revision = 2

    def in_memory(self) -> bool:
        """Say whether the model lies in the caller's memory."""
        return self.run.inputs.get("model") is not None

    def settings(self) -> Any:
        """Return what the model is: how it is fitted, or the sha256 of the one that was brought."""
        config, path = self.run.config, self.run.config.model.path
        brought = self.run.inputs.get("model")
        control = {} if config.model.control is None else {"control": config.model.control, "seed": config.seed}
        if brought is not None:
            if control and not registry.is_read_back(brought.kind):
                raise InputError(
                    f"a {brought.kind} model is not read back from its folder, so there is no run of a control of it; "
                    "give cellglass.models.control.control_of(model, ...) in its place"
                )
            return {"fingerprint": brought.fingerprint(), **control}
        if path in registry.KINDS:
            kind, fit = registry.kind_to_fit(path), self._fit_config()
            kind.check_fit(fit, config.model.site)
            asked = {name: getattr(fit, name) for name in (*self._fitting().defaults, "batch")}
            chosen_by = {"labels": list(config.cells.labels)} if "genes" in self._fitting().defaults else {}
            return {"fit": path, **asked, **chosen_by, **control, "seed": config.seed}
        if path.startswith(EMBEDDING):
            if control:
                raise InputError(f"model.control is {config.model.control!r}, but {path} has no weights; leave it out")
            return {"embedding": path}
        return {"fingerprint": _saved(path).fingerprint(), **control}

    def do(self, name: str, folder: Path) -> None:  # noqa: ARG002 (there is one unit)
        """Write model, cells and coverage."""
        from cellglass.cells import open_cells

        cells = open_cells(self.run.path(CELLS))
        brought, explained = self.run.inputs.get("model"), folder / Path(EXPLAINED).name
        if brought is None and self.run.config.model.path in registry.KINDS and "genes" in self._fitting().defaults:
            model = self._fit_to_variable_genes(cells, explained)
            _note_coverage(cells, model, _share_of_counts(cells, explained), folder / Path(COVERAGE).name)
        else:
            given = brought or self._given(cells)
            model = given.for_cells(cells)
            counted = given if len(given.genes) else model
            _refuse_few(cells, counted)
            _write_aligned(self.run.path(CELLS), model, explained)
            self._check_gene_sets(cells, explained)
            _note_coverage(cells, counted, _share_of_counts(cells, explained), folder / Path(COVERAGE).name)
        config = self.run.config
        if config.model.site is not None:
            model.site(config.model.site)
        if config.model.control is not None:
            from cellglass.models.control import control_of

            model = control_of(model, config.model.control, config.seed)
        model.save(folder / Path(MODEL).name)

    # -- fitting -----------------------------------------------------------------------------------------------------

    def _fitting(self) -> Fitting:
        fitting = registry.kind_to_fit(self.run.config.model.path).fitting
        assert fitting is not None, "kind_to_fit looked"  # noqa: S101
        return fitting

    def _fit_config(self) -> FitConfig:
        """Return how the model is fitted, as far as the run says it."""
        config = self.run.config.model
        return FitConfig(
            layers=config.layers,
            width=config.width,
            epochs=config.epochs,
            genes=config.genes,
            latent=config.latent,
            batch=self.run.config.cells.batch,
            seed=derive(self.run.config.seed, config.path),
        )

    def _warn_of_batch(self, cells: Cells) -> None:
        """Say before the fit where the batch nearly is one of the labels."""
        from cellglass.cells.confounding import confounded

        config = self.run.config.cells
        for label in config.labels if config.batch is not None else ():
            said = confounded(cells, str(config.batch), label) if label != config.batch else None
            if said is not None:
                log.warning("%s", said)

    def _fit(self, cells: Cells) -> CellModel:
        self._warn_of_batch(cells)
        checkpoint = self.run.unit_folder(self.name) / "checkpoint"
        config = replace(self._fit_config(), checkpoint=checkpoint, progress=self.run.progress)
        with threads(1) if self._fitting().one_thread else nullcontext():
            return registry.fit(self.run.config.model.path, cells, config)

    def _fit_to_variable_genes(self, cells: Cells, explained: Path) -> CellModel:
        """Fit a kind that reads some highly variable genes, to the cells as written with those."""
        from cellglass.cells import open_cells, variable_genes

        most = self.run.config.model.genes or self._fitting().defaults["genes"] or cells.n_genes
        seed = derive(self.run.config.seed, "genes")
        read = self.run.config.cells
        chosen = variable_genes(cells, most, seed=seed, batch=read.batch, labels=read.labels)
        _write_aligned(self.run.path(CELLS), cells.genes.index[chosen], explained)
        self._check_gene_sets(cells, explained)
        return self._fit(open_cells(explained))

    def _check_gene_sets(self, cells: Cells, explained: Path) -> None:
        """Find gene sets that fit the cells and not the genes that are explained before anything that takes long."""
        from cellglass.cells import open_cells
        from cellglass.enrichment.choose import choose

        kept = open_cells(explained)
        if kept.has_counts:
            for note in choose(self.run.config.enrichment, list(cells.symbols), list(kept.symbols)).notes:
                say_once(self.run.folder, note)

    def _given(self, cells: Cells) -> CellModel:
        """Return the model that is fitted to all genes, the embedding, or the model that was saved."""
        from cellglass.models.embedding import EmbeddingModel

        path = self.run.config.model.path
        if path in registry.KINDS:
            return self._fit(cells)
        return EmbeddingModel.of(cells, [path.removeprefix(EMBEDDING)]) if path.startswith(EMBEDDING) else _saved(path)


def _saved(path: str) -> CellModel:
    """Return the model in a folder; InputError names the kinds too, since a kind may have been meant."""
    if not Path(path).exists():
        raise InputError(
            f"there is no folder {path} with a model; give one, {EMBEDDING}KEY for an embedding, or a kind to fit: "
            f"{', '.join(registry.fittable())}"
        )
    return registry.load(Path(path))


def _refuse_few(cells: Cells, model: CellModel) -> None:
    """Raise InputError where next to none of the model's genes are in the cells."""
    from cellglass.models.coverage import refuse_few

    found = model.cover(cells)
    if found is not None:
        refuse_few(model, cells, found)


def _share_of_counts(cells: Cells, explained: Path) -> float:
    """Return the share of the counts of `cells` that lie in the genes of the cells written to `explained`."""
    from cellglass.cells import open_cells

    whole, kept = (float(one.counts.data.sum(dtype=np.float64)) for one in (cells, open_cells(explained)))
    return kept / whole if whole else 0.0


def _note_coverage(cells: Cells, model: CellModel, counts: float, place: Path) -> None:
    """Write how the genes of the cells meet the model's, and say so where that is little."""
    from cellglass.models.coverage import concern

    found = model.cover(cells)
    if found is None:
        return
    place.write_text(json.dumps({**found._asdict(), "counts": counts}))
    said = concern(model, found, counts)
    if said is not None:
        log.warning("%s: %s", cells.source, said)


def _write_aligned(where: Path, to: CellModel | pd.Index[Any], place: Path) -> None:
    """Write the cells of the folder `where` with the genes of a model, or with these, block by block.

    Cells that count none of them are left out. Where nothing changes the files are the same.
    """
    from cellglass.cells import align_genes, open_cells, write_blocks
    from cellglass.cells.store import link_cells

    left_out, cells = 0, open_cells(where)

    def aligned(block: Cells) -> Cells:
        return align_genes(block, to) if isinstance(to, pd.Index) else to.align(block)

    def blocks() -> Iterator[Cells]:
        nonlocal left_out
        for start in range(0, cells.n_cells, _STEP):
            block = aligned(cells[start : start + _STEP])
            counted = np.diff(block.counts.indptr) > 0 if cells.has_counts else np.ones(len(block), dtype=bool)
            left_out += int((~counted).sum())
            if counted.any():
                yield block if counted.all() else block[counted]

    same = aligned(cells[:1]).genes.equals(cells.genes)
    if same and (not cells.has_counts or (np.diff(cells.counts.indptr) > 0).all()):
        link_cells(where, place)
        return
    write_blocks(blocks(), place, entries=cells.counts.nnz)
    if left_out:
        log.warning("%s: left out %d cells that count none of the model's genes", cells.source, left_out)

"""What the demo is told: the bundled blood cells, their labels, a kind of model, and settings that suit 700 cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.attribution.config import AttributionConfig
from cellglass.errors import InputError
from cellglass.files import atomic_path
from cellglass.models.registry import fittable
from cellglass.pipeline.config import CellsConfig, ModelConfig, RunConfig

if TYPE_CHECKING:
    from cellglass.circuits.graph import Graph
    from cellglass.progress import Progress

LABELS = ("bulk_labels", "phase")
_FEW = AttributionConfig(("swap", "knockout", "de"), prototypes=10, partners=3, genes=20)
"""Of a transformer, in which every swap of a count is a run of its own, and every step of a path three."""


def demo_config(seed: int = 0, model: str = "scvi") -> RunConfig:
    """Return the settings of `cellglass demo`: the defaults of a run, with the labels of the bundled cells."""
    if model not in fittable():
        raise InputError(f"the demo fits no {model!r}; give one of: {', '.join(fittable())}")
    attribution = AttributionConfig() if model == "scvi" else _FEW
    if model == "scgpt":  # gradients find the genes
        attribution = replace(attribution, genes=10)
    return RunConfig(CellsConfig(labels=LABELS), ModelConfig(path=model), attribution=attribution, seed=seed)


CIRCUIT = ("CD19+ B", "CD14+ Monocyte")
"""What the demo's circuit tells apart, in the first cell of the one type."""


def demo_circuit(out: Path, seed: int, progress: Progress) -> tuple[Graph, list[Path]]:
    """Fit a small Cell2Sentence to the bundled cells, train its transcoders and trace one cell; return what is written.

    What is finished is not done again, so that an interrupted call goes on.
    """
    from cellglass import models
    from cellglass.cells import demo_cells
    from cellglass.circuits.tracing import trace, write_trace
    from cellglass.circuits.training import train_transcoders

    cells, labels = demo_cells(), LABELS[0]
    folder, state, file = out / "model", out / "model.state", out / "cells.h5ad"
    out.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        with atomic_path(file) as temporary:
            cells.to_anndata().write_h5ad(temporary)
    if folder.is_dir():
        model = models.load(folder)
    else:
        model = models.cell2sentence.fit(
            cells, layers=3, width=64, n_genes=60, labels=labels, seed=seed, checkpoint=state, progress=progress
        )
        model.save(folder)
        state.unlink(missing_ok=True)
    made = train_transcoders(
        model, cells, out / "transcoders", k=8, labels=labels, n_rows=40_000, seed=seed, progress=progress
    )
    cell = str(cells.obs.index[cells.obs[labels] == CIRCUIT[0]][0])
    graph = trace(model, cells, cell, made, *CIRCUIT, progress=progress)
    return graph, write_trace(graph, out / "graph.json")


def demo_folder(model: str = "scvi") -> Path:
    """Return where the demo's atlas is written by default: a folder for each kind of model."""
    return Path("demo-atlas" if model == "scvi" else f"demo-atlas-{model}")

"""Activations of transformers to disk: cells a second beside the bare forward pass, and beside padding to the longest.

The bare pass runs the network over the same batches, whose tokens were made before, and keeps nothing. Padding all
cells to the longest is what a loop over a plain data loader does. Networks are as wide and deep as the small ones that
`cellglass.models.registry.fit` makes, and as published; what they learned does not change how long they take. Times are
the best of a few rounds, in which the ways take turns.

    python benchmarks/capture.py --json benchmarks/results/capture.json
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Row, main

from cellglass.activations import capture
from cellglass.cells import Cells, demo_cells
from cellglass.models.kind import FitConfig
from cellglass.models.registry import fit, fittable
from cellglass.models.transformer.hooks import run as hooked
from cellglass.models.transformer.model import TransformerModel
from cellglass.models.transformer.tokens import TokenLists, batches_by_length

SIZES = {"small": (4, 128), "published": (12, 512)}
"""Layers and width; 12 layers of 512 are scGPT's, near Geneformer's first."""
ROUNDS = {"small": 4, "published": 3}


def run(quick: bool) -> Iterator[Row]:
    """Measure each kind in both sizes, at a site of cells and at one of genes."""
    cells = demo_cells()
    for size, (layers, width) in SIZES.items():
        if quick and size == "published":
            continue
        some = cells[:32] if size == "published" else cells
        for kind in [name for name in fittable() if name != "scvi"]:
            model: Any = fit(kind, cells[:40], FitConfig(layers=layers, width=width, epochs=1))
            yield from measure(model, some, f"{kind} {layers} x {width}", 2 if quick else ROUNDS[size])


def measure(model: TransformerModel, cells: Cells, name: str, rounds: int) -> Iterator[Row]:
    """Time the three ways, and capture of a sample of gene tokens too."""
    tokens = model.prepare(cells)
    last = list(model.points)[-1]
    ways: dict[str, Callable[[Path], Any]] = {
        "bare": lambda _: forward(model, tokens, batches_by_length(tokens.lengths, model.batch_tokens)),
        "cell": lambda folder: capture(model, cells, ["cell"], folder),
        "tokens": lambda folder: capture(model, cells, [last], folder, tokens_per_cell=64),
        "padded": lambda _: padded(model, tokens),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for way, call in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                call(Path(folder) / "store")
                best[way] = min(best[way], time.perf_counter() - start)
    rate = {way: cells.n_cells / seconds for way, seconds in best.items()}
    lengths = tokens.lengths
    of = f"{name}, {cells.n_cells} cells of {int(np.median(lengths))} tokens (longest {lengths.max()})"
    yield Row("cells_per_second", f"{of}: bare forward pass", rate["bare"], "1/s")
    yield Row(
        "cells_per_second", f"{of}: a site of cells to disk", rate["cell"], "1/s", "bare forward pass",
        rate["cell"] / rate["bare"],
    )  # fmt: skip
    yield Row(
        "cells_per_second", f"{of}: 64 gene tokens a cell to disk", rate["tokens"], "1/s", "bare forward pass",
        rate["tokens"] / rate["bare"],
    )  # fmt: skip
    yield Row(
        "cells_per_second", f"{of}: a site of cells to disk, beside padding", rate["cell"], "1/s",
        "padding to the longest", rate["cell"] / rate["padded"],
    )  # fmt: skip


@torch.no_grad()
def forward(model: TransformerModel, tokens: TokenLists, batches: list[Any]) -> None:
    """Run the network over batches and keep nothing."""
    for chosen in batches:
        model.forward(tokens.padded(chosen, model.pad_id, model.pad_value).to(model.device))


@torch.no_grad()
def padded(model: TransformerModel, tokens: TokenLists) -> None:
    """Read the site of cells with all cells padded to the longest, in their order."""
    longest = int(tokens.lengths.max())
    site = model.cell_sites["cell"]
    size = max(1, model.batch_tokens // longest)
    for start in range(0, len(tokens), size):
        chosen = np.arange(start, min(start + size, len(tokens)))
        batch = widened(tokens, chosen, longest, model)
        seen, _ = hooked(model.net, lambda b=batch: model.forward(b), model.points, {site.point})
        site.pool(seen[site.point], batch)


def widened(tokens: TokenLists, chosen: Any, width: int, model: TransformerModel) -> Any:
    """Return a batch that is `width` tokens wide."""
    batch = tokens.padded(chosen, model.pad_id, model.pad_value).to(model.device)
    more = width - batch.ids.shape[1]

    def wide(x: torch.Tensor, value: float) -> torch.Tensor:
        return torch.nn.functional.pad(x, (0, more), value=value)

    value = None if batch.value is None else wide(batch.value, model.pad_value)
    mask = torch.nn.functional.pad(batch.mask, (0, more), value=False)
    return batch._replace(ids=wide(batch.ids, model.pad_id), value=value, mask=mask, gene=wide(batch.gene, -1))


if __name__ == "__main__":
    main(run)

"""A small real model, with a posterior, and cells for it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.cells.cells import Cells
from cellglass.models.base import CellModel, Site, TokenRows

GENES = 12


class TwoLayerModel(CellModel):
    """A random two-layer network over log1p counts; `z` has a posterior, `hidden` has none. Counts its runs."""

    kind = "two-layer"

    def __init__(self, stop_after: int | None = None) -> None:
        noise = torch.Generator().manual_seed(7)
        self.first = torch.randn(GENES, 6, generator=noise)
        self.second = torch.randn(6, 4, generator=noise)
        self.genes = pd.Index([f"g{i}" for i in range(GENES)])
        self.sites = {"z": Site("z", 4), "hidden.0": Site("hidden.0", 6), "tokens": Site("tokens", 3, "token")}
        self.runs, self.stop_after = 0, stop_after

    def activations(self, cells: Cells, sites: Sequence[str]) -> dict[str, torch.Tensor]:
        self.runs += 1
        if self.stop_after is not None and self.runs > self.stop_after:
            raise KeyboardInterrupt
        hidden = (torch.from_numpy(cells.counts.toarray()).log1p() @ self.first).relu()
        both = {"hidden.0": hidden, "z": hidden @ self.second}
        return {name: both[name] for name in sites}

    def token_activations(self, cells: Cells, sites: Sequence[str]) -> dict[str, TokenRows]:
        """Three numbers for each counted gene of a cell."""
        counts = cells.counts
        cell = np.repeat(np.arange(cells.n_cells), np.diff(counts.indptr))
        gene = counts.indices.astype(np.int64)
        logs = torch.from_numpy(counts.data).log1p()
        values = torch.stack([logs, logs * torch.from_numpy(gene), torch.from_numpy(gene).float()], dim=1)
        return dict.fromkeys(sites, TokenRows(values, cell, gene))

    def posterior(self, cells: Cells, site: str) -> tuple[torch.Tensor, torch.Tensor] | None:
        if site != "z":
            return None
        mean = (torch.from_numpy(cells.counts.toarray()).log1p() @ self.first).relu() @ self.second
        return mean, mean.abs() / 10 + 0.1

    def save(self, folder: Path) -> None:
        raise NotImplementedError


@pytest.fixture
def make_model() -> type[TwoLayerModel]:
    return TwoLayerModel


@pytest.fixture
def cells() -> Cells:
    counts = sp.csr_matrix(np.random.default_rng(3).poisson(1.5, (103, GENES)).astype(np.float32))
    ids = [f"g{i}" for i in range(GENES)]
    obs = pd.DataFrame(index=[f"c{i}" for i in range(103)])
    return Cells(counts, pd.DataFrame({"symbol": ids}, index=ids), obs)


@pytest.fixture
def token_model(cells: Cells) -> CellModel:
    """A random transformer of two layers that reads these genes."""
    from cellglass.models.scgpt.config import ScgptConfig
    from cellglass.models.scgpt.model import ScgptModel
    from cellglass.models.scgpt.net import ScgptNet

    vocab = {name: i for i, name in enumerate([*cells.genes.index, "<pad>", "<cls>", "<eoc>"])}
    cfg = ScgptConfig(
        n_tokens=len(vocab), width=8, n_layers=2, n_heads=2, hidden=8, pad_id=vocab["<pad>"], n_bins=5, max_length=30,
        dropout=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    return ScgptModel(ScgptNet(cfg).eval(), vocab)

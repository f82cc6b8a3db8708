"""A model that decodes, small enough to check by hand, and cells in two states that it can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.activations.rows import MemoryRows
from cellglass.cells.cells import Cells
from cellglass.dictionaries import fit
from cellglass.interventions import Subject
from cellglass.models.base import CellModel, Site

N_CELLS, N_GENES, WIDTH = 160, 60, 6


class Decoding(CellModel):
    """Log shares of counts, projected on programs; decoded as the softmax of programs times the cell's total."""

    kind = "decoding"

    def __init__(self, genes: pd.Index, programs: torch.Tensor, base: torch.Tensor):
        self.genes, self.programs, self.base = genes, programs, base
        self.sites = {"z": Site("z", len(programs)), "tokens": Site("tokens", 4, "token")}

    def activations(self, cells: Cells, sites: Sequence[str]) -> dict[str, torch.Tensor]:
        counts = torch.from_numpy(cells.counts.toarray())
        shares = torch.log1p(1e4 * counts / counts.sum(dim=1, keepdim=True))
        return {"z": (shares - torch.log1p(1e4 * self.base.softmax(0))) @ torch.linalg.pinv(self.programs)}

    def decode(self, site: str, activations: torch.Tensor, cells: Cells) -> torch.Tensor:
        self.require("decode", site)
        totals = torch.from_numpy(np.asarray(cells.counts.sum(axis=1)).ravel())
        return (self.base + activations @ self.programs).softmax(dim=1) * totals[:, None]

    def save(self, folder: Path) -> None:
        raise NotImplementedError


@pytest.fixture(scope="session")
def subject() -> Subject:
    """Return 160 cells of two states; genes 0 to 9 are the second's, and twice as many counts in even cells."""
    rng = np.random.default_rng(2)
    noise = torch.Generator().manual_seed(2)
    base = torch.randn(N_GENES, generator=noise) * 0.5
    programs = torch.randn(WIDTH, N_GENES, generator=noise) * 0.3
    programs[0] = torch.where(torch.arange(N_GENES) < 10, 1.0, 0.0)
    state = np.arange(N_CELLS) % 4 >= 2
    z = torch.from_numpy(rng.normal(size=(N_CELLS, WIDTH))).float()
    z[:, 0] = torch.from_numpy(np.where(state, 2.0, 0.0)).float() + 0.2 * z[:, 0]
    shares = (base + z @ programs).softmax(dim=1).numpy()
    counts = sp.csr_matrix(
        rng.poisson(shares * np.where(np.arange(N_CELLS) % 2, 1500, 3000)[:, None]).astype(np.float32)
    )
    genes = pd.DataFrame({"symbol": [f"G{i}" for i in range(N_GENES)]}, index=[f"E{i}" for i in range(N_GENES)])
    obs = pd.DataFrame({"state": np.where(state, "on", "off")}, index=[f"c{i}" for i in range(N_CELLS)])
    cells = Cells(counts, genes, obs)
    model = Decoding(genes.index, programs, base)
    rows = MemoryRows(model.activations(cells, ["z"])["z"])
    return Subject(model, "z", rows, fit("ica", rows, seed=0), cells)

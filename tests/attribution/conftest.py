"""A small real model and dictionary: log1p counts -> linear (+ batch) -> affine -> ReLU -> linear -> TopK."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.attribution import AttributionConfig, Block, Work
from cellglass.attribution.pairs import choose_pairs
from cellglass.cells.cells import Cells
from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.models.base import CellModel, Site
from cellglass.models.linear_front import LinearFront


class ToyModel(CellModel):
    """What an scVI encoder is, in small; its batch adds a constant to the hidden layer."""

    kind = "toy"

    def __init__(self, weight: torch.Tensor, out: torch.Tensor, shift: torch.Tensor, genes: pd.Index):
        self.weight, self.out, self.shift, self.genes = weight, out, shift, genes
        self.sites = {"z": Site("z", out.shape[0])}
        self.fast = True

    def _front(self, log_counts: torch.Tensor, cells: Cells) -> torch.Tensor:
        batch = torch.from_numpy(cells.obs["batch"].to_numpy(dtype=np.int64))
        return log_counts @ self.weight.T + self.shift[batch]

    def _rest(self, h: torch.Tensor) -> torch.Tensor:
        return torch.relu(h * 0.8 + 0.1) @ self.out.T

    def activations(self, cells: Cells, sites: Sequence[str]) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return {"z": self.path_gradient("z", torch.log1p(torch.from_numpy(cells.counts.toarray())), cells)}

    def path_gradient(self, site: str, log_counts: torch.Tensor, cells: Cells) -> torch.Tensor:
        return self._rest(self._front(log_counts, cells))

    def linear_front(self, site: str) -> LinearFront | None:
        if not self.fast:
            return None
        return LinearFront(
            self.weight, lambda c: self._front(torch.log1p(torch.from_numpy(c.counts.toarray())), c), self._rest
        )

    def save(self, folder: Path) -> None:
        raise NotImplementedError


class ToyTopK(Dictionary):
    """TopK over ``relu(x @ w.T + b)``."""

    kind = "toy"

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, k: int):
        self.weight, self.bias, self.k = weight, bias, k
        self.n_latents, self.d_in = weight.shape
        self.d_out = self.d_in

    def preactivations(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.T + self.bias

    def encode(self, x: torch.Tensor) -> Codes:
        values, indices = torch.relu(self.preactivations(x)).topk(self.k, dim=1)
        return Codes(indices, values, self.n_latents)

    def decode(self, codes: Codes) -> torch.Tensor:
        raise NotImplementedError

    @property
    def directions(self) -> torch.Tensor:
        return self.weight

    def save(self, folder: Path) -> None:
        raise NotImplementedError


@dataclass
class Toy:
    """Cells, model, dictionary, codes and activations that belong together."""

    cells: Cells
    model: ToyModel
    dictionary: ToyTopK
    codes: sp.csc_matrix
    z: np.ndarray

    def work(self, seed: int = 0, **config) -> Work:
        """Return the work of attributing all of it."""
        parts = (self.model, self.cells, "z", self.dictionary, self.codes, self.z)
        return Work(*parts, AttributionConfig(**config), seed)

    def block(self, concepts: Sequence[int] = (0, 3, 4), **config) -> Block:
        """Return a block with five prototypes of each concept and three partners of each kind of each prototype."""
        work = self.work(**{"prototypes": 5, "partners": 3, **config})
        nothing = np.float32(np.nan)
        return Block(work, concepts, choose_pairs(work, concepts).table.assign(difference=nothing, gap=nothing))

    def read(self, counts: sp.csr_matrix, like: int, concept: int, on: str) -> float:
        """Return what one cell with the covariates of cell `like` and other counts reads."""
        x = self.model.activations(self.cells[[like]].with_counts(counts), ["z"])["z"]
        if on == "preactivation":
            return float(self.dictionary.preactivations(x)[0, concept])
        return float(self.dictionary.encode(x).to_csr().toarray()[0, concept])


def make_toy(n_cells: int = 160, n_genes: int = 40, width: int = 6, n_latents: int = 10, k: int = 3) -> Toy:
    rng = np.random.default_rng(7)
    counts = sp.csr_matrix(
        rng.poisson((0.3 + rng.gamma(0.6, 2.0, (1, n_genes))) * rng.gamma(1.0, 1.0, (n_cells, n_genes)))
    )
    counts = counts.astype(np.float32)
    counts.eliminate_zeros()
    counts.sort_indices()
    genes = pd.DataFrame({"symbol": [f"G{i}" for i in range(n_genes)]}, index=[f"ENSG{i:03d}" for i in range(n_genes)])
    obs = pd.DataFrame({"batch": rng.integers(0, 2, n_cells)}, index=[f"c{i}" for i in range(n_cells)])
    torch_rng = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=torch_rng)

    model = ToyModel(normal(16, n_genes) / 4, normal(width, 16) / 4, normal(2, 16) / 4, genes.index)
    dictionary = ToyTopK(normal(n_latents, width), normal(n_latents) / 10, k)
    cells = Cells(counts, genes, obs)
    z = model.activations(cells, ["z"])["z"]
    dictionary.bias -= dictionary.preactivations(z).mean(dim=0)  # so that most latents are active in some cells
    return Toy(cells, model, dictionary, dictionary.encode(z).to_csr().tocsc(), z.numpy())


@pytest.fixture
def toy() -> Toy:
    return make_toy()

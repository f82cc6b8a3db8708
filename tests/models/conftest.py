"""Small random cells and scVI networks of every architecture that this package reads."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.cells.cells import Cells
from cellglass.models.scvi.covariates import Covariate
from cellglass.models.scvi.model import ScviModel
from cellglass.models.scvi.net import ScviConfig


def random_cells(n_cells: int = 40, n_genes: int = 25, seed: int = 0) -> Cells:
    """Negative-binomial counts with two obs columns, `donor` (3 values) and `lab` (2 numbers)."""
    rng = np.random.default_rng(seed)
    counts = sp.csr_matrix(rng.negative_binomial(1, 0.4, (n_cells, n_genes)).astype(np.float32))
    counts[:, 0] += sp.csr_matrix((counts.sum(axis=1) == 0).astype(np.float32))
    counts = counts.tocsr()
    counts.sort_indices()
    obs = pd.DataFrame(
        {"donor": pd.Categorical(rng.choice(["ann", "bo", "cy"], n_cells)), "lab": rng.choice([1, 2], n_cells)},
        index=[f"cell{i}" for i in range(n_cells)],
    )
    genes = pd.DataFrame({"symbol": [f"S{i}" for i in range(n_genes)]}, index=[f"g{i}" for i in range(n_genes)])
    return Cells(counts, genes, obs, {"X_pca": rng.normal(size=(n_cells, 4)).astype(np.float32)}, "test cells")


def random_module(cfg: ScviConfig, seed: int = 0) -> Any:
    """scvi-tools' module with random weights and random batch-norm statistics, in eval mode."""
    from cellglass.models.scvi.training import new_module

    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = new_module(cfg).eval()
    for name, tensor in module.state_dict().items():
        if ".1." in name and tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.3)
    return module


COVARIATES = (Covariate("donor", ("ann", "bo", "cy")), Covariate("lab", ("1", "2")))

ARCHITECTURES: dict[str, tuple[dict[str, Any], int]] = {
    "default": ({}, 0),
    "batch": ({}, 1),
    "encoded-batch": ({"encode_covariates": True}, 1),
    "two-layers": ({"n_layers": 2}, 2),
    "two-layers-encoded": ({"n_layers": 2, "encode_covariates": True}, 2),
    "shallow-covariates": ({"n_layers": 2, "encode_covariates": True, "deeply_inject_covariates": False}, 2),
    "no-batch-norm": ({"use_batch_norm": "none", "n_layers": 2}, 0),
    "layer-norm": ({"use_batch_norm": "decoder", "use_layer_norm": "both"}, 1),
    "both-norms": ({"use_layer_norm": "encoder", "encode_covariates": True}, 2),
}


def architecture(name: str, n_genes: int = 25) -> tuple[ScviConfig, tuple[Covariate, ...]]:
    options, n_covariates = ARCHITECTURES[name]
    covariates = COVARIATES[:n_covariates]
    categories = tuple(c.width for c in covariates) or (0,)
    return ScviConfig(n_genes, n_latent=5, n_hidden=12, categories=categories, **options), covariates


def random_model(name: str, cells: Cells, dtype: torch.dtype = torch.float32) -> tuple[ScviModel, Any]:
    cfg, covariates = architecture(name, cells.n_genes)
    module = random_module(cfg)
    return ScviModel(cfg, module.state_dict(), cells.genes, covariates, dtype), module


@pytest.fixture
def cells() -> Cells:
    return random_cells()


@pytest.fixture
def make_cells() -> Callable[..., Cells]:
    return random_cells


@pytest.fixture
def make_model() -> Callable[..., tuple[ScviModel, Any]]:
    return random_model


@pytest.fixture
def make_module() -> Callable[..., Any]:
    return random_module


@pytest.fixture(params=list(ARCHITECTURES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)

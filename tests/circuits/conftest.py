"""Small networks of every architecture with random weights, and cells whose counts follow a label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.cells.cells import Cells
from cellglass.circuits.transcoders import Transcoders, fingerprint_of
from cellglass.dictionaries import CrossLayerConfig, CrossLayerTranscoder, TopK, TopKConfig
from cellglass.models.cell2sentence.model import Cell2SentenceModel
from cellglass.models.geneformer.files import Dictionaries, GeneformerConfig, weights_of
from cellglass.models.geneformer.model import GeneformerModel
from cellglass.models.scgpt.config import ScgptConfig
from cellglass.models.scgpt.model import ScgptModel
from cellglass.models.scgpt.net import ScgptNet

GENES, WIDTH, LAYERS = 30, 16, 2
ARCHITECTURES = ("gpt_neox", "gemma2", "scgpt", "geneformer")


def planted_cells(n: int = 40, seed: int = 0) -> Cells:
    """Cells of two kinds, each with its own high genes; cell 3 counts one gene."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 2
    rates = np.where(np.arange(GENES) % 2 == kind[:, None], 2.0, 0.4)
    counts = rng.poisson(rates).astype(np.float32)
    counts[3] = 0
    counts[3, 7] = 2
    counts[:, 0] += counts.sum(1) == 0
    genes = pd.DataFrame({"symbol": [f"GENE{i}" for i in range(GENES)]}, index=[f"ENSG{i:011d}" for i in range(GENES)])
    obs = pd.DataFrame({"type": np.where(kind, "B cell", "T cell")}, index=[f"cell{i}" for i in range(n)])
    return Cells(sp.csr_matrix(counts), genes, obs, source="planted cells")


def cell2sentence(cells: Cells, architecture: Any = "gpt_neox") -> Cell2SentenceModel:
    """A network far from its first weights, biases and norms included."""
    model = Cell2SentenceModel.fit(
        cells, layers=LAYERS, width=16, heads=2, epochs=0, labels="type", n_genes=12, vocabulary=300,
        architecture=architecture,
    )  # fmt: skip
    noise = torch.Generator().manual_seed(1)
    for parameter in model.net.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=noise) * 0.2)
    return model


def scgpt(cells: Cells, **options: Any) -> ScgptModel:
    """A network of random weights."""
    vocab = {token: i for i, token in enumerate([*cells.symbols, "<pad>", "<cls>", "<eoc>"])}
    sizes = {"n_tokens": len(vocab), "width": WIDTH, "n_layers": LAYERS, "n_heads": 4, "hidden": 12, **options}
    net = ScgptNet(ScgptConfig(**sizes, pad_id=vocab["<pad>"]))
    noise = torch.Generator().manual_seed(2)
    for tensor in net.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=noise) * 0.4)
    return ScgptModel(net.eval().requires_grad_(False), vocab)


def geneformer(cells: Cells) -> GeneformerModel:
    """A V2 network of random weights."""
    ids = [str(gene) for gene in cells.genes.index]
    tokens = {token: i for i, token in enumerate(["<pad>", "<mask>", "<cls>", "<eos>", *ids])}
    cfg = GeneformerConfig(len(tokens), WIDTH, LAYERS, 4, 2 * WIDTH, 40)
    noise = torch.Generator().manual_seed(3)
    tensors = {
        name: torch.randn(tensor.shape, generator=noise) * 0.3 + float("LayerNorm.weight" in name)
        for name, tensor in weights_of(cfg.new_net()).items()
    }
    return GeneformerModel(cfg, tensors, Dictionaries(tokens, dict.fromkeys(ids, 1.0)))


def model_of(name: str, cells: Cells) -> Any:
    """Return a model by the name of its architecture."""
    if name in ("gpt_neox", "gemma2"):
        return cell2sentence(cells, name)
    return {"scgpt": scgpt, "geneformer": geneformer}[name](cells)


def relu_maps(model: Any) -> list[tuple[torch.nn.Linear, torch.nn.Linear]]:
    """Return the two linear maps of every MLP of scGPT or Geneformer, with a ReLU between."""
    if model.kind == "scgpt":
        return [(layer.linear1, layer.linear2) for layer in model.net.transformer_encoder.layers]
    return [(layer.intermediate.dense, layer.output.dense) for layer in model.net.bert.encoder.layer]


@torch.no_grad()
def exact_transcoders(model: Any, means: torch.Tensor | None = None, *, crosslayer: bool = False) -> Transcoders:
    """Return transcoders that are the MLPs of scGPT or Geneformer: all latents of each may be active.

    With `means` (layers, width), as the mean outputs of training, which what they compute does not depend on.
    """
    maps = relu_maps(model)
    means = torch.zeros(len(maps), model.site("layers.0.mlp.in").width) if means is None else means
    hidden, width = maps[0][0].weight.shape
    if crosslayer:
        config = CrossLayerConfig(len(maps) * width, len(maps) * hidden, hidden, d_out=len(maps) * width,
                                  n_layers=len(maps))  # fmt: skip
        one = CrossLayerTranscoder(config)
        for i, (first, second) in enumerate(maps):
            own = slice(i * hidden, (i + 1) * hidden)
            one.encoder[own], one.encoder_bias[own] = first.weight, first.bias
            one.written(i)[:, :width] = second.weight.T
            one.bias[i * width : (i + 1) * width] = second.bias
        one.centre_out.copy_(means.flatten())
        one.bias.sub_(one.centre_out)
        made: tuple[Any, ...] = (one.freeze(),)
    else:
        made = ()
        for (first, second), mean in zip(maps, means, strict=True):
            single = TopK(TopKConfig(width, hidden, hidden, d_out=width))
            single.encoder.copy_(first.weight)
            single.encoder_bias.copy_(first.bias)
            single.decoder.copy_(second.weight.T)
            single.centre_out.copy_(mean)
            single.bias.copy_(second.bias - mean)
            made = (*made, single.freeze())
    return Transcoders(model.kind, fingerprint_of(model), len(maps), made)


@pytest.fixture(scope="session")
def make_cells() -> Callable[..., Cells]:
    return planted_cells


@pytest.fixture(scope="session")
def cells() -> Cells:
    return planted_cells()


@pytest.fixture(scope="session")
def make_model() -> Callable[[str, Cells], Any]:
    return model_of


@pytest.fixture(scope="session")
def make_exact() -> Callable[..., Transcoders]:
    return exact_transcoders


@pytest.fixture(scope="session")
def maps_of() -> Callable[[Any], list[tuple[torch.nn.Linear, torch.nn.Linear]]]:
    return relu_maps


@pytest.fixture(scope="session", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, cells: Cells) -> Any:
    return model_of(request.param, cells)


@pytest.fixture(scope="session")
def saved_model(cells: Cells, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Cell2Sentence on disk."""
    folder = tmp_path_factory.mktemp("model") / "c2s"
    cell2sentence(cells).save(folder)
    return folder

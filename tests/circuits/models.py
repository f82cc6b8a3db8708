"""One small model of each kind that circuits know, with drawn weights, cells for it, and drawn transcoders."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from cellglass.cells.cells import Cells
from cellglass.circuits.answers import frozen_cell, question
from cellglass.circuits.asked import Asked, ask
from cellglass.dictionaries import TopK
from cellglass.models.cell2sentence.model import Cell2SentenceModel
from cellglass.models.geneformer.files import Dictionaries, GeneformerConfig, weights_of
from cellglass.models.geneformer.model import GeneformerModel
from cellglass.models.scgpt.config import ScgptConfig
from cellglass.models.scgpt.model import ScgptModel
from cellglass.models.scgpt.net import ScgptNet
from cellglass.models.transformer.model import TransformerModel
from circuits.networks import transcoders

GENES, WIDTH, LATENTS, K = 12, 16, 32, 4
NAMES = ["CD79A", "CD3D", "LYZ", "NKG7", "MS4A1", "HLA-DRA", "GNLY", "S100A8", "B2M", "FTL", "IL7R", "CCL5"]
TARGETS = {
    "gpt_neox": ("label:B cell", "T cell"),
    "gemma2": ("gene:CD79A", "LYZ"),
    "scgpt": ("expression:CD79A", None),
    "geneformer": ("masked:CD79A", "LYZ"),
}


def cells_of(n: int = 6, seed: int = 0) -> Cells:
    """Return cells that count every gene but the last two or so; the first two genes always."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(3, (n, GENES)).astype(np.float32)
    counts[:, :3] += 1
    genes = pd.DataFrame({"symbol": NAMES}, index=pd.Index(NAMES, dtype=object))
    obs = pd.DataFrame({"type": ["B cell", "T cell"] * (n // 2)}, index=[f"c{i}" for i in range(n)])
    return Cells(sp.csr_matrix(counts), genes, obs)


def _redraw(net: Any) -> None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.25 if parameter.ndim > 1 else 0.1))


@cache
def model_of(kind: str) -> TransformerModel:
    """Return a small model."""
    if kind in ("gpt_neox", "gemma2"):
        made = Cell2SentenceModel.fit(
            cells_of(), layers=2, width=WIDTH, heads=2, epochs=0, labels="type", vocabulary=400, architecture=kind
        )
        _redraw(made.net)
        return made
    if kind == "scgpt":
        vocab = {name: i for i, name in enumerate([*NAMES, "<pad>", "<cls>", "<eoc>"])}
        cfg = ScgptConfig(n_tokens=len(vocab), width=WIDTH, hidden=24, n_layers=2, n_heads=2, pad_id=vocab["<pad>"])
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = ScgptNet(cfg)
        _redraw(net)
        return ScgptModel(net.eval().requires_grad_(False), vocab)
    tokens = {name: i for i, name in enumerate(["<pad>", "<mask>", "<cls>", "<eos>", *NAMES])}
    config = GeneformerConfig(len(tokens), WIDTH, 2, 2, 24, 40)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = config.new_net()
    _redraw(net)
    names = {name: name for name in NAMES}
    weights = {name: tensor.clone() for name, tensor in weights_of(net).items()}
    return GeneformerModel(config, weights, Dictionaries(tokens, dict.fromkeys(NAMES, 1.0), names, names))


@cache
def transcoders_of(kind: str, *, skip: bool = False) -> list[TopK]:
    """Return a drawn transcoder for each layer, with the statistics of the first cell."""
    model, cell = model_of(kind), cells_of()[:1]
    frozen = frozen_cell(model, question(model, model.align(cell), *TARGETS[kind]).tokens)
    return transcoders(frozen, LATENTS, K, skip=skip)


@cache
def asked_of(kind: str, *, skip: bool = False) -> Asked:
    """Return the first cell as it is asked about; whoever changes a part of it copies that first."""
    return ask(model_of(kind), cells_of()[:1], transcoders_of(kind, skip=skip), *TARGETS[kind])

"""Training of small scGPT networks on the user's cells, with the published objectives (Cui et al. 2024).

What a step is asked for is in ``loss.py``. Adam, a rate that rises over the first tenth of the steps and falls as
a cosine, and gradients cut at norm 1, as published. What differs: the genes' embeddings do not start at random but from
the cells' leading singular vectors (see ``transformer/gene_vectors.py``), since a few hundred cells are seen for
minutes; and there is no dropout by default: hidden values and drawn tokens do its work, and it takes half of the
time on a CPU.

Every epoch draws from the seed and its own number alone, so the state between two epochs is the weights, Adam's moments
and a count: one safetensors file, from which a killed run goes on to the same weights, bit for bit.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.checkpoint import digest_of, read_state, write_state
from cellglass.models.scgpt.binning import bin_values
from cellglass.models.scgpt.config import ScgptConfig
from cellglass.models.scgpt.files import CLS
from cellglass.models.scgpt.genes import genes_of, in_order, match_genes
from cellglass.models.scgpt.loss import Step, Training, draw, in_bins, losses, start_small, unit_of
from cellglass.models.scgpt.net import ScgptNet
from cellglass.models.scgpt.tokens import tokens_of
from cellglass.models.transformer.gene_vectors import gene_vectors
from cellglass.models.transformer.tokens import Ints, TokenLists
from cellglass.progress import Progress, silent
from cellglass.seeds import derive, generator
from cellglass.threads import threads

logger = logging.getLogger(__name__)

CHECKPOINT_EPOCHS = 2
MOST_STEPS = 720
"""Steps of a training whose epochs are not given: some minutes on a CPU."""
_SPECIALS = ("<pad>", "<cls>", "<eoc>")
_BETWEEN = "scGPT epochs"


def fit_weights(
    cells: Cells,
    *,
    layers: int = 4,
    width: int = 128,
    heads: int = 4,
    hidden: int | None = None,
    dropout: float = 0.0,
    n_bins: int = 51,
    max_length: int = 1200,
    seed: int = 0,
    device: str = "auto",
    checkpoint: Path | None = None,
    progress: Progress = silent,
    **training: Any,
) -> tuple[ScgptNet, dict[str, int]]:
    """Train a small scGPT whose vocabulary is the symbols of `cells`; same cells, settings and seed, same weights.

    Parameters
    ----------
    cells : Cells
        Raw counts. Genes with one symbol are summed.
    layers, width, heads : int
        Of the network; `width` is a multiple of `heads`.
    hidden : int, optional
        Width of the MLPs; `width` by default, as published.
    dropout : float
        While training.
    n_bins : int
        Bins of values, that of zero among them.
    max_length : int
        Tokens of a cell at most, when the fitted model reads it.
    seed : int
    device : str
        ``"auto"`` takes a GPU where torch has one.
    checkpoint : Path, optional
        A file in which the state of training is kept, so that a killed run goes on from there to the same weights.
    progress : Progress
    **training
        `epochs`, `batch`, `tokens`, `mask_ratio`, `cell_genes`, `learning_rate`: see `Training`. Without `epochs`,
        there are 8, or as many as `MOST_STEPS` steps allow: see `usual_epochs`.

    Returns
    -------
    the network, in evaluation mode on the CPU, and its vocabulary

    Raises
    ------
    InputError
        If a number cannot be, or no cell counts a gene.
    """
    how = _training(training, cells.n_cells)
    vocab = vocabulary(cells)
    cfg = ScgptConfig(
        n_tokens=len(vocab),
        width=width,
        n_layers=layers,
        n_heads=heads,
        hidden=width if hidden is None else hidden,
        pad_id=vocab["<pad>"],
        n_bins=n_bins,
        max_length=max_length,
        dropout=dropout,
    )
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    with threads(1), torch.random.fork_rng(devices=range(torch.cuda.device_count()) if where != "cpu" else []):
        torch.manual_seed(derive(seed, "scgpt", "weights"))
        net = ScgptNet(cfg)
        data = _read(cells, vocab, cfg)
        belongs = digest_of(data.counts, data.genes, ["scgpt", cfg.to_dict(), asdict(how), seed])
        start_small(net)
        _put_vectors(net, data, derive(seed, "scgpt", "vectors"))
        net.to(where)
        _train(net, data, how, seed, belongs, checkpoint, progress)
    net.to("cpu")
    in_bins(net.eval().requires_grad_(False))
    if not all(bool(torch.isfinite(tensor).all()) for tensor in net.state_dict().values()):
        raise RuntimeError(f"training scGPT on {cells.source} ended in weights that are not finite")
    return net, vocab


class _Data(NamedTuple):
    """The cells in the order of the vocabulary's genes.

    Attributes
    ----------
    counts, bins : scipy.sparse.csr_matrix, (n_cells, n_genes)
        Raw counts, and their bins.
    genes : list of str
    gene_ids : numpy.ndarray of int64, (n_genes,)
        The token of each gene.
    tokens : TokenLists
    """

    counts: sp.csr_matrix
    bins: sp.csr_matrix
    genes: list[str]
    gene_ids: Ints
    tokens: TokenLists


def _read(cells: Cells, vocab: Mapping[str, int], cfg: ScgptConfig) -> _Data:
    genes = genes_of(vocab)
    index = pd.Index(genes, dtype=object)
    counts = in_order(cells, match_genes(cells, index), pd.DataFrame({"symbol": genes}, index=index)).counts
    if not counts.nnz:
        raise InputError(f"{cells.source}: no cell counts a gene; nothing can be learnt from it")
    gene_ids = np.array([vocab[gene] for gene in genes], dtype=np.int64)
    tokens = tokens_of(
        counts, gene_ids, vocab[CLS], n_bins=cfg.n_bins, cls_value=float(cfg.pad_value), max_length=cfg.max_length
    )
    return _Data(counts, _bins(counts, cfg.n_bins), genes, gene_ids, tokens)


def _put_vectors(net: ScgptNet, data: _Data, seed: int) -> None:
    """Let genes that rise together begin with like embeddings: a normalisation follows them, so their size is free."""
    vectors = torch.from_numpy(gene_vectors(data.counts, np.ones(len(data.genes)), net.cfg.width, seed)).float()
    known = vectors.abs().sum(1) > 0
    table = net.encoder.embedding.weight
    with torch.no_grad():
        table[torch.from_numpy(data.gene_ids)[known]] = vectors[known].to(table.device)


def vocabulary(cells: Cells) -> dict[str, int]:
    """Return token -> id: the symbols of `cells` in their order, each once, then <pad>, <cls> and <eoc>."""
    tokens = [str(symbol) for symbol in pd.unique(pd.Series(cells.symbols)) if str(symbol) not in _SPECIALS]
    return {token: number for number, token in enumerate((*tokens, *_SPECIALS))}


def usual_epochs(n_cells: int, batch: int) -> int:
    """Return min(8, MOST_STEPS // steps of an epoch), and at least 1: more cells are passed over less often."""
    return max(1, min(Training.epochs, MOST_STEPS // max(1, -(-n_cells // batch))))


def _training(given: dict[str, Any], n_cells: int) -> Training:
    unknown = [name for name in given if name not in Training.__dataclass_fields__]
    if unknown:
        known = ", ".join(Training.__dataclass_fields__)
        raise InputError(f"scGPT training: there is no setting {unknown[0]!r}; the settings are: {known}")
    how = Training(**given)
    return how if "epochs" in given else replace(how, epochs=usual_epochs(n_cells, how.batch))


# -- steps -------------------------------------------------------------------------------------------------------------


def _train(
    net: ScgptNet,
    data: _Data,
    how: Training,
    seed: int,
    belongs: str,
    checkpoint: Path | None,
    progress: Progress,
) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=how.learning_rate, fused=True)
    device, n_cells = next(net.parameters()).device, len(data.tokens)
    steps, unit = -(-n_cells // how.batch), unit_of(net.cfg)
    start, weights = read_state(checkpoint, belongs, optimizer)
    if weights:
        net.load_state_dict(weights)
    progress(_BETWEEN, start, how.epochs)
    net.train()
    for epoch in range(start, how.epochs):
        torch.manual_seed(derive(seed, "scgpt", "dropout", epoch))
        rng = generator(seed, "scgpt", "epoch", epoch)
        for number, rows in enumerate(np.array_split(rng.permutation(n_cells), steps)):
            for group in optimizer.param_groups:
                group["lr"] = how.learning_rate * rate(epoch * steps + number, how.epochs * steps)
            given = draw(net.cfg, data.gene_ids, data.tokens, data.bins, rows, how, rng)
            step = Step(*(part.to(device) for part in given))
            optimizer.zero_grad(set_to_none=True)
            own, cell = losses(net, step, unit)
            torch.autograd.backward(own + cell)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        if checkpoint is not None and ((epoch + 1) % CHECKPOINT_EPOCHS == 0 or epoch + 1 == how.epochs):
            write_state(checkpoint, belongs, epoch + 1, net.state_dict(), optimizer)
        progress(_BETWEEN, epoch + 1, how.epochs)


def rate(step: int, steps: int) -> float:
    """Return the share of the learning rate at `step` of `steps`: a rise over the first tenth, then half a cosine."""
    rise = max(1, steps // 10)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _bins(counts: sp.csr_matrix, n_bins: int) -> sp.csr_matrix:
    values = bin_values(counts.data, counts.indptr, n_bins).astype(np.float32)
    return sp.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)

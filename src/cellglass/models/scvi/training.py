"""Training of the scVI network: scvi-tools' module and loss, and a short loop of our own in place of its trainer.

Why our own loop: a run that was killed must go on to the same weights, bit for bit. scvi-tools trains through
Lightning, whose checkpoints are pickles, leave out the random state and the order of cells, and which writes folders
where it is run. Here every epoch draws its order and its noise from the seed and the epoch's number alone, so the
state between two epochs is the weights, Adam's moments and a count: one safetensors file. All settings are those that
scvi-tools publishes: Adam with learning rate 1e-3, eps 0.01 and weight decay 1e-6; mini-batches of 128; 90 % of the
cells; the KL term's weight grows as epoch / 400.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.checkpoint import digest_of, read_state, write_state
from cellglass.models.scvi.covariates import Covariate
from cellglass.models.scvi.loss import add_gradients
from cellglass.models.scvi.net import ScviConfig
from cellglass.progress import Progress, silent
from cellglass.seeds import derive, generator
from cellglass.threads import threads

logger = logging.getLogger(__name__)

BATCH_SIZE = 128
TRAIN_SHARE = 0.9
KL_WARM_UP_EPOCHS = 400
CHECKPOINT_EPOCHS = 5
_FEWEST = 3  # batch norm needs more than one cell; scvi-tools leaves out mini-batches below three too


def fit(
    cells: Cells,
    cfg: ScviConfig,
    covariates: Sequence[Covariate] = (),
    *,
    epochs: int = 100,
    seed: int = 0,
    device: str = "auto",
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> dict[str, torch.Tensor]:
    """Train scvi-tools' module on `cells` and return its state dict, on the CPU.

    Global random state and the number of threads are left as they were.
    """
    _check(cells, epochs)
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    codes = np.stack([c.codes(cells) for c in covariates], axis=1) if covariates else np.zeros((cells.n_cells, 1), int)
    chosen = generator(seed, "scvi", "split").permutation(cells.n_cells)
    chosen = np.sort(chosen[: max(_FEWEST, int(np.ceil(TRAIN_SHARE * cells.n_cells)))])
    belongs = digest_of(cells.counts, cells.genes.index, ["scvi", cfg.to_dict(), seed, epochs], codes)
    with threads(1), torch.random.fork_rng(devices=range(torch.cuda.device_count()) if where != "cpu" else []):
        torch.manual_seed(derive(seed, "scvi", "weights"))
        module = new_module(cfg).to(where)
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, eps=0.01, weight_decay=1e-6, fused=True)
        start, weights = read_state(checkpoint, belongs, optimizer)
        if weights:
            module.load_state_dict(weights)
        progress("scVI epochs", start, epochs)
        for epoch in range(start, epochs):
            _epoch(module, optimizer, cells, chosen, codes, seed, epoch)
            if checkpoint is not None and ((epoch + 1) % CHECKPOINT_EPOCHS == 0 or epoch + 1 == epochs):
                write_state(checkpoint, belongs, epoch + 1, module.state_dict(), optimizer)
            progress("scVI epochs", epoch + 1, epochs)
    tensors = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise RuntimeError(f"training scVI on {cells.source} ended in weights that are not finite")
    return tensors


def new_module(cfg: ScviConfig) -> Any:
    """Return scvi-tools' VAE with fresh weights from torch's global generator."""
    with warnings.catch_warnings():
        # What other packages say about each other while scvi-tools is imported is nothing that a user can act on.
        warnings.simplefilter("ignore")
        from scvi.module import VAE
    return VAE(
        n_input=cfg.n_genes,
        n_batch=cfg.categories[0] or 1,
        n_cats_per_cov=[n or 1 for n in cfg.categories[1:]] or None,
        n_hidden=cfg.n_hidden,
        n_latent=cfg.n_latent,
        n_layers=cfg.n_layers,
        dropout_rate=cfg.dropout_rate,
        dispersion=cfg.dispersion,
        gene_likelihood=cfg.gene_likelihood,
        encode_covariates=cfg.encode_covariates,
        deeply_inject_covariates=cfg.deeply_inject_covariates,
        use_batch_norm=cfg.use_batch_norm,
        use_layer_norm=cfg.use_layer_norm,
        use_observed_lib_size=True,
    )


def _epoch(
    module: Any,
    optimizer: torch.optim.Optimizer,
    cells: Cells,
    chosen: np.ndarray[Any, Any],
    codes: np.ndarray[Any, Any],
    seed: int,
    epoch: int,
) -> None:
    torch.manual_seed(derive(seed, "scvi", "noise", epoch))
    order = generator(seed, "scvi", "order", epoch).permutation(chosen)
    weight = min(1.0, epoch / KL_WARM_UP_EPOCHS)
    module.train()
    for rows in _minibatches(order):
        tensors = _tensors(cells, rows, codes, module.device)
        optimizer.zero_grad(set_to_none=True)
        add_gradients(module, tensors, weight)
        optimizer.step()


def _minibatches(order: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield consecutive pieces of 128; a rest of one or two cells goes with the piece before it."""
    last = max(1, len(order) // BATCH_SIZE + (len(order) % BATCH_SIZE >= _FEWEST))
    for i in range(last):
        yield order[i * BATCH_SIZE : (i + 1) * BATCH_SIZE if i + 1 < last else None]


def _tensors(
    cells: Cells, rows: np.ndarray[Any, Any], codes: np.ndarray[Any, Any], device: torch.device
) -> dict[str, torch.Tensor]:
    rows = np.sort(rows)  # memory-mapped rows are read front to back
    dense = torch.from_numpy(cells.counts[rows].toarray()).to(device)
    tensors = {
        "X": dense,
        "batch": torch.from_numpy(codes[rows, :1]).to(device),
        "labels": torch.zeros(len(rows), 1, dtype=torch.int64, device=device),
    }
    if codes.shape[1] > 1:
        tensors["extra_categorical_covs"] = torch.from_numpy(codes[rows, 1:]).to(device)
    return tensors


def _check(cells: Cells, epochs: int) -> None:
    if epochs < 1:
        raise InputError(f"scVI needs at least 1 epoch, not {epochs}")
    if cells.n_cells < _FEWEST:
        raise InputError(f"{cells.source}: {cells.n_cells} cells are too few to fit scVI; it needs at least {_FEWEST}")
    counted = np.diff(cells.counts.indptr) > 0
    if not counted.all():
        first = int(np.argmin(counted))
        raise InputError(
            f"{cells.source}: {int((~counted).sum())} cells have no counts in these genes (the first is "
            f"{cells.obs.index[first]!r}), and scVI cannot scale them; remove those cells"
        )

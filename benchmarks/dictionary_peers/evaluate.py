"""One evaluator for all libraries: held-out quality of a dictionary in the common form that `protocol` describes.

It trains nothing and times nothing. Rows are taken in blocks, so memory does not grow with their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from protocol import Rows, Weights
from safetensors.torch import load_file

_BLOCK = 2048


@dataclass(frozen=True)
class Quality:
    """What a dictionary does on held-out rows.

    Attributes
    ----------
    variance_explained : float
        1 - sum |x - x_hat|^2 / sum |x - mean of the held-out x|^2.
    l0 : float
        Active latents in the mean row.
    dead_share : float
        Share of the latents that are active in no held-out row.
    recovered : float or None
        Mean over the planted directions of the largest cosine with a decoder row; None where nothing was planted.
    check : float
        Largest relative difference |x_hat - library's own x_hat| / |library's own x_hat| of a few rows.
    """

    variance_explained: float
    l0: float
    dead_share: float
    recovered: float | None
    check: float


def encode(weights: Weights, x: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values and indices of the active latents: relu of the k largest of (x - before) E^T + encoder_bias."""
    pre = torch.addmm(weights["encoder_bias"], x - weights["before"], weights["encoder"].T)
    values, indices = pre.topk(k, dim=1)
    return values.relu(), indices


def decode(weights: Weights, values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return f D + bias."""
    bags = torch.nn.functional.embedding_bag(indices, weights["decoder"], per_sample_weights=values, mode="sum")
    return bags + weights["bias"]


def quality(snapshot: Path, vectors: Path, k: int) -> Quality:
    """Measure the dictionary in `snapshot` on the held-out rows of the folder `vectors`."""
    weights = load_file(snapshot)
    held = Rows(vectors / "held.npy")
    total, square, error = torch.zeros(weights["decoder"].shape[1], dtype=torch.float64), 0.0, 0.0
    seen = torch.zeros(len(weights["encoder"]), dtype=torch.int64)
    for start in range(0, len(held), _BLOCK):
        x = held.read(start, _BLOCK)
        values, indices = encode(weights, x, k)
        error += float((x - decode(weights, values, indices)).double().square().sum())
        square += float(x.double().square().sum())
        total += x.double().sum(dim=0)
        seen += torch.bincount(indices[values > 0], minlength=len(seen))
    variance = square - float(total.square().sum()) / len(held)
    return Quality(
        variance_explained=1 - error / variance,
        l0=float(seen.sum()) / len(held),
        dead_share=float((seen == 0).double().mean()),
        recovered=recovered(weights["decoder"], vectors),
        check=_check(weights, k),
    )


def recovered(decoder: torch.Tensor, vectors: Path) -> float | None:
    """Return the mean over planted directions of the largest cosine with a row of `decoder`; None without any."""
    path = vectors / "planted.npy"
    if not path.is_file():
        return None
    rows = torch.nn.functional.normalize(decoder, dim=1)
    planted = torch.from_numpy(np.load(path))
    return float(torch.cat([(block @ rows.T).amax(dim=1) for block in planted.split(_BLOCK)]).mean())


def _check(weights: Weights, k: int) -> float:
    """Return how far the common form is from the library's own reconstruction."""
    found = decode(weights, *encode(weights, weights["check_x"], k))
    return float(((found - weights["check_x_hat"]).norm(dim=1) / weights["check_x_hat"].norm(dim=1)).max())

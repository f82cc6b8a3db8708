"""sparsify's side of the exchange: loads what cellglass wrote, and trains, draws and saves dictionaries of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from answers import Answer, Desk, main
from sparsify import SparseCoder, SparseCoderConfig

M, K = 96, 6
CASES = {
    "autoencoder, trained": ({}, True),
    "transcoder, trained": ({"transcode": True}, True),
    "autoencoder, drawn": ({}, False),
    "transcoder, drawn": ({"transcode": True}, False),
    "transcoder with a skip connection, drawn": ({"transcode": True, "skip_connection": True}, False),
    "autoencoder with a skip connection, drawn": ({"skip_connection": True}, False),
}


def work(desk: Desk) -> None:
    """Answer for all of cellglass's dictionaries, then for all of sparsify's."""
    for folder in desk.ours():
        desk.answer(folder, computed(folder, desk.x))
    for name, (options, trains) in CASES.items():
        coder = SparseCoder(desk.x.shape[1], SparseCoderConfig(num_latents=M, k=K, **options))
        (train if trains else draw)(coder, desk.x)
        coder.save_to_disk(desk.theirs(name))
        desk.answer(desk.theirs(name), computed(desk.theirs(name), desk.x))


@torch.no_grad()
def computed(folder: Path, x: torch.Tensor) -> Answer:
    """Return latent activations and outputs of a saved dictionary, by sparsify's own loader."""
    coder = SparseCoder.load_from_disk(folder)
    found = coder(x)
    codes = torch.zeros(len(x), coder.num_latents).scatter(1, found.latent_indices, found.latent_acts)
    return codes, found.sae_out


def train(coder: SparseCoder, x: torch.Tensor, steps: int = 150) -> None:
    """Train on `x` with sparsify's own loss; a transcoder learns to write the input's negative."""
    y = -x if coder.cfg.transcode else x
    coder.b_dec.data = y.mean(0)
    optimiser = torch.optim.Adam(coder.parameters(), lr=5e-3)
    for _ in range(steps):
        rows = torch.randint(len(x), (256,))
        optimiser.zero_grad()
        coder(x[rows], y[rows]).fvu.backward()
        optimiser.step()
        if coder.cfg.normalize_decoder and not coder.cfg.transcode:
            coder.set_decoder_norm_to_unit_norm()


def draw(coder: SparseCoder, x: torch.Tensor) -> None:
    """Fill the dictionary with random weights of a useful size."""
    for weight in coder.parameters():
        weight.data = torch.randn(weight.shape) * (0.5 if weight.ndim == 1 else x.shape[1] ** -0.5)


if __name__ == "__main__":
    main(work)

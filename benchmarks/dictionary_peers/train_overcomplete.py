"""Trains with overcomplete 0.3.0: its `train_sae` on a `TopKSAE`, fed with our batches.

Settings are those of the example in its README: Adam with constant learning rate 5e-4, mean squared error, no auxiliary
loss, and the defaults of `train_sae` (gradients clipped to norm 1) and of `TopKSAE` (linear encoder, decoder rows
projected to norm 1, Xavier initialisation). Its epoch statistics are turned off (``monitoring=0``), which only saves it
time. The package's ``__init__`` imports image models and plotting that training does not need and whose requirements
are not installed; `overcomplete.sae` is imported without it.
"""

from __future__ import annotations

from typing import Any

import torch
from protocol import Feed, Job, Weights, main, without_init


def train(job: Job, feed: Feed) -> dict[str, Any]:
    """Train a `TopKSAE`."""
    without_init("overcomplete")
    from overcomplete.sae import TopKSAE, train_sae

    sae = TopKSAE(job.d, nb_concepts=job.n_latents, top_k=job.k, device=job.device)

    def weights() -> Weights:
        x = feed.check_rows()
        linear = sae.encoder.final_block[0]
        with torch.no_grad():
            return {
                "encoder": linear.weight,
                "encoder_bias": linear.bias,
                "before": torch.zeros(job.d),
                "decoder": sae.get_dictionary(),
                "bias": torch.zeros(job.d),
                "check_x": x,
                "check_x_hat": sae(x)[2],
            }

    def criterion(x: torch.Tensor, x_hat: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return (x - x_hat).square().mean()

    feed.weights = weights
    rate = 5e-4
    optimiser = torch.optim.Adam(sae.parameters(), lr=rate)
    train_sae(sae, feed, criterion, optimiser, nb_epochs=1, monitoring=0, device=job.device)
    return {"optimiser": "Adam", "learning_rate": rate}


if __name__ == "__main__":
    main(train)

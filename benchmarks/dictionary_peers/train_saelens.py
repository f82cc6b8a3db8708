"""Trains with SAELens (sae-lens 6.54.12): its `SAETrainer.fit` on a `TopKTrainingSAE`, fed with our batches.

The documentation's page on extending SAELens drives `SAETrainer` with an iterator of activations, as is done here.
Settings are the defaults of `TopKTrainingSAEConfig` and `LanguageModelSAERunnerConfig`: Adam (0.9, 0.999) with constant
learning rate 3e-4 without warm-up, gradients clipped to norm 1, decoder rows of initial norm 0.1 with the encoder as
their transpose, activations rescaled by decoder norm, auxiliary loss with coefficient 1 for latents silent for 1,000
steps (more than are run here), no normalisation of activations, float32. ``use_sparse_activations`` stays off, as is
its default: on a CPU the backward pass then fails (no view of a sparse tensor in torch 2.13).
"""

from __future__ import annotations

from typing import Any

import torch
from protocol import Feed, Job, Weights, main


def train(job: Job, feed: Feed) -> dict[str, Any]:
    """Train a `TopKTrainingSAE`."""
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=job.d, d_sae=job.n_latents, k=job.k, device=job.device))

    def weights() -> Weights:
        x = feed.check_rows()
        with torch.no_grad():
            norm = sae.W_dec.norm(dim=1)
            return {
                "encoder": (sae.W_enc * norm).T,
                "encoder_bias": sae.b_enc * norm,
                "before": sae.b_dec,
                "decoder": sae.W_dec / norm[:, None],
                "bias": sae.b_dec,
                "check_x": x,
                "check_x_hat": sae(x),
            }

    feed.weights = weights
    rate = 3e-4
    config = SAETrainerConfig(
        total_training_samples=job.steps * job.batch,
        train_batch_size_samples=job.batch,
        lr=rate,
        lr_end=rate / 10,
        device=job.device,
    )
    SAETrainer(config, sae, iter(feed)).fit()
    return {"optimiser": "Adam", "learning_rate": rate}


if __name__ == "__main__":
    main(train)

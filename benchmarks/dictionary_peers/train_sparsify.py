"""Trains with EleutherAI's sparsify (eai-sparsify 1.3.3).

Its `Trainer` wants a language model and a data set of tokens, so this drives the layer below: its `SparseCoder` with
the fused encoder and embedding-bag decoder, and the optimiser that `Trainer` makes with the defaults of `TrainConfig`:
signum without a schedule (`SignSGD` in `ScheduleFreeWrapper`, momentum 0.95) at 5e-3 / sqrt(latents / 2^14), loss FVU,
no auxiliary loss (`auxk_alpha` 0), no gradient clipping, decoder rows of norm 1, decoder bias set to the mean of the
first batch. The order within a step is that of ``Trainer.fit``. Weights are read in the optimiser's eval mode, as its
checkpoints are.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from protocol import Feed, Job, Weights, main


def train(job: Job, feed: Feed) -> dict[str, Any]:
    """Train a `SparseCoder`."""
    if job.device == "cpu":
        os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    from schedulefree import ScheduleFreeWrapper
    from sparsify import SparseCoder, SparseCoderConfig, TrainConfig
    from sparsify.sign_sgd import SignSGD

    torch.set_float32_matmul_precision("high")  # as `Trainer.fit` does
    config = SparseCoderConfig(num_latents=job.n_latents, k=job.k)
    defaults = TrainConfig(config)
    coder = SparseCoder(job.d, config, job.device, dtype=torch.float32)
    rate = 5e-3 / (coder.num_latents / 2**14) ** 0.5
    optimiser = ScheduleFreeWrapper(SignSGD([{"params": coder.parameters(), "lr": rate}]), momentum=0.95)
    optimiser.train()
    silent_for = torch.zeros(coder.num_latents, dtype=torch.long, device=job.device)

    def weights() -> Weights:
        optimiser.eval()
        x = feed.check_rows()
        with torch.no_grad():
            found = {
                "encoder": coder.encoder.weight.clone(),
                "encoder_bias": coder.encoder.bias.clone(),
                "before": coder.b_dec.clone(),
                "decoder": coder.W_dec.clone(),
                "bias": coder.b_dec.clone(),
                "check_x": x,
                "check_x_hat": coder(x).sae_out,
            }
        optimiser.train()
        return found

    feed.weights = weights
    for step, x in enumerate(feed):
        if step == 0:
            coder.b_dec.data = x.mean(0)
        coder.set_decoder_norm_to_unit_norm()
        out = coder(x, dead_mask=None, total_variance=(x - x.mean(0)).pow(2).sum())
        (out.fvu + defaults.auxk_alpha * out.auxk_loss).backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():
            fired = torch.zeros_like(silent_for, dtype=torch.bool)
            fired[out.latent_indices.flatten()] = True
            silent_for += len(x)
            silent_for[fired] = 0
    return {"optimiser": "schedule-free signum", "learning_rate": rate, "auxk_alpha": defaults.auxk_alpha}


if __name__ == "__main__":
    main(train)

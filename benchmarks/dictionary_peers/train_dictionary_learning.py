"""Trains with dictionary_learning 0.1.0: the `update` of its `TopKTrainer`, called for each batch as `trainSAE` does.

Settings are the defaults of `TopKTrainer`: Adam (0.9, 0.999) with learning rate 2e-4 / sqrt(latents / 2^14), auxiliary
loss 1/32 for latents silent for 10 million vectors (more than are seen here), gradients clipped to norm 1 once the part
along the decoder is out, decoder rows of norm 1, decoder bias set to the geometric median of the first batch; and,
as the authors' demonstration has them, vectors scaled to mean square norm 1 (over the first 101 batches, as its
`get_norm_factor` takes it) and a linear decay over the last fifth of the steps. The default warm-up of 1,000 steps must
be fewer than the steps in all; where it is not, a twentieth of the steps is taken. The package's ``__init__`` imports
nnsight, which training does not need and which is not installed; the trainers are imported without it.
"""

from __future__ import annotations

from typing import Any

import torch
from protocol import Feed, Job, Weights, main, without_init


def train(job: Job, feed: Feed) -> dict[str, Any]:
    """Train an `AutoEncoderTopK`."""
    without_init("dictionary_learning")
    from dictionary_learning.trainers.top_k import TopKTrainer

    warmup = 1000 if job.steps > 5000 else max(1, job.steps // 20)
    trainer = TopKTrainer(
        steps=job.steps,
        activation_dim=job.d,
        dict_size=job.n_latents,
        k=job.k,
        layer=0,
        lm_name="vectors",
        warmup_steps=warmup,
        decay_start=max(warmup + 1, int(0.8 * job.steps)),
        seed=job.seed,
        device=job.device,
    )
    ae = trainer.ae
    squares = [float(x.square().sum(dim=1).mean()) for x in feed.first(101)]
    norm = (sum(squares) / len(squares)) ** 0.5

    def weights() -> Weights:
        x = feed.check_rows()
        with torch.no_grad():
            return {
                "encoder": ae.encoder.weight / norm,
                "encoder_bias": ae.encoder.bias,
                "before": ae.b_dec * norm,
                "decoder": ae.decoder.weight.T * norm,
                "bias": ae.b_dec * norm,
                "check_x": x,
                "check_x_hat": ae(x / norm) * norm,
            }

    feed.weights = weights
    for step, x in enumerate(feed):
        x /= norm
        trainer.update(step, x)
    return {"optimiser": "Adam", "learning_rate": trainer.lr, "warmup_steps": warmup, "norm_factor": norm}


if __name__ == "__main__":
    main(train)

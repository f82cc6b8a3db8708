"""Trains with cellglass itself: `cellglass.dictionaries.train` on a `TopK`, fed with the same batches as a stream.

Settings are the defaults of `TrainConfig`; all steps are taken (`patience` out of reach), as every library here does.
The first rows of the stream are held out by `train` for its looks at the error, so the vectors seen begin after them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from protocol import Feed, Job, Weights, main


def train_ours(job: Job, feed: Feed) -> dict[str, Any]:
    """Train a `TopK`."""
    from cellglass.dictionaries import TopK, TopKConfig, TrainConfig
    from cellglass.dictionaries import train as train_dictionary

    dictionary = TopK(TopKConfig(job.d, job.n_latents, k=job.k))

    def batches(_: int) -> Iterator[torch.Tensor]:
        for number in range(job.steps):
            yield feed.batch(number)

    def weights() -> Weights:
        x = feed.check_rows()
        with torch.no_grad():
            offset = dictionary.centre + dictionary.scale * dictionary.bias
            return {
                "encoder": dictionary.encoder / dictionary.scale,
                "encoder_bias": dictionary.encoder_bias,
                "before": offset,
                "decoder": dictionary.decoder * dictionary.scale,
                "bias": offset,
                "check_x": x,
                "check_x_hat": dictionary.decode(dictionary.encode(x)),
            }

    feed.weights = weights
    config = TrainConfig(
        batch_size=job.batch, steps=job.steps, patience=job.steps + 1, threads=job.threads, device=job.device
    )
    dictionary.encode(feed.check_rows())  # loads what the library imports late, as the others did on import
    feed.start()
    train_dictionary(dictionary, batches, config, seed=job.seed, progress=lambda _, step, __: feed.done(step))
    return asdict(config)


if __name__ == "__main__":
    main(train_ours)

"""Trains any `SparseDictionary`: draws, warm-up, constant rate, early stop, cool-down, best weights kept.

One call is one training, on the processor; the same rows, config and seed give the same weights bit for bit on one
machine with the same number of threads. It knows nothing of what kinds there are, nor of what the rows mean.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch

from cellglass.activations.rows import Ints, Rows, as_rows
from cellglass.dictionaries.losses import auxiliary_loss, reconstruction_losses
from cellglass.dictionaries.sparse import SparseDictionary
from cellglass.errors import InputError
from cellglass.progress import Progress, silent
from cellglass.seeds import derive, generator
from cellglass.threads import threads

D = TypeVar("D", bound=SparseDictionary)

logger = logging.getLogger(__name__)

_READ = 8192
_LATENTS_OF_RATE = 128


@dataclass(frozen=True)
class TrainConfig:
    """How a dictionary is trained.

    Attributes
    ----------
    batch_size : int
        Rows in a step; at most a quarter of the rows are taken at once.
    steps : int
        Steps at most, with the cool-down.
    learning_rate : float
        Adam's rate for 128 latents; for m latents it is multiplied by sqrt(128 / m).
    warmup, cooldown : float
        Shares of `steps` in which the rate grows from 0, and falls to 0.
    draw : bool
        Train on draws from the posterior, where the rows have its spread.
    aux_weight : float
        Weight of the loss that revives dead latents; 0 turns it off.
    aux_k : int
        Dead latents that may answer in one row.
    dead_after : int
        A latent is dead once it was not active in this many rows.
    check_every : int
        Steps between looks at the held-out rows.
    patience : int
        Looks without an improvement by 0.1 % after which the cool-down begins early.
    threads : int
        Threads of torch; one is fastest for sites of a few dozen dimensions.
    """

    batch_size: int = 512
    steps: int = 800
    learning_rate: float = 4e-3
    warmup: float = 0.05
    cooldown: float = 0.3
    draw: bool = True
    aux_weight: float = 1 / 32
    aux_k: int = 32
    dead_after: int = 16_384
    check_every: int = 40
    patience: int = 8
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "aux_k", "dead_after", "check_every", "patience", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate is {self.learning_rate}; it must be above 0")
        if self.aux_weight < 0:
            raise InputError(f"aux_weight is {self.aux_weight}; it must be 0 or more")
        if not (self.warmup >= 0 and self.cooldown >= 0 and self.warmup + self.cooldown <= 1):
            raise InputError(
                f"warmup {self.warmup} and cooldown {self.cooldown} must be shares that add up to at most 1"
            )


def train(
    dictionary: D,
    x: Rows | torch.Tensor | np.ndarray[Any, Any],
    config: TrainConfig | None = None,
    *,
    rows_train: Ints | Sequence[int] | None = None,
    rows_valid: Ints | Sequence[int] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> D:
    """Train a new `dictionary` on `x` and return it, frozen; its weights are set from `seed` and the data.

    Parameters
    ----------
    dictionary
        What to train; what it held is overwritten.
    x
        Rows of a store (``store.rows("z")``), or a tensor (rows, width).
    config
        How; None means `TrainConfig`'s defaults.
    rows_train, rows_valid
        Rows to learn from and rows to hold out. None for both: a tenth, drawn with `seed`, is held out. None for one:
        all the others.
    seed
        Of the first weights, the order of rows and the draws.
    progress
        Hears the steps.
    """
    config = config or TrainConfig()
    rows = as_rows(x)
    if rows.width != dictionary.d_in:
        raise InputError(f"the activations have width {rows.width}, but the dictionary reads width {dictionary.d_in}")
    learn, held = split_rows(rows, rows_train, rows_valid, seed)
    with threads(config.threads):
        _initialise(dictionary, rows, learn, seed)
        _Training(dictionary, rows, learn, held, config, seed).run(progress)
    return dictionary.freeze()


def split_rows(
    rows: Rows, learn: Ints | Sequence[int] | None, held: Ints | Sequence[int] | None, seed: int
) -> tuple[Ints, Ints]:
    """Return rows to learn from and rows to hold out; see `train`."""
    if learn is None and held is None:
        order = generator(seed, "held-out rows").permutation(rows.n_rows)
        count = max(1, rows.n_rows // 10)
        held, learn = np.sort(order[:count]), np.sort(order[count:])
    elif learn is None:
        learn = np.setdiff1d(np.arange(rows.n_rows), rows.positions(held))
    elif held is None:
        held = np.setdiff1d(np.arange(rows.n_rows), rows.positions(learn))
    train_rows, valid_rows = rows.positions(learn), rows.positions(held)
    if len(train_rows) < 2 or len(valid_rows) < 1:
        raise InputError(
            f"{len(train_rows)} rows to learn from and {len(valid_rows)} held out are too few; capture more cells"
        )
    return train_rows, valid_rows


def mean_and_scale(rows: Rows, chosen: Ints) -> tuple[torch.Tensor, float]:
    """Return the mean row and the root mean square deviation from it per dimension, in two passes."""
    total = torch.zeros(rows.width, dtype=torch.float64)
    for batch in rows.batches(batch_size=_READ, rows=chosen, shuffle=False):
        total += batch.double().sum(dim=0)
    mean = total / len(chosen)
    square = 0.0
    for batch in rows.batches(batch_size=_READ, rows=chosen, shuffle=False):
        square += float((batch.double() - mean).square().sum())
    return mean.float(), float((square / (len(chosen) * rows.width)) ** 0.5)


@torch.no_grad()
def _initialise(dictionary: SparseDictionary, rows: Rows, learn: Ints, seed: int) -> None:
    """Set the stored statistics from the data, random unit rows in the decoder, and the encoder to their transpose."""
    mean, scale = mean_and_scale(rows, learn)
    if not scale > 0:
        raise InputError("all activations are equal, so there is nothing to learn; look at the site or the cells")
    noise = torch.Generator().manual_seed(derive(seed, "first weights"))
    dictionary.requires_grad_(True).train()
    dictionary.centre.copy_(mean)
    dictionary.scale.fill_(scale)
    dictionary.decoder.copy_(torch.randn(dictionary.decoder.shape, generator=noise))
    dictionary.normalise_decoder()
    dictionary.encoder.copy_(dictionary.decoder)
    dictionary.encoder_bias.zero_()
    dictionary.bias.zero_()


class _Training:
    """The state of one training: optimiser, which latents are dead, the best weights so far."""

    def __init__(
        self, dictionary: SparseDictionary, rows: Rows, learn: Ints, held: Ints, config: TrainConfig, seed: int
    ) -> None:
        batch = min(config.batch_size, max(1, len(learn) // 4))
        self.dictionary, self.config = (
            dictionary,
            replace(config, batch_size=batch, draw=config.draw and rows.has_spread),
        )
        self.batches = _endless(rows, learn, self.config, seed)
        some = generator(seed, "held-out sample").permutation(held)[:_READ]
        self.held = dictionary.normalise(rows.read(np.sort(some)))
        self.rate = config.learning_rate * (_LATENTS_OF_RATE / dictionary.n_latents) ** 0.5
        self.optimiser = torch.optim.Adam(dictionary.parameters(), lr=self.rate, fused=True)
        self.silent_for = torch.zeros(dictionary.n_latents)
        self.best, self.best_error, self.stale = dictionary.state_dict(), float("inf"), 0

    def run(self, progress: Progress) -> None:
        """Take all steps and leave the best weights in the dictionary."""
        config = self.config
        cool = max(1, round(config.cooldown * config.steps))
        end = config.steps
        step = 0
        while step < end:
            rate = min(1.0, (step + 1) / max(1.0, config.warmup * config.steps), (end - step) / cool)
            self._step(next(self.batches), rate * self.rate)
            step += 1
            if step % config.check_every == 0 or step == end:
                self._look()
                if self.stale >= config.patience and step < end - cool:
                    end = step + cool
                    logger.info(
                        "no improvement on held-out rows since %d looks: the last %d steps begin", self.stale, cool
                    )
            progress("train dictionary", step, end)
        self.dictionary.load_state_dict(self.best)
        logger.info("trained %d steps, held-out error %.4f", step, self.best_error)

    def _step(self, x: torch.Tensor, rate: float) -> None:
        dictionary, config = self.dictionary, self.config
        u = dictionary.normalise(x)
        pre = dictionary.scaled_preactivations(u)
        losses = reconstruction_losses(dictionary, u, pre)
        loss = losses.reconstruction
        dead = torch.nonzero(self.silent_for >= config.dead_after)[:, 0]
        if config.aux_weight > 0 and len(dead):
            loss = loss + config.aux_weight * auxiliary_loss(dictionary, pre, losses.residual, dead, config.aux_k)
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives Tensor.backward no types
        self._stay_on_sphere()
        self.optimiser.step()
        dictionary.normalise_decoder()
        self.silent_for += len(x)
        self.silent_for[losses.codes.indices[losses.codes.values > 0]] = 0

    @torch.no_grad()
    def _stay_on_sphere(self) -> None:
        """Take out of the decoder's gradient what would only change the rows' norms."""
        decoder = self.dictionary.decoder
        if decoder.grad is not None:
            decoder.grad -= (decoder.grad * decoder).sum(dim=1, keepdim=True) * decoder

    @torch.no_grad()
    def _look(self) -> None:
        """Measure the held-out rows and keep the weights if they are the best so far."""
        pre = self.dictionary.scaled_preactivations(self.held)
        error = float(reconstruction_losses(self.dictionary, self.held, pre).reconstruction)
        self.stale = 0 if error < 0.999 * self.best_error else self.stale + 1
        if error < self.best_error:
            self.best_error = error
            self.best = {name: value.clone() for name, value in self.dictionary.state_dict().items()}


def _endless(rows: Rows, learn: Ints, config: TrainConfig, seed: int) -> Iterator[torch.Tensor]:
    """Yield shuffled batches, epoch after epoch."""
    epoch = 0
    while True:
        yield from rows.batches(
            batch_size=config.batch_size, rows=learn, seed=seed, epoch=epoch, draw=config.draw, drop_last=True
        )
        epoch += 1

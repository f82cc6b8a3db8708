"""One training: its state, a step, a look at the held-out rows. What the steps are given is decided in ``train.py``.

A step: the encoder's dense product and the choice of latents, block by block; the losses and their gradients through
sparse products; the part of the decoder's gradient along its rows taken out; clipping; Adam; rows back to norm 1.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from cellglass.dictionaries.sparse import SparseDictionary
from cellglass.dictionaries.sparse_ops.selection import LargestOfRow, Rule
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.dictionaries.training.parallel import Parallel
from cellglass.dictionaries.training.revival import auxiliary_loss
from cellglass.errors import InputError

logger = logging.getLogger(__name__)

_DEAD_BATCHES = 32


class Training:
    """The state of one training.

    Parameters
    ----------
    dictionary
        What is trained; on its device, with its first weights set.
    config
        How.
    held
        Rows that are not trained on, as the source gives them.
    parallel
        The processes that train together.
    columns
        Of the rows, those that are trained on; None is all.
    """

    def __init__(
        self,
        dictionary: SparseDictionary,
        config: TrainConfig,
        held: torch.Tensor,
        parallel: Parallel,
        columns: torch.Tensor | None = None,
    ) -> None:
        self.dictionary, self.config, self.parallel = dictionary, config, parallel
        self.columns = slice(None) if columns is None else columns
        device = dictionary.encoder.device
        self.held = scaled(dictionary, held[:, self.columns].to(device))
        self.weights = list(dictionary.parameters())
        self.optimiser = torch.optim.Adam(self.weights, lr=config.learning_rate, fused=True)
        self.product = config.product_type(device)
        self.dead_after = config.dead_after or _DEAD_BATCHES * config.batch_size
        self.rows_since_active = torch.zeros(dictionary.n_latents, device=device)
        self.step_number, self.end, self.stale = 0, config.steps, 0
        self.best_error = float("inf")
        self.best: dict[str, torch.Tensor] = {}

    @property
    def done(self) -> bool:
        """Whether all steps are taken."""
        return self.step_number >= self.end

    @property
    def cool(self) -> int:
        """Steps of the cool-down."""
        return max(1, round(self.config.cooldown * self.config.steps))

    def step(self, x: torch.Tensor) -> None:
        """Take one step on the rows `x`."""
        config, dictionary = self.config, self.dictionary
        warm = (self.step_number + 1) / max(1.0, config.warmup * config.steps)
        rate = min(1.0, warm, (self.end - self.step_number) / self.cool)
        x = x[:, self.columns]
        self._descend(*scaled(dictionary, x.to(self.held[0].device, non_blocking=True)), rate * config.learning_rate)
        self.step_number += 1
        if self.step_number % config.check_every == 0 or self.done:
            self._look()
            if self.stale >= config.patience and self.step_number < self.end - self.cool:
                self.end = self.step_number + self.cool
                logger.info("held-out rows no better since %d looks: the last %d steps begin", self.stale, self.cool)

    def _descend(self, u: torch.Tensor, target: torch.Tensor, rate: float) -> None:
        dictionary, config = self.dictionary, self.config
        dead = torch.nonzero(self.rows_since_active >= self.dead_after)[:, 0]
        if config.aux_weight <= 0:
            dead = dead[:0]
        rules: list[Rule] = list(dictionary.training_rules(len(u)))
        if len(dead):
            rules.append(LargestOfRow(min(config.aux_k, len(dead)), 0, dictionary.n_latents, only=dead))
        chosen = dictionary.choose(u, rules, self.product)
        revived = chosen.pop() if len(dead) else None
        losses = dictionary.training_loss(u, target, chosen)
        loss = losses.total
        if revived is not None:
            loss = loss + config.aux_weight * auxiliary_loss(dictionary, u, losses.residual, revived)
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives Tensor.backward no types
        dictionary.project_out_parallel_gradient()
        self.parallel.average_gradients(self.weights)
        self._clip()
        self.optimiser.step()
        dictionary.settle(chosen, losses, self.parallel.mean)
        self.rows_since_active += len(u) * self.parallel.world
        self.rows_since_active.masked_fill_(self.parallel.any(losses.active_latents()), 0)

    @torch.no_grad()
    def _clip(self) -> None:
        """Scale all gradients down where their norm together is above the bound."""
        grads = [weight.grad for weight in self.weights if weight.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in grads]))
        if norm.is_cuda or float(norm) > self.config.clip:  # a GPU is not waited for
            scale = (self.config.clip / norm).clamp(max=1)
            for grad in grads:
                grad.mul_(scale)

    @torch.no_grad()
    def _look(self) -> None:
        """Measure the held-out rows, and keep the weights if they are the best so far."""
        u, target = self.held
        chosen = self.dictionary.choose(u, self.dictionary.training_rules(len(u)), self.product)
        loss = self.dictionary.training_loss(u, target, chosen).reconstruction
        error = float(self.parallel.first(loss.detach().clone()))
        if not error < float("inf"):
            raise InputError(
                f"training came to an error of {error} at step {self.step_number}; lower learning_rate "
                f"({self.config.learning_rate}), or look for extreme values in the activations"
            )
        self.stale = 0 if error < 0.999 * self.best_error or self.dictionary.targets_l0 else self.stale + 1
        if error < self.best_error or self.dictionary.targets_l0:
            self.best_error = error
            self.best = {name: value.clone() for name, value in self.dictionary.state_dict().items()}

    def finish(self) -> None:
        """Leave the best weights in the dictionary."""
        self.dictionary.load_state_dict(self.best)
        logger.info("trained %d steps, held-out error %.4f", self.step_number, self.best_error)

    # -- what a checkpoint holds -------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return everything that the next step depends on, as tensors and as plain numbers."""
        tensors = {f"weight/{name}": value for name, value in self._values().items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        tensors["rows_since_active"] = self.rows_since_active
        for i, weight in enumerate(self.weights):
            for name, value in self.optimiser.state.get(weight, {}).items():
                tensors[f"adam/{i}/{name}"] = value
        numbers = {"step": self.step_number, "end": self.end, "stale": self.stale, "best_error": self.best_error}
        return tensors, numbers

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]) -> None:
        """Go back to what `state` gave."""
        for name, value in self._values().items():
            value.copy_(tensors[f"weight/{name}"])
        self.best = {
            name.removeprefix("best/"): value.to(self.rows_since_active.device)
            for name, value in tensors.items()
            if name.startswith("best/")
        }
        self.rows_since_active.copy_(tensors["rows_since_active"])
        for i, weight in enumerate(self.weights):
            kept = {name.split("/")[2]: value for name, value in tensors.items() if name.startswith(f"adam/{i}/")}
            if kept:
                self.optimiser.state[weight] = {
                    name: value.to(weight.device, copy=True) for name, value in kept.items()
                }
        self.step_number, self.end, self.stale = (int(numbers[name]) for name in ("step", "end", "stale"))
        self.best_error = float(numbers["best_error"])

    def _values(self) -> dict[str, torch.Tensor]:
        """Return weights and statistics, those that are not saved with a dictionary included."""
        return {**dict(self.dictionary.named_parameters()), **dict(self.dictionary.named_buffers())}


def scaled(dictionary: SparseDictionary, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scaled inputs and what is to be reconstructed, of rows as the source gives them."""
    if not dictionary.is_transcoder:
        u = dictionary.normalise(x)
        return u, dictionary.wanted(u)
    return dictionary.normalise(x[:, : dictionary.d_in]), dictionary.normalise_target(x[:, dictionary.d_in :])

"""How a dictionary is trained: one dataclass of settings. Computes nothing but what a setting left open comes to."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cellglass.errors import InputError
from cellglass.threads import cores

_ONE_THREAD = 1 << 27
_ONE_DEVICE = 1 << 16
PRODUCTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class TrainConfig:
    """How a dictionary is trained.

    Attributes
    ----------
    batch_size : int
        Rows in a step; at most a quarter of the rows are taken at once (of a stream, whose length nobody knows, always
        as many as are set).
    steps : int
        Steps at most, with the cool-down.
    learning_rate : float
        Adam's rate between warm-up and cool-down.
    warmup, cooldown : float
        Shares of `steps` in which the rate grows from 0, and falls to 0.
    clip : float
        Largest norm of all gradients together, after the part along the decoder's rows is taken out.
    draw : bool
        Train on draws from the posterior, where the rows have its standard deviation.
    aux_weight : float
        Weight of the loss that revives dead latents; 0 turns it off.
    aux_k : int
        Dead latents that may answer in one row.
    dead_after : int or None
        A latent is dead once it was not active in this many rows; None: in 32 batches.
    check_every : int
        Steps between looks at the held-out rows.
    patience : int
        Looks without an improvement by 0.1 % after which the cool-down begins early. Kinds that are trained to a
        target L0 take all steps.
    threads : int or None
        Threads of torch; None: one where the encoder's product is small, which is then fastest, else all cores.
    device : str
        ``auto``: the GPU where there is one and the dictionary has at least 65,536 weights, else the processor.
    product : str
        Type in which the encoder's product is taken to choose latents: ``float32``, ``bfloat16``, or ``auto``: bfloat16
        on a GPU. The values of the chosen latents are always computed in float32.
    checkpoint_seconds : float
        Seconds between checkpoints, where one is asked for.
    """

    batch_size: int = 512
    steps: int = 800
    learning_rate: float = 4e-3
    warmup: float = 0.05
    cooldown: float = 0.3
    clip: float = 1.0
    draw: bool = True
    aux_weight: float = 1 / 32
    aux_k: int = 16
    dead_after: int | None = None
    check_every: int = 40
    patience: int = 8
    threads: int | None = None
    device: str = "auto"
    product: str = "auto"
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "aux_k", "dead_after", "check_every", "patience", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.aux_weight < 0:
            raise InputError(f"aux_weight is {self.aux_weight}; it must be 0 or more")
        if not (self.warmup >= 0 and self.cooldown >= 0 and self.warmup + self.cooldown <= 1):
            raise InputError(
                f"warmup {self.warmup} and cooldown {self.cooldown} must be shares that add up to at most 1"
            )
        if self.product not in ("auto", *PRODUCTS):
            raise InputError(f"product is {self.product!r}; it can be auto, {', '.join(PRODUCTS)}")

    def thread_count(self, n_latents: int, width: int) -> int:
        """Return the number of threads for a step of this size."""
        if self.threads is not None:
            return self.threads
        return 1 if self.batch_size * n_latents * width < _ONE_THREAD else cores()

    def torch_device(self, n_latents: int, width: int) -> torch.device:
        """Return where to train; InputError where there is no such device."""
        if self.device == "auto":
            worth = n_latents * width >= _ONE_DEVICE and torch.cuda.is_available()
            return torch.device("cuda" if worth else "cpu")
        try:
            device = torch.device(self.device)
        except RuntimeError as error:
            raise InputError(f"device is {self.device!r}; use auto, cpu, cuda or cuda:0") from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device is {self.device!r}, but torch sees no GPU here; use auto or cpu")
        return device

    def product_type(self, device: torch.device) -> torch.dtype:
        """Return the type of the encoder's product."""
        if self.product == "auto":
            return torch.bfloat16 if device.type == "cuda" else torch.float32
        return PRODUCTS[self.product]

"""Dictionaries of every kind with random weights, and rows for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cellglass.dictionaries import KINDS
from cellglass.dictionaries.base import Codes
from cellglass.dictionaries.exchange.plain import exchangeable
from cellglass.dictionaries.sparse import SparseDictionary

D, M, K = 10, 24, 3
CONFIGS: dict[str, dict[str, Any]] = {
    "matryoshka": {"prefixes": (8, M), "prefix_k": (1, K)},
    "matryoshka_batchtopk": {"prefixes": (8, M)},
    "archetypal": {"n_points": 30},
}
SMALL = ("encoder", "decoder", "skip", "log_magnitude")
FORMS = {"autoencoder": (None, False), "transcoder": (7, False), "square": (D, False), "skip": (D, True)}

Draw = Callable[..., SparseDictionary]


def _draw(kind: str, form: str = "autoencoder", seed: int = 0) -> SparseDictionary:
    cls, (d_out, skip) = KINDS[kind].cls, FORMS[form]
    dictionary = cls(cls.config_class(D, M, d_out=d_out, skip=skip, k=K, **CONFIGS.get(kind, {})))
    noise = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(value.shape, generator=noise) * (0.3 if name in SMALL else 1)
        for name, value in dictionary.state_dict().items()
    }
    weights |= {name: torch.tensor(value) for name, value in (("scale", 0.6), ("scale_out", 1.7)) if name in weights}
    if "threshold" in weights:
        weights["threshold"] = weights["threshold"].abs() + 0.2
    dictionary.load_state_dict(weights)
    return dictionary.freeze()


@pytest.fixture(scope="session")
def draw() -> Draw:
    """``draw(kind, form)``: random weights, and statistics that are not 0 and 1."""
    return _draw


@pytest.fixture(scope="session")
def x() -> torch.Tensor:
    return torch.randn(60, D, generator=torch.Generator().manual_seed(5)) + 1


@pytest.fixture(params=sorted(exchangeable()))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(
    params=[
        (kind, form)
        for kind in sorted(exchangeable())
        for form in sorted(FORMS)
        if form == "autoencoder" or KINDS[kind].learn is None
    ],
    ids="-".join,
)
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Each kind in each form that it has; what is fitted in several steps is no transcoder."""
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture(scope="session")
def dense() -> Callable[[Codes], np.ndarray[Any, Any]]:
    """Return codes as a matrix."""
    return lambda codes: codes.to_csr().toarray()

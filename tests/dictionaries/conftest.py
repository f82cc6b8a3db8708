"""Data with a planted sparse truth, and one small fitted dictionary of every kind."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from cellglass import dictionaries
from cellglass.dictionaries import (
    Consensus,
    ConsensusConfig,
    CrossLayerConfig,
    Dictionary,
    TrainConfig,
    default_config,
)
from cellglass.dictionaries.sparse import SparseConfig
from cellglass.vocabulary import JOINT

ALONE = [kind for kind in dictionaries.KINDS if kind not in JOINT]
"""Kinds that read and write one site."""
QUICK = TrainConfig(steps=60, batch_size=64, check_every=10, dead_after=500)


class Planted(NamedTuple):
    x: torch.Tensor
    directions: torch.Tensor
    codes: torch.Tensor


def plant(n: int, d: int, m: int, active: int, seed: int) -> Planted:
    """Rows that are sums of `active` of m unit directions with weights 1 to 2, around a centre far from 0."""
    noise = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(m, d, generator=noise), dim=1)
    chosen = torch.rand(n, m, generator=noise).topk(active, dim=1).indices
    weights = 1 + torch.rand(n, active, generator=noise)
    codes = torch.zeros(n, m).scatter(1, chosen, weights)
    return Planted(codes @ directions + 5 + 0.01 * torch.randn(n, d, generator=noise), directions, codes)


def config_of(kind: str, d: int, m: int, k: int, **role) -> SparseConfig:
    """The config of any trained kind; a nested one has two prefixes, a cross-layer one three layers of this size."""
    if kind in JOINT:
        return CrossLayerConfig(3 * d, 3 * m, k, n_layers=3, d_out=3 * d)
    config = default_config(d, 10**6, kind=kind, n_latents=m, k=k)
    nested = {"prefixes": (m // 2, m), "prefix_k": (k, k)}
    return replace(config, **role, **{f.name: nested[f.name] for f in fields(config) if f.name in nested})


@pytest.fixture(scope="session")
def small_config() -> Callable[..., SparseConfig]:
    return config_of


@pytest.fixture(scope="session")
def planted() -> Planted:
    return plant(4000, 20, 24, 2, 0)


@pytest.fixture(scope="session")
def positive() -> torch.Tensor:
    """Rows >= 0, (400, 8), so that every kind can be fitted."""
    return torch.rand(400, 8, generator=torch.Generator().manual_seed(1)) ** 3


@pytest.fixture(scope="session")
def every_kind(positive) -> dict[str, Dictionary]:
    return {kind: dictionaries.fit(kind, positive, training=QUICK, seed=2) for kind in ALONE}


class Crossed(NamedTuple):
    """Cells of three types, and a state that two fifths of each type are in."""

    x: torch.Tensor
    kind: np.ndarray
    state: np.ndarray


def cross(n: int, d: int = 4, seed: int = 0) -> Crossed:
    """Three gaussian clusters in the first dimensions; the last has two modes, in every cluster alike."""
    rng = np.random.default_rng(seed)
    kind, state = rng.integers(0, 3, n), rng.random(n) < 0.4
    x = rng.normal(size=(n, d)) * 0.35
    x[np.arange(n), kind] += 4
    x[:, -1] += np.where(state, 1.4, -1.4)
    return Crossed(torch.from_numpy(x).float(), kind, state)


@pytest.fixture(scope="session")
def crossed() -> Crossed:
    return cross(600)


@pytest.fixture(scope="session")
def shared_state(crossed) -> Consensus:
    """A consensus dictionary of those cells, from four pairs of halves."""
    config = ConsensusConfig(4, 64, 6, pairs=4)
    return dictionaries.fit("consensus", crossed.x, config=config, training=QUICK, seed=0)


@pytest.fixture(params=sorted(ALONE))
def one(request, every_kind) -> Dictionary:
    """Each kind in turn."""
    return every_kind[request.param]

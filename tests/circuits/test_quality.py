"""L0, dead share and error against what a plain computation over all tokens gives."""

from __future__ import annotations

import math

import pytest
import torch

from cellglass.circuits.quality import Quality
from cellglass.circuits.transcoders import Transcoders
from cellglass.dictionaries import CrossLayerConfig, CrossLayerTranscoder, TopK, TopKConfig


def random_weights(dictionary, seed=0):
    noise = torch.Generator().manual_seed(seed)
    for name, tensor in dictionary.state_dict().items():
        if not name.startswith("scale"):
            tensor.copy_(torch.randn(tensor.shape, generator=noise))
    return dictionary.freeze()


@pytest.mark.parametrize("skip", [False, True])
def test_one_layer_is_measured_as_over_all_tokens_at_once(skip) -> None:
    noise = torch.Generator().manual_seed(1)
    x, y = (torch.randn(90, 6, generator=noise) for _ in range(2))
    two = tuple(random_weights(TopK(TopKConfig(6, 40, 2, d_out=6, skip=skip)), i) for i in range(2))
    quality = Quality(Transcoders("scgpt", "f", 2, two), 1)
    for part in (slice(0, 30), slice(30, 31), slice(31, 90)):
        quality.add([torch.zeros(1), x[part]], y[part])
    codes = two[1].encode(x)
    error = (y - two[1].decode(codes, x)).square().sum() / (y - y.mean(0)).square().sum()
    dead = 1 - len(torch.unique(codes.indices[codes.values > 0])) / 40
    assert 0 < dead < 1
    assert quality.found() == pytest.approx((float((codes.values > 0).sum()) / 90, dead, float(error)), rel=1e-5)


def test_a_layer_of_a_cross_layer_transcoder_is_a_part_of_its_row() -> None:
    noise = torch.Generator().manual_seed(1)
    x, y = (torch.randn(50, 12, generator=noise) for _ in range(2))
    one = random_weights(CrossLayerTranscoder(CrossLayerConfig(12, 60, 2, d_out=12, n_layers=3)))
    codes = one.encode(x)
    whole = one.decode(codes)
    for layer in range(3):
        quality = Quality(Transcoders("scgpt", "f", 3, (one,)), layer)
        own = slice(4 * layer, 4 * layer + 4)
        quality.add(list(x.split(4, dim=1)), y[:, own])
        error = (y[:, own] - whole[:, own]).square().sum() / (y[:, own] - y[:, own].mean(0)).square().sum()
        here = (codes.values > 0) & (codes.indices // 20 == layer)
        found = quality.found()
        assert found.error == pytest.approx(float(error), rel=1e-5)
        assert found.l0 == pytest.approx(float(here.sum()) / 50)
        assert found.dead == pytest.approx(1 - len(torch.unique(codes.indices[here])) / 20)


def test_no_tokens_are_no_figures() -> None:
    quality = Quality(Transcoders("scgpt", "f", 1, (random_weights(TopK(TopKConfig(6, 8, 2, d_out=6))),)), 0)
    assert all(math.isnan(value) for value in quality.found())

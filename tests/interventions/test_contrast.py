"""Contrasts against plain loops; the fewest concepts against a search by hand, and a planted pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass.activations.rows import MemoryRows
from cellglass.dictionaries import fit
from cellglass.dictionaries.baselines.linear import LinearDictionary
from cellglass.errors import InputError
from cellglass.interventions import Contrast, average, carried, contrast_of, fewest


class Axes(LinearDictionary):
    """Given axes, each split by sign."""

    kind = "axes"


def axes(width: int = 8, seed: int = 0) -> Axes:
    q = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(seed))).Q
    return Axes(torch.zeros(width), q, q)


@pytest.fixture
def rows() -> MemoryRows:
    return MemoryRows(torch.randn(300, 8, generator=torch.Generator().manual_seed(1)) + 0.5)


def test_means_are_those_of_a_plain_loop(rows: MemoryRows, monkeypatch: pytest.MonkeyPatch) -> None:
    dictionary = axes()
    a, b = np.arange(0, 120), np.arange(100, 290)
    x, f = rows.values.double().numpy(), dictionary.encode(rows.values).to_csr().toarray()
    found = contrast_of(dictionary, rows, a, b)
    np.testing.assert_allclose(found.difference, x[b].mean(0) - x[a].mean(0), atol=1e-9)
    np.testing.assert_allclose(found.shift, f[b].mean(0) - f[a].mean(0), atol=1e-6)
    np.testing.assert_allclose(found.size, (f[a].mean(0) + f[b].mean(0)) / 2, atol=1e-6)  # directions of length 1
    monkeypatch.setattr("cellglass.interventions.contrast._READ", 37)
    for one, other in zip(contrast_of(dictionary, rows, a, b), found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    both = average([found, contrast_of(dictionary, rows, b, a)])
    np.testing.assert_allclose(both.difference, 0, atol=1e-12)


def test_all_latents_of_a_dictionary_without_error_carry_all(rows: MemoryRows) -> None:
    dictionary = fit("pca", rows)
    found = contrast_of(dictionary, rows, np.arange(50), np.arange(50, 300))
    assert carried(dictionary, found, range(dictionary.n_latents)) == pytest.approx(1, abs=1e-6)
    assert carried(dictionary, found, []) == 0
    assert carried(dictionary, found, range(dictionary.n_latents), -found.difference) == pytest.approx(-3, abs=1e-4)


def test_a_planted_pair_is_what_carries_the_difference() -> None:
    dictionary = axes()
    rng = np.random.default_rng(0)
    shift = np.zeros(16)
    shift[[2, 5]] = 3.0, 2.0
    shift += rng.normal(size=16) * 0.01
    difference = shift @ dictionary.directions.double().numpy()
    found = Contrast(difference, shift, np.ones(16))
    assert fewest(dictionary, found, range(16), 0.95) == [2, 5]
    assert fewest(dictionary, found, range(16), 0.5) == [2]
    assert fewest(dictionary, found, [5, 7], 0.99)[0] == 5  # of those that are named


def test_each_pick_is_the_one_that_raises_the_share_most() -> None:
    """On axes that are not orthogonal, against trying each latent by hand."""
    noise = torch.Generator().manual_seed(3)
    dictionary = Axes(torch.zeros(5), *(torch.randn(9, 5, generator=noise) for _ in range(2)))
    rng = np.random.default_rng(4)
    found = Contrast(rng.normal(size=5), rng.normal(size=18), np.ones(18))
    picked: list[int] = []
    for latent in fewest(dictionary, found, range(18), 1.0):
        shares = {one: carried(dictionary, found, [*picked, one]) for one in range(18) if one not in picked}
        assert latent == max(shares, key=lambda one: shares[one])
        assert shares[latent] > carried(dictionary, found, picked)
        picked.append(latent)
    assert len(picked) > 2
    assert len(set(picked)) == len(picked)
    least = carried(dictionary, found, picked[:2])
    assert fewest(dictionary, found, range(18), least - 1e-9) == picked[:2]


def test_what_cannot_be_is_said(rows: MemoryRows) -> None:
    dictionary = axes()
    with pytest.raises(InputError, match="cells on both sides; there are 0 and 3"):
        contrast_of(dictionary, rows, np.arange(0), np.arange(3))
    found = contrast_of(dictionary, rows, np.arange(9), np.arange(9, 99))
    with pytest.raises(InputError, match="share is 0"):
        fewest(dictionary, found, range(16), 0)
    with pytest.raises(InputError, match="no concept carries any"):
        fewest(dictionary, found._replace(shift=np.zeros(16)), range(16), 0.5)
    with pytest.raises(InputError, match="no contrasts to average"):
        average([])

"""Fidelity against the formulas computed on everything at once, and on dictionaries whose fidelity is known."""

import numpy as np
import pytest
import torch

from cellglass.errors import InputError
from cellglass.evaluation.fidelity import fidelity, fidelity_metrics


def _data(n=500, d=6, offset=50.0):
    rng = np.random.default_rng(0)
    return torch.as_tensor(rng.normal(size=(n, d)) * np.arange(1, d + 1) + offset, dtype=torch.float32)


def test_batches_give_what_the_whole_gives(linear):
    x = _data(offset=3.0)
    directions = np.random.default_rng(1).normal(size=(20, 6))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    dictionary = linear(directions, k=3)
    result = fidelity(dictionary, x.split(37))

    dense = dictionary.encode(x).to_csr().toarray().astype(float)
    whole, estimate = x.numpy().astype(float), dense @ directions
    expected = 1 - ((whole - estimate) ** 2).sum() / ((whole - whole.mean(axis=0)) ** 2).sum()
    assert result.variance_explained == pytest.approx(expected, rel=1e-5)
    assert result.l0 == pytest.approx((dense > 0).sum(axis=1).mean())
    assert result.dead_share == pytest.approx((dense == 0).all(axis=0).mean())
    assert result.n == 500


def test_axes_split_by_sign_explain_everything_and_use_one_latent_an_axis(linear):
    x = _data(offset=0.0)
    result = fidelity(linear(np.vstack([np.eye(6), -np.eye(6)])), x.split(100))
    assert result.variance_explained == pytest.approx(1, abs=1e-10)
    assert result.l0 == pytest.approx(6)
    assert result.dead_share == 0


def test_the_mean_of_large_numbers_does_not_hide_the_variance(linear):
    x = _data(offset=1e4)
    kept = np.eye(6)[:5]  # the widest axis is lost: its square is nearly all of the error
    result = fidelity(linear(kept), x.split(64))
    whole = x.double()
    expected = 1 - float((whole[:, 5] ** 2).sum() / ((whole - whole.mean(dim=0)) ** 2).sum())
    assert result.variance_explained == pytest.approx(expected, rel=1e-9)


def test_dead_latents_are_counted(linear):
    x = _data(offset=0.0).abs()
    result = fidelity(linear(np.vstack([np.eye(6), -np.eye(6)])), [x])
    assert result.dead_share == pytest.approx(0.5)


def test_records(linear):
    x = _data(offset=0.0)
    axes, one = fidelity(linear(np.eye(6)), [x]), fidelity(linear(np.eye(6)[:1]), [x])
    metrics = {m.metric: m for m in fidelity_metrics(axes, one)}
    assert list(metrics) == ["fidelity.variance_explained", "fidelity.l0", "fidelity.dead_share"]
    assert metrics["fidelity.variance_explained"].value == axes.variance_explained
    assert metrics["fidelity.variance_explained"].null == one.variance_explained
    assert metrics["fidelity.l0"].n == 500


def test_what_cannot_be_measured_is_refused(linear):
    with pytest.raises(InputError, match="at least one held-out cell"):
        fidelity(linear(np.eye(6)), [])
    transcoder = linear(np.eye(6))
    transcoder.d_out = 7
    with pytest.raises(InputError, match="no autoencoder"):
        fidelity(transcoder, [_data()])


@pytest.mark.parametrize("value", [1.0, 0.1, 1e-20, 3e7])
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_constant_activations_have_no_variance_to_explain(linear, value, batch):
    """Their mean is off by rounding, which leaves squares around it: none of that is variance."""
    x = torch.full((1000, 6), value)
    assert np.isnan(fidelity(linear(np.eye(6)), x.split(batch)).variance_explained)


def test_the_least_that_one_number_can_differ_is_variance(linear):
    x = torch.full((60_000, 6), 1.0)
    x[0, 0] += torch.finfo(torch.float32).eps
    assert fidelity(linear(np.eye(6)), [x]).variance_explained == 1

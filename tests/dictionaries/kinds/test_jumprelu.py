"""JumpReLU: the step of each latent, its pseudo-derivative by the formula, and thresholds that stay at 0 or above."""

import pytest
import torch

from cellglass.dictionaries import JumpReLU, JumpReLUConfig
from cellglass.errors import InputError


@pytest.fixture
def dictionary() -> JumpReLU:
    """The pre-activations of latent j are component j of the input."""
    made = JumpReLU(JumpReLUConfig(4, 4, 2, bandwidth=0.4, weight=0.5))
    with torch.no_grad():
        made.encoder.copy_(torch.eye(4))
        made.decoder.copy_(torch.eye(4))
        made.threshold.copy_(torch.tensor([0.5, 1.0, 1.5, 2.0]))
    return made


def test_each_latent_has_its_own_step(dictionary) -> None:
    x = torch.tensor([[0.4, 0.9, 1.4, 1.9], [0.6, 1.1, 1.6, 2.1], [0.5, 1.0, 3.0, -5.0]])
    dense = dictionary.encode(x).to_csr().toarray()
    assert dense.tolist() == [[0] * 4, x[1].tolist(), [0, 0, 3.0, 0]]


def test_thresholds_learn_from_the_window_alone(dictionary) -> None:
    # Of one row: latent 0 just above its threshold, latent 1 just below, latents 2 and 3 far from theirs.
    u = torch.tensor([[0.6, 0.9, 9.0, 0.1]])
    (chosen,) = dictionary.choose(u, dictionary.training_rules(1))
    losses = dictionary.training_loss(u, torch.zeros(1, 4), [chosen])
    (grad,) = torch.autograd.grad(losses.total, dictionary.threshold)
    f = torch.tensor([0.6, 0.0, 9.0, 0.0])
    assert torch.equal(losses.pattern.dense(losses.activation)[0], f)
    assert losses.penalty is not None
    assert float(losses.penalty.detach()) == pytest.approx(0.5 * (2 / 2 - 1) ** 2)
    # d mse / d theta_j = 2 f_j / 4 * (-theta_j / eps) in the window; the penalty is flat at L0 = k.
    assert grad.tolist() == pytest.approx([2 * 0.6 / 4 * (-0.5 / 0.4), 0.0, 0.0, 0.0], abs=1e-6)
    dictionary.config = JumpReLUConfig(4, 4, 1, bandwidth=0.4, weight=0.5)
    losses = dictionary.training_loss(u, torch.zeros(1, 4), [chosen])
    (more,) = torch.autograd.grad(losses.total, dictionary.threshold)
    pull = 0.5 * 2 * (2 / 1 - 1) * (-1 / 0.4)
    assert (more - grad).tolist() == pytest.approx([pull, pull, 0.0, 0.0], abs=1e-5)


def test_thresholds_stay_at_zero_or_above(dictionary) -> None:
    with torch.no_grad():
        dictionary.threshold.copy_(torch.tensor([-1.0, 0.0, 1.0, 2.0]))
    dictionary.settle([], None, lambda value: value)
    assert dictionary.threshold.tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("name", ["bandwidth", "weight"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_wrong_setting_is_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}; it must be above 0"):
        JumpReLUConfig(4, 8, 2, **{name: value})

import pytest
import torch

from cellglass.models.scvi.loss import add_gradients, likelihood_gradients
from cellglass.models.scvi.net import ScviConfig


@pytest.mark.parametrize("likelihood", ["zinb", "nb", "poisson"])
@pytest.mark.parametrize("dispersion", ["gene", "gene-batch"])
def test_gradients_are_those_of_scvi_tools(make_module, cells, likelihood, dispersion):
    cfg = ScviConfig(25, 5, 12, categories=(3,), gene_likelihood=likelihood, dispersion=dispersion)
    # scvi-tools' "gene-batch" computes in float32 only.
    dtype, close = (torch.float64, 1e-6) if dispersion == "gene" else (torch.float32, 1e-4)
    module = make_module(cfg).to(dtype).train()
    tensors = {
        "X": torch.from_numpy(cells.counts.toarray()).to(dtype),
        "batch": torch.arange(40)[:, None] % 3,
        "labels": torch.zeros(40, 1, dtype=torch.int64),
    }

    def gradients(descend):
        module.zero_grad()
        torch.manual_seed(1)
        descend()
        return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}

    with torch.random.fork_rng():
        ours = gradients(lambda: add_gradients(module, tensors, 0.3))
        expected = gradients(lambda: module(tensors, loss_kwargs={"kl_weight": 0.3})[2].loss.backward())
    # A parameter that the likelihood does not read has no gradient in the one and a zero gradient in the other.
    assert len(ours) > 8
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, expected[name], rtol=10 * close, atol=close)


@pytest.mark.parametrize("zero_inflated", [True, False])
@pytest.mark.parametrize("rows", [1, 6])
def test_gradients_are_those_of_the_formula(zero_inflated, rows):
    rng = torch.Generator().manual_seed(0)
    x = torch.poisson(torch.full((6, 9), 0.7, dtype=torch.float64), generator=rng)
    mu, theta = (torch.rand(n, 9, dtype=torch.float64, generator=rng) * 3 + 0.1 for n in (6, rows))
    dropout = torch.randn(6, 9, dtype=torch.float64, generator=rng)
    leaves = [each.requires_grad_() for each in (mu, theta, dropout)]
    total = theta + mu
    plain = theta * torch.log(theta / total) + x * torch.log(mu / total)
    plain = plain + torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
    share = torch.sigmoid(dropout)
    mixed = torch.where(x == 0, torch.log(share + (1 - share) * plain.exp()), torch.log(1 - share) + plain)
    (mixed if zero_inflated else plain).sum().backward()
    found = likelihood_gradients(x, mu.detach(), theta.detach(), dropout.detach() if zero_inflated else None)
    for mine, leaf in zip(found, leaves, strict=True):
        if mine is not None:
            torch.testing.assert_close(mine, leaf.grad, rtol=1e-6, atol=1e-6)
    assert (found.dropout is not None) == zero_inflated

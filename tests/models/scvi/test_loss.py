import pytest
import torch

from cellglass.models.scvi.loss import negative_elbo
from cellglass.models.scvi.net import ScviConfig


@pytest.mark.parametrize("likelihood", ["zinb", "nb", "poisson"])
@pytest.mark.parametrize("dispersion", ["gene", "gene-batch"])
def test_value_and_gradient_are_those_of_scvi_tools(make_module, cells, likelihood, dispersion):
    cfg = ScviConfig(25, 5, 12, categories=(3,), gene_likelihood=likelihood, dispersion=dispersion)
    # scvi-tools' "gene-batch" computes in float32 only.
    dtype, close = (torch.float64, 1e-6) if dispersion == "gene" else (torch.float32, 1e-4)
    module = make_module(cfg).to(dtype).train()
    tensors = {
        "X": torch.from_numpy(cells.counts.toarray()).to(dtype),
        "batch": torch.arange(40)[:, None] % 3,
        "labels": torch.zeros(40, 1, dtype=torch.int64),
    }

    def gradients(loss):
        module.zero_grad()
        loss.backward()
        return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}

    with torch.random.fork_rng():
        torch.manual_seed(1)
        ours = negative_elbo(module, tensors, 0.3)
        torch.manual_seed(1)
        theirs = module(tensors, loss_kwargs={"kl_weight": 0.3})[2].loss
    torch.testing.assert_close(ours, theirs, rtol=close, atol=close)
    expected = gradients(theirs)
    # A parameter that the likelihood does not read has no gradient in the one and a zero gradient in the other.
    for name, gradient in gradients(ours).items():
        torch.testing.assert_close(gradient, expected[name], rtol=10 * close, atol=close)

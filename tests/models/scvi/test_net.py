import numpy as np
import pytest
import torch

from cellglass.models.scvi.covariates import Covariate, one_hot
from cellglass.models.scvi.model import ScviModel
from cellglass.models.scvi.net import ScviConfig, ScviNet


def test_the_configuration_survives_json(make_model, cells, kind):
    model, _ = make_model(kind, cells)
    assert ScviConfig.from_dict(model.cfg.to_dict()) == model.cfg


def test_every_step_equals_scvi_tools_layers(make_model, cells, kind):
    """In float64: posterior and expected shares, through scvi-tools' own encoder and decoder."""
    model, module = make_model(kind, cells)
    module.double()
    net = ScviNet(model.cfg, module.state_dict(), torch.float64)
    covariates = one_hot(model.covariates, cells, torch.float64)
    codes = [torch.from_numpy(c.codes(cells))[:, None] for c in model.covariates] or [torch.zeros(40, 1).long()]
    x = torch.from_numpy(cells.counts.toarray()).double().log1p()
    last = model.cfg.n_layers - 1
    with torch.no_grad():
        q, _ = module.z_encoder(x, *codes)
        hidden = net.hidden(net.encoder, net.encoder[0].linear(x, covariates), covariates, last)
        torch.testing.assert_close(net.mean(hidden), q.mean)
        torch.testing.assert_close(net.sd(hidden), q.stddev)
        shares, *_ = module.decoder("gene", q.mean, torch.zeros(40, 1), *codes)
        hidden = net.hidden(net.decoder, net.decoder[0].linear(q.mean, covariates), covariates, last)
        torch.testing.assert_close(net.shares(hidden), shares)


@pytest.mark.parametrize("layer", [0, 1])
def test_hidden_layers_are_those_of_scvi_tools(make_model, cells, layer):
    model, module = make_model("two-layers-encoded", cells)
    seen = []
    for side in (module.z_encoder.encoder, module.decoder.px_decoder):
        side.fc_layers[layer][3].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    codes = [torch.from_numpy(c.codes(cells))[:, None] for c in model.covariates]
    with torch.no_grad():
        q, _ = module.z_encoder(torch.from_numpy(cells.counts.toarray()).log1p(), *codes)
        module.decoder("gene", q.mean, torch.zeros(40, 1), *codes)
    names = [f"encoder.hidden.{layer}", f"decoder.hidden.{layer}"]
    found = model.activations(cells, names)
    for name, expected in zip(names, seen, strict=True):
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("likelihood", ["zinb", "nb", "poisson"])
@pytest.mark.parametrize("dispersion", ["gene", "gene-batch"])
def test_the_log_likelihood_is_that_of_scvi_tools(make_module, cells, likelihood, dispersion):
    """Its ELBO in eval mode without the divergence: what it calls the reconstruction loss, at the posterior mean."""
    cfg = ScviConfig(25, 5, 12, categories=(3,), gene_likelihood=likelihood, dispersion=dispersion)
    module = make_module(cfg)
    donor = Covariate("donor", ("ann", "bo", "cy"))
    model = ScviModel(cfg, module.state_dict(), cells.genes, (donor,))
    z = model.activations(cells, ["z"])["z"]
    counts = torch.from_numpy(cells.counts.toarray())
    batch = torch.from_numpy(cells.obs["donor"].cat.codes.to_numpy().astype(np.int64))[:, None]
    with torch.no_grad():
        library = counts.sum(dim=1, keepdim=True).log()
        px = module.generative(z, library, batch)["px"]
        theirs = -px.log_prob(counts).sum(dim=1).mean()
    assert model.reconstruction_loss("z", z, cells) == pytest.approx(float(theirs), rel=1e-5)

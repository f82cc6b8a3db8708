import numpy as np
import pytest
import torch

from cellglass.errors import InputError


def changes(cells, n=300):
    """Random changes, among them counts to zero, counts from zero and changes to the same count."""
    rng = np.random.default_rng(3)
    cell, gene = rng.integers(0, cells.n_cells, n), rng.integers(0, cells.n_genes, n)
    count = rng.integers(0, 30, n).astype(np.float32)
    count[:20] = 0
    count[20:40] = cells.counts.toarray()[cell[20:40], gene[20:40]]
    return cell, gene, count


def test_changed_cells_equal_cells_encoded_whole(make_model, cells, kind):
    model, _ = make_model(kind, cells, torch.float64)
    single, _ = make_model(kind, cells)
    job = changes(cells)
    for site in model.sites:
        plain = model.perturbed_activations_plain(cells, site, *job)
        torch.testing.assert_close(model.perturbed_activations(cells, site, *job), plain, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(single.perturbed_activations(cells, site, *job), plain.float(), rtol=1e-4, atol=1e-5)


def test_front_and_rest_are_the_whole_model(make_model, cells, kind):
    model, _ = make_model(kind, cells)
    for site in model.sites:
        split = model.linear_front(site)
        h = split.front(cells)
        assert split.weight.shape == (h.shape[1], cells.n_genes)
        torch.testing.assert_close(split.rest(h), model.activations(cells, [site])[site], rtol=1e-5, atol=1e-5)


def test_gradients_along_a_path(make_model, cells, kind):
    """Against finite differences; and the value at the counts themselves is the activation."""
    model, _ = make_model(kind, cells, torch.float64)
    few = cells[:3]
    log_counts = torch.from_numpy(few.counts.toarray()).double().log1p().requires_grad_()
    for site in ("z", "decoder.hidden.0"):
        value = model.path_gradient(site, log_counts, few)
        torch.testing.assert_close(value.detach(), model.activations(few, [site])[site])
        assert torch.autograd.gradcheck(lambda x, site=site: model.path_gradient(site, x, few), log_counts)


def test_the_posterior_is_scvi_tools_posterior(make_model, cells):
    model, module = make_model("encoded-batch", cells)
    codes = torch.from_numpy(model.covariates[0].codes(cells))[:, None]
    with torch.no_grad():
        q = module.inference(torch.from_numpy(cells.counts.toarray()), codes)["qz"]
    mean, sd = model.posterior(cells, "z")
    torch.testing.assert_close(mean, q.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sd, q.stddev, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.activations(cells, ["z"])["z"], mean)
    assert model.posterior(cells, "encoder.hidden.0") is None


def test_decoding_gives_scvi_tools_rates(make_model, cells):
    model, module = make_model("two-layers", cells)
    codes = [torch.from_numpy(c.codes(cells))[:, None] for c in model.covariates]
    x = torch.from_numpy(cells.counts.toarray())
    z = model.activations(cells, ["z"])["z"]
    with torch.no_grad():
        expected = module.generative(z, x.sum(1, keepdim=True).log(), codes[0], cat_covs=codes[1])["px"].mu
    torch.testing.assert_close(model.decode("z", z, cells), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(model.decode("z", z, cells, library=1.0).sum(dim=1), torch.ones(40))
    for site in ("decoder.hidden.0", "decoder.hidden.1"):
        hidden = model.activations(cells, [site])[site]
        torch.testing.assert_close(model.decode(site, hidden, cells), expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match=r"not from 'encoder\.hidden\.0'"):
        model.decode("encoder.hidden.0", torch.zeros(40, 12), cells)
    lacks = {site: model.lacks("decode", site) for site in model.sites}
    assert [site for site, reason in lacks.items() if reason] == ["encoder.hidden.0", "encoder.hidden.1"]
    assert all(model.lacks(what, site) is None for site in model.sites for what in ("counterfactual", "path"))


def test_cells_are_aligned_where_they_are_not(make_model, cells):
    model, _ = make_model("default", cells)
    order = np.random.default_rng(0).permutation(cells.n_genes)
    for site in ("z", "encoder.hidden.0"):
        shuffled = model.activations(cells.select_genes(order), [site])[site]
        torch.testing.assert_close(shuffled, model.activations(cells, [site])[site], rtol=1e-5, atol=1e-6)
    one = np.array([0])
    with pytest.raises(InputError, match=r"model\.align"):
        model.perturbed_activations(cells.select_genes(order), "z", one, one, one.astype(np.float32))


def test_one_cell_or_all_at_once_is_the_same(make_model, cells):
    model, _ = make_model("batch", cells)
    whole = model.activations(cells, list(model.sites))
    for site, rows in whole.items():
        parts = [model.activations(part, [site])[site] for part in model.batches(cells, size=7)]
        torch.testing.assert_close(torch.cat(parts), rows, rtol=1e-5, atol=1e-6)


def test_a_cell_without_counts_has_an_activation(make_model, cells):
    model, module = make_model("default", cells)
    empty = cells[:2].with_counts(cells.counts[:2] * 0)
    with torch.no_grad():
        expected = module.z_encoder(torch.zeros(2, cells.n_genes), torch.zeros(2, 1).long())[0].mean
    torch.testing.assert_close(model.activations(empty, ["z"])["z"], expected, rtol=1e-5, atol=1e-5)


def test_covariate_errors_reach_the_user(make_model, cells):
    model, _ = make_model("encoded-batch", cells)
    other = cells[:]
    other.obs["donor"] = "dee"
    with pytest.raises(InputError, match=r"'dee'.*it knows: ann, bo, cy"):
        model.activations(other, ["z"])
    with pytest.raises(InputError, match=r"'donor', which is not there"):
        model.linear_front("z").front(type(cells)(cells.counts, cells.genes, cells.obs[["lab"]]))
    with pytest.raises(InputError, match="no site 'q'"):
        model.activations(cells, ["q"])


def test_save_and_load(make_model, cells, kind, tmp_path):
    model, _ = make_model(kind, cells)
    model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model")
    assert again.fingerprint() == model.fingerprint()
    assert again.gene_table["symbol"].tolist() == cells.genes["symbol"].tolist()
    for site in model.sites:
        assert torch.equal(again.activations(cells, [site])[site], model.activations(cells, [site])[site])

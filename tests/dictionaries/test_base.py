"""Codes become CSR without stored zeros, and the plain activations_of looks a latent up."""

import numpy as np
import torch

from cellglass.dictionaries.base import Codes, Dictionary


def test_codes_to_csr_equal_a_double_loop() -> None:
    noise = torch.Generator().manual_seed(0)
    indices = torch.rand(30, 9, generator=noise).topk(4, dim=1).indices
    values = torch.randn(30, 4, generator=noise).relu()
    dense = np.zeros((30, 9), dtype=np.float32)
    for i in range(30):
        for j in range(4):
            dense[i, indices[i, j]] += float(values[i, j])
    csr = Codes(indices, values, 9).to_csr()
    assert (csr.toarray() == dense).all()
    assert csr.nnz == (dense > 0).sum()
    assert csr.has_sorted_indices


def test_what_every_kind_promises(one, positive) -> None:
    codes = one.encode(positive)
    assert codes.width == one.n_latents
    assert codes.indices.dtype == torch.int64
    assert codes.values.dtype == torch.float32
    assert codes.indices.shape == codes.values.shape
    assert bool((codes.values >= 0).all())
    assert bool((codes.indices >= 0).all())
    assert bool((codes.indices < one.n_latents).all())
    assert one.decode(codes).shape == positive.shape
    assert one.preactivations(positive).shape == (len(positive), one.n_latents)
    assert one.directions.shape == (one.n_latents, one.d_out)
    assert not one.directions.requires_grad


def test_a_rows_codes_do_not_depend_on_the_rows_beside_it(one, positive) -> None:
    def dense(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(one.encode(x).to_csr().toarray())

    x = positive[:120]
    together = dense(x)
    alone = torch.cat([dense(row) for row in x.split(1)])
    order = torch.randperm(len(positive), generator=torch.Generator().manual_seed(0))
    shuffled = dense(positive[order])[order.argsort()][:120]
    among = dense(torch.cat([x, 50 * x, torch.zeros_like(x)]))[:120]
    for other in (alone, shuffled, among):
        assert torch.allclose(other, together, atol=1e-4 if one.kind == "nmf" else 1e-6)
    assert one.encode(x[:0]).to_csr().shape == (0, one.n_latents)


def test_activations_of_is_a_lookup_in_the_codes(one, positive) -> None:
    dense = torch.from_numpy(one.encode(positive).to_csr().toarray())
    for latent in range(one.n_latents):
        which = torch.full((len(positive),), latent)
        assert torch.allclose(one.activations_of(positive, which), dense[:, latent], atol=1e-6)
    mixed = torch.arange(len(positive)) % one.n_latents
    plain = Dictionary.activations_of(one, positive, mixed)
    assert torch.allclose(one.activations_of(positive, mixed), plain, atol=1e-6)


def test_preactivations_have_the_gradient_that_finite_differences_show(one, positive) -> None:
    x = positive[:3].clone().requires_grad_()
    weights = torch.randn(3, one.n_latents, generator=torch.Generator().manual_seed(0))
    (one.preactivations(x) * weights).sum().backward()
    step = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)) * 1e-2
    with torch.no_grad():
        change = ((one.preactivations(x + step) - one.preactivations(x - step)) * weights).sum() / 2
    assert torch.isclose((x.grad * step).sum(), change, rtol=1e-3, atol=1e-4)


def test_directions_are_what_a_unit_of_activation_adds(one) -> None:
    nothing = Codes(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1), one.n_latents)
    with torch.no_grad():
        for latent in (0, one.n_latents - 1):
            single = Codes(torch.tensor([[latent]]), torch.ones(1, 1), one.n_latents)
            added = one.decode(single) - one.decode(nothing)
            assert torch.allclose(added[0], one.directions[latent], atol=1e-5)

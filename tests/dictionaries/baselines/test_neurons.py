"""Neurons are the site's own axes around the mean."""

import torch

from cellglass import dictionaries


def test_latents_are_the_two_sides_of_each_axis() -> None:
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) + 2
    rows = list(range(150))
    dictionary = dictionaries.fit("neurons", x, rows_train=rows)
    deviation = x - x[:150].mean(0)
    wanted = torch.cat([deviation.relu(), (-deviation).relu()], dim=1)
    assert torch.allclose(torch.from_numpy(dictionary.encode(x).to_csr().toarray()), wanted, atol=1e-6)
    assert torch.equal(dictionary.directions, torch.cat([torch.eye(3), -torch.eye(3)]))

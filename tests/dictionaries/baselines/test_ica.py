"""ICA unmixes planted independent sources; a fit that does not settle is used without a warning."""

import numpy as np
import pytest
import torch

from cellglass import dictionaries
from cellglass.errors import InputError


def test_planted_sources_are_unmixed() -> None:
    rng = np.random.default_rng(0)
    sources = rng.laplace(size=(3000, 4))
    x = torch.from_numpy(sources @ rng.normal(size=(4, 4)) + 7).float()
    dictionary = dictionaries.fit("ica", x, seed=0)
    found = dictionary.preactivations(x)[:, :4].numpy()
    correlation = np.abs(np.corrcoef(sources.T, found.T)[:4, 4:])
    assert (correlation.max(axis=1) > 0.98).all()
    assert sorted(correlation.argmax(axis=1)) == [0, 1, 2, 3]


def test_gaussian_rows_have_no_answer_and_give_no_warning() -> None:
    x = torch.randn(400, 6, generator=torch.Generator().manual_seed(0))
    dictionary = dictionaries.fit("ica", x, seed=0)
    assert torch.allclose(dictionary.decode(dictionary.encode(x)), x, atol=1e-4)


def test_a_wrong_number_is_named() -> None:
    with pytest.raises(InputError, match="n_components is 9"):
        dictionaries.fit("ica", torch.randn(50, 7), n_components=9)


def test_rows_that_lie_in_fewer_directions_have_as_many_components() -> None:
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(1))
    x = torch.nn.functional.layer_norm(x, (8,))  # as a transformer's sites: every row adds up to 0
    dictionary = dictionaries.fit("ica", x, seed=0)
    assert dictionary.n_latents == 2 * 7
    assert torch.allclose(dictionary.decode(dictionary.encode(x)), x, atol=1e-4)
    with pytest.raises(InputError, match="fewer independent directions"):
        dictionaries.fit("ica", x, n_components=8, seed=0)

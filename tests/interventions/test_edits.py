"""Edits keep what the dictionary does not explain; each does what its formula says, in every kind of dictionary."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass.activations.rows import MemoryRows
from cellglass.dictionaries import fit
from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.dictionaries.kinds.topk import TopKConfig
from cellglass.dictionaries.sparse import SparseDictionary
from cellglass.errors import InputError
from cellglass.interventions import change, edit, intervene


def sparse(width: int = 12, latents: int = 30, k: int = 4, seed: int = 0) -> SparseDictionary:
    """A TopK dictionary with drawn weights: whatever training finds, the identities hold."""
    from cellglass.dictionaries.kinds.topk import TopK

    noise, made = torch.Generator().manual_seed(seed), TopK(TopKConfig(width, latents, k))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=noise) / 2)
        made.scale.fill_(1.7)
        made.centre.copy_(torch.randn(width, generator=noise))
    return made.requires_grad_(False)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(200, 12, generator=torch.Generator().manual_seed(5)) * 2


KNOWN = {"clusters": 8}


@pytest.fixture(params=["sparse", "pca", "random", "neurons", "clusters"])
def dictionary(request: pytest.FixtureRequest, x: torch.Tensor) -> Dictionary:
    return (
        sparse()
        if request.param == "sparse"
        else fit(request.param, MemoryRows(x), n_components=KNOWN.get(request.param))
    )


def dense(dictionary: Dictionary, x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(dictionary.encode(x).to_csr().toarray())


def decoded(dictionary: Dictionary, f: torch.Tensor) -> torch.Tensor:
    """Decode codes given for every latent."""
    return dictionary.decode(Codes(torch.arange(f.shape[1]).expand_as(f), f, f.shape[1]))


FORMULAS = {
    "set": lambda f, v: torch.full_like(f, v),
    "scale": lambda f, v: v * f,
    "add": lambda f, v: (f + v).clamp(min=0),
    "ablate": lambda f, _v: torch.zeros_like(f),
}


@pytest.mark.parametrize("how", FORMULAS)
@pytest.mark.parametrize("amount", [0.0, 0.4, 2.5])
def test_each_edit_is_the_decoded_difference_of_edited_codes(
    dictionary: Dictionary, x: torch.Tensor, how: str, amount: float
) -> None:
    latents = [0, 2, 5]
    f = dense(dictionary, x)
    after = f.clone()
    after[:, latents] = FORMULAS[how](f[:, latents], amount)
    plain = x + decoded(dictionary, after) - decoded(dictionary, f)
    torch.testing.assert_close(intervene(dictionary, x, [edit(how, latents, amount)]), plain, rtol=1e-4, atol=1e-4)


def test_what_changes_nothing_gives_back_the_same_bits(dictionary: Dictionary, x: torch.Tensor) -> None:
    everything = range(dictionary.n_latents)
    for nothing in ([], [edit("scale", everything, 1)], [edit("add", everything, 0)]):
        assert torch.equal(intervene(dictionary, x, nothing), x)
    assert torch.equal(intervene(dictionary, x, [edit("ablate", everything)], dose=0), x)


def test_ablating_takes_exactly_the_concepts_own_part(x: torch.Tensor) -> None:
    dictionary = sparse()
    f = dense(dictionary, x)
    for latent in (1, 7):
        without = intervene(dictionary, x, [edit("ablate", [latent])])
        own = f[:, [latent]] * dictionary.directions[latent]
        assert int((own != 0).any(dim=1).sum()) > 10
        torch.testing.assert_close(x - without, own, rtol=1e-4, atol=1e-5)
        silent = f[:, latent] == 0
        assert torch.equal(without[silent], x[silent])


def test_the_error_of_the_dictionary_stays(x: torch.Tensor) -> None:
    """Ablating all latents leaves what the dictionary does not explain, and what it says of no codes."""
    dictionary = sparse()
    error = x - dictionary.decode(dictionary.encode(x))
    nothing = decoded(dictionary, torch.zeros(len(x), dictionary.n_latents))
    without = intervene(dictionary, x, [edit("ablate", range(dictionary.n_latents))])
    torch.testing.assert_close(without, error + nothing, rtol=1e-4, atol=1e-4)


def test_edits_of_several_concepts_add(dictionary: Dictionary, x: torch.Tensor) -> None:
    edits = [edit("set", [0], 2), edit("scale", [1, 4], [0.5, 3]), edit("add", [5], -0.3)]
    together = change(dictionary, x, edits)
    alone = sum((change(dictionary, x, [one]) for one in edits), torch.zeros_like(x))
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_dose_goes_that_share_of_the_way_and_never_below_nothing(x: torch.Tensor) -> None:
    dictionary = sparse()
    raised = [edit("add", [3, 8], 1.5)]
    full = change(dictionary, x, raised)
    for dose in (0.25, 0.5, 2.0):
        torch.testing.assert_close(change(dictionary, x, raised, dose), dose * full, rtol=1e-4, atol=1e-5)
    ablated = [edit("ablate", [3, 8])]
    torch.testing.assert_close(change(dictionary, x, ablated, 2), change(dictionary, x, ablated), rtol=0, atol=0)


def test_what_cannot_be_is_said(x: torch.Tensor) -> None:
    dictionary = sparse()
    for words, make in {
        "there is no edit 'flip'; there are: set, scale, add, ablate": lambda: edit("flip", [0]),
        "no concept is named": lambda: edit("ablate", []),
        "2 amounts for 1 concepts": lambda: edit("add", [0], [1, 2]),
        "they must be finite": lambda: edit("add", [0], np.inf),
        "0 or more to set or scale": lambda: edit("set", [0], -1),
        "there is no latent 30; they run from 0 to 29": lambda: change(dictionary, x, [edit("ablate", [30])]),
        r"latents 2 are edited twice": lambda: change(dictionary, x, [edit("ablate", [2]), edit("set", [2], 1)]),
    }.items():
        with pytest.raises(InputError, match=words):
            make()
    from cellglass.dictionaries.kinds.topk import TopK

    with pytest.raises(InputError, match="a transcoder writes another site"):
        change(TopK(TopKConfig(12, 30, 4, d_out=12)), x, [edit("ablate", [0])])

"""MLPs that write something else, against networks whose weights were changed to do so."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch

from cellglass.circuits.mlps import mean_outputs, mlp_sites, n_layers, replacing, take
from cellglass.errors import InputError
from cellglass.models.transformer.hooks import run

ENCODERS = ("scgpt", "geneformer")


def batch_of(model, cells):
    tokens = model.tokenise(model.align(cells))
    return tokens.padded(np.arange(len(cells)), model.pad_id, model.pad_value)


def states(model, batch, edits=None, site="layers.1.resid"):
    """What the last layer gives at tokens."""
    with torch.no_grad():
        seen, _ = run(model.net, partial(model.forward, batch), model.points, [site], edits or {})
    return seen[site][batch.mask]


def test_every_layer_has_an_input_and_an_output(model) -> None:
    assert n_layers(model) == 2
    assert mlp_sites(model) == ["layers.0.mlp.in", "layers.0.mlp.out", "layers.1.mlp.in", "layers.1.mlp.out"]
    bare = copy.copy(model)
    bare.points = {"embed": model.points["embed"]}
    with pytest.raises(InputError, match=r"no sites layers\.i\.mlp\.in"):
        n_layers(bare)


def test_reading_changes_nothing_and_takes_the_rows_that_are_marked(model, cells) -> None:
    batch = batch_of(model, cells[:5])
    into: list[torch.Tensor] = []
    place = batch.mask & (torch.arange(batch.ids.shape[1]) % 2 == 0)
    edited = states(model, batch, {"layers.0.mlp.in": take(place, into)})
    assert torch.equal(edited, states(model, batch))
    whole = states(model, batch, site="layers.0.mlp.in")
    assert torch.equal(into[0], whole[place[batch.mask]])


@pytest.mark.parametrize("crosslayer", [False, True])
@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("layers", [[0], [1], [0, 1]])
def test_a_transcoder_that_is_the_mlp_changes_nothing(name, crosslayer, layers, cells, make_model, make_exact) -> None:
    model = make_model(name, cells)
    batch, means = batch_of(model, cells[:6]), torch.randn(2, 16)
    exact = make_exact(model, means, crosslayer=crosslayer)
    found = states(model, batch, replacing(exact, layers, "replaced", batch.mask))
    torch.testing.assert_close(found, states(model, batch), atol=2e-5, rtol=1e-4)
    assert torch.equal(mean_outputs(exact), means)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("layers", [[0], [1], [0, 1]])
def test_zero_and_mean_are_networks_whose_second_map_says_so(
    name, layers, cells, make_model, make_exact, maps_of
) -> None:
    model = make_model(name, cells)
    batch, means = batch_of(model, cells[:6]), torch.randn(2, 16)
    exact = make_exact(model, means)
    for way in ("zeroed", "mean"):
        other = copy.copy(model)
        other.net = copy.deepcopy(model.net)
        with torch.no_grad():
            for i in layers:
                second = maps_of(other)[i][1]
                second.weight.zero_()
                second.bias.copy_(means[i] if way == "mean" else torch.zeros(16))
        found = states(model, batch, replacing(exact, layers, way, batch.mask))
        torch.testing.assert_close(found, states(other, batch), atol=1e-5, rtol=1e-4)
        assert not torch.allclose(found, states(model, batch), atol=1e-2)


def test_a_cross_layer_latent_reaches_the_layers_above_alone(cells, make_model, make_exact) -> None:
    """A latent of layer 0 writes to layer 1 too: with layer 1 replaced alone, that changes what layer 1 writes."""
    model = make_model("scgpt", cells)
    batch, exact = batch_of(model, cells[:6]), make_exact(model, crosslayer=True)
    one = exact.crosslayer
    with torch.no_grad():
        one.written(0)[:, 16:] = 0.3
    plain = states(model, batch)
    only_first = states(model, batch, replacing(exact, [0], "replaced", batch.mask))
    torch.testing.assert_close(only_first, plain, atol=2e-5, rtol=1e-4)
    read = states(model, batch, site="layers.0.mlp.in")
    active = one.encode_layer(read, 0)
    wanted = states(model, batch, site="layers.1.mlp.out") + 0.3 * active.values.sum(1, keepdim=True)
    found = states(model, batch, replacing(exact, [1], "replaced", batch.mask), site="layers.1.mlp.out")
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)


def test_padding_does_not_matter(cells, make_model, make_exact) -> None:
    model = make_model("scgpt", cells)
    exact, both = make_exact(model), batch_of(model, cells[2:4])
    assert not bool(both.mask.all())
    together = states(model, both, replacing(exact, [0, 1], "mean", both.mask))
    alone = []
    for i in (2, 3):
        one = batch_of(model, cells[i : i + 1])
        alone.append(states(model, one, replacing(exact, [0, 1], "mean", one.mask)))
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)

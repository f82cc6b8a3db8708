"""What stands in the place of MLPs: all parts together write what the MLPs write; cross-layer ones too."""

from __future__ import annotations

import pytest
import torch

from cellglass.circuits.features import replace_mlps
from cellglass.circuits.propagation import effects, feature_targets
from cellglass.dictionaries import (
    BatchTopK,
    BatchTopKConfig,
    CrossLayerConfig,
    CrossLayerTranscoder,
    Gated,
    GatedConfig,
    TopK,
    TopKConfig,
)
from cellglass.errors import InputError
from circuits.networks import LATENTS, LAYERS, WIDTH, K, frozen, transcoders


@pytest.mark.parametrize("skip", [False, True])
def test_all_parts_together_write_what_the_mlp_writes(skip: bool) -> None:
    made = frozen("gemma2")
    replacement = replace_mlps(made, transcoders(made, skip=skip))
    for ours, theirs in zip(replacement.written(made), made.mlp_out, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_without_its_error_it_writes_what_the_transcoder_writes() -> None:
    made = frozen("gpt_neox", torch.float32)
    own = transcoders(made, skip=True)
    replacement = replace_mlps(made, own)
    for layer, one in enumerate(own):
        x = made.mlp_in[layer]
        written = replacement.written(made)[layer] - replacement.error[layer]
        torch.testing.assert_close(written, one.decode(one.encode(x), x), rtol=1e-4, atol=1e-4)
        codes = one.encode(x).to_csr()
        assert replacement.features[layer].n_active == codes.nnz


def crosslayer(made) -> CrossLayerTranscoder:
    torch.manual_seed(0)
    one = CrossLayerTranscoder(
        CrossLayerConfig(LAYERS * WIDTH, LAYERS * LATENTS, k=K, d_out=LAYERS * WIDTH, n_layers=LAYERS)
    )
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.normal_(std=0.3)
    both = torch.cat([*made.mlp_in, *made.mlp_out], dim=1).float()
    one.set_statistics(both.mean(0), both.var(0))
    return one.freeze()


@pytest.mark.parametrize("name", ["gpt_neox", "scgpt"])
def test_features_of_a_cross_layer_transcoder_write_to_later_layers(name: str) -> None:
    made = frozen(name)
    one = crosslayer(made)
    replacement = replace_mlps(made, one)
    x = torch.cat(list(made.mlp_in), dim=1).float()
    whole = one.decode(one.encode(x)).split(WIDTH, dim=1)
    for layer, (ours, theirs) in enumerate(zip(replacement.written(made), made.mlp_out, strict=True)):
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close((ours - replacement.error[layer]).float(), whole[layer], rtol=1e-3, atol=1e-3)
    features = replacement.features[LAYERS - 1]
    position, slot = torch.nonzero(features.value > 0, as_tuple=True)
    targets = feature_targets(made, replacement, LAYERS - 1, position, features.latent[position, slot])
    for total in (False, True):
        found = effects(made, replacement, targets, total=total)
        torch.testing.assert_close(found.sums(total=total), features.value[position, slot])


def test_thresholded_transcoders_have_another_number_of_active_features_at_each_token() -> None:
    made, found = frozen("gpt_neox"), []
    for layer, (x, y) in enumerate(zip(made.mlp_in, made.mlp_out, strict=True)):
        torch.manual_seed(layer)
        one = BatchTopK(BatchTopKConfig(WIDTH, LATENTS, k=K, d_out=WIDTH))
        with torch.no_grad():
            for parameter in one.parameters():
                parameter.normal_(std=0.3)
        both = torch.cat([x, y], dim=1).float()
        one.set_statistics(both.mean(0), both.var(0))
        one.threshold.fill_(1.0)
        found.append(one.freeze())
    replacement = replace_mlps(made, found)
    numbers = (replacement.features[0].value > 0).sum(1)
    assert len(set(numbers.tolist())) > 1
    for ours, theirs in zip(replacement.written(made), made.mlp_out, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_what_cannot_stand_in_is_refused() -> None:
    made = frozen("gpt_neox")
    own = transcoders(made)
    with pytest.raises(InputError, match="there are 2 transcoders, but the model has 3 layers"):
        replace_mlps(made, own[:2])
    gated = Gated(GatedConfig(WIDTH, LATENTS, k=K, d_out=WIDTH)).freeze()
    with pytest.raises(InputError, match="layer 1 is of kind 'gated', whose activations are not linear"):
        replace_mlps(made, [own[0], gated, own[2]])
    plain = TopK(TopKConfig(WIDTH, LATENTS, k=K)).freeze()
    with pytest.raises(InputError, match="layer 2 writes the site that it reads"):
        replace_mlps(made, [own[0], own[1], plain])
    wide = TopK(TopKConfig(WIDTH, LATENTS, k=K, d_out=WIDTH + 1)).freeze()
    with pytest.raises(InputError, match=f"reads width {WIDTH} and writes {WIDTH + 1}, but"):
        replace_mlps(made, [wide, *own[1:]])

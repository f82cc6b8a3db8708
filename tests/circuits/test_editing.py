"""Edited runs: nothing replaced is the model itself; what is written is the sum by hand; frozen and live agree so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass.circuits.answers import real_values
from cellglass.circuits.asked import Asked, ask
from cellglass.circuits.choice import on_masks, units
from cellglass.circuits.editing import Filling, Written, frozen_answers, mean_activations, real_answers
from cellglass.dictionaries import CrossLayerConfig, CrossLayerTranscoder
from cellglass.errors import InputError
from circuits.models import LATENTS, TARGETS, WIDTH, K, asked_of, cells_of, model_of, transcoders_of

KINDS = sorted(TARGETS)


def written_of(one: Asked, circuits: list[np.ndarray], filling: Filling, level="node", *, removed=False) -> Written:
    made = units(one.replacement, level)
    return Written(one.frozen, one.replacement, filling, *on_masks(made, one.replacement, circuits), removed)


NONE = np.empty(0, dtype=np.int64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answering", [False, True])
@pytest.mark.parametrize("skip", [False, True])
def test_with_nothing_replaced_both_runs_say_what_the_model_says(kind: str, answering: bool, skip: bool) -> None:
    one = asked_of(kind, skip=skip)
    (own,) = real_values(one.model, [one.question])
    assert abs(own) > 1e-3
    for level in ("node", "whole"):
        everything = np.arange(len(units(one.replacement, level)))
        filling = Filling(answering=answering)
        for answer in (real_answers, frozen_answers):
            found = answer(one, written_of(one, [everything], filling, level))
            np.testing.assert_allclose(found, [own], rtol=1e-3, atol=1e-4)
            found = answer(one, written_of(one, [NONE], filling, level, removed=True))
            np.testing.assert_allclose(found, [own], rtol=1e-3, atol=1e-4)
            other = answer(one, written_of(one, [NONE], filling, level))
            assert abs(other[0] - own) > 1e-3


def by_hand(one: Asked, layer: int, kept: np.ndarray, means, *, whole: bool, removed: bool) -> torch.Tensor:
    """What is written by a loop over every feature at every token; `kept` says (layer, token, feature) are in."""
    made, f = one.replacement, one.replacement.features[layer]
    out = (made.constant[layer] + made.error[layer]).clone()
    for t in range(one.frozen.n_tokens):
        values = torch.zeros(len(f.read))
        for slot in range(K):
            values[f.latent[t, slot]] += f.value[t, slot]
        for latent in range(len(f.read)):
            inside = bool(kept[t, latent]) != removed
            out[t] += (values[latent] if inside else means[latent]) * f.write[layer][latent]
    return out


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("level", ["node", "whole"])
@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_what_is_written_is_the_sum_over_every_feature(removed: bool, level: str, fill: str) -> None:
    one = asked_of("gpt_neox")
    made = units(one.replacement, level)
    chosen = np.random.default_rng(0).choice(len(made), len(made) // 3, replace=False)
    means = [torch.rand(len(f.read)) for f in one.replacement.features]
    filling = Filling(None if fill == "zero" else means)
    written = written_of(one, [chosen, NONE], filling, level, removed=removed)
    start = 0
    for layer, f in enumerate(one.replacement.features):
        kept = np.zeros((one.frozen.n_tokens, len(f.read)), dtype=bool)
        position, slot = (x.numpy() for x in torch.nonzero(f.value > 0, as_tuple=True))
        if level == "node":
            own = np.isin(np.arange(start, start + len(position)), chosen)
            kept[position[own], f.latent.numpy()[position[own], slot[own]]] = True
        else:
            kept[:, made.latent[chosen][made.layer[chosen] == layer]] = True
        start += len(position)
        fills = means[layer] if fill == "mean" else torch.zeros(len(f.read))
        expected = by_hand(one, layer, kept, fills, whole=level == "whole", removed=removed)
        found = written(layer, one.frozen.mlp_in[layer].expand(2, -1, -1))
        torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-4)


def test_means_are_over_all_tokens_of_all_cells() -> None:
    model, made = model_of("gpt_neox"), transcoders_of("gpt_neox")
    found = mean_activations(model, cells_of()[:2], made, *TARGETS["gpt_neox"])
    parts = [ask(model, cells_of()[i : i + 1], made, *TARGETS["gpt_neox"]) for i in range(2)]
    for layer, mean in enumerate(found):
        total, tokens = torch.zeros(len(mean)), 0
        for one in parts:
            f = one.replacement.features[layer]
            for t in range(one.frozen.n_tokens):
                for slot in range(K):
                    total[f.latent[t, slot]] += f.value[t, slot]
            tokens += one.frozen.n_tokens
        torch.testing.assert_close(mean, total / tokens)
    with pytest.raises(InputError, match="no cells to take means of"):
        mean_activations(model, cells_of()[:0], made, *TARGETS["gpt_neox"])


def test_without_errors_the_transcoders_speak_alone() -> None:
    one = asked_of("geneformer")
    everything = np.arange(len(units(one.replacement)))
    found = real_answers(one, written_of(one, [everything], Filling(error=False)))
    (own,) = real_values(one.model, [one.question])
    assert abs(found[0] - own) > 1e-3


def test_answering_features_pass_on_what_is_taken_out_before_them() -> None:
    one = asked_of("gpt_neox")
    made = units(one.replacement)
    first = np.flatnonzero(made.layer == 0)
    still = real_answers(one, written_of(one, [first], Filling(), removed=True))
    moved = real_answers(one, written_of(one, [first], Filling(answering=True), removed=True))
    assert abs(still[0] - moved[0]) > 1e-4
    last = np.flatnonzero(made.layer == 1)  # nothing comes behind, so that nothing answers
    still = real_answers(one, written_of(one, [last], Filling(), removed=True))
    moved = real_answers(one, written_of(one, [last], Filling(answering=True), removed=True))
    np.testing.assert_allclose(still, moved, rtol=1e-4, atol=1e-5)


def test_many_circuits_in_small_batches_are_those_alone() -> None:
    one = asked_of("scgpt")
    n = len(units(one.replacement))
    circuits = [np.arange(i, n, 5) for i in range(5)]
    together = real_answers(one, written_of(one, circuits, Filling()))
    alone = [real_answers(one, written_of(one, [c], Filling()))[0] for c in circuits]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    assert len(set(np.round(together, 4))) > 1


@pytest.mark.parametrize("answering", [False, True])
def test_cross_layer_features_are_kept_and_replaced_in_every_layer_that_they_write_to(answering: bool) -> None:
    plain = asked_of("gpt_neox")
    torch.manual_seed(0)
    made = CrossLayerTranscoder(CrossLayerConfig(2 * WIDTH, 2 * LATENTS, k=K, d_out=2 * WIDTH, n_layers=2))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3)
    both = torch.cat([*plain.frozen.mlp_in, *plain.frozen.mlp_out], dim=1)
    made.set_statistics(both.mean(0), both.var(0))
    one = ask(plain.model, plain.cell, made.freeze(), *TARGETS["gpt_neox"])
    own = units(one.replacement)
    filling = Filling(answering=answering)
    first = np.flatnonzero(own.layer == 0)
    for answer in (real_answers, frozen_answers):
        found = answer(one, written_of(one, [np.arange(len(own)), first], filling))
        np.testing.assert_allclose(found[0], plain.answers.found[0], rtol=1e-3, atol=1e-4)
        assert abs(found[1] - found[0]) > 1e-3
    written = written_of(one, [first], filling)
    for layer in range(2):
        found = written(layer, one.frozen.mlp_in[layer][None])[0]
        made_by = one.replacement.features[0]
        expected = torch.einsum("tk,tkd->td", made_by.value, made_by.write[layer][made_by.latent])
        expected = expected + one.replacement.constant[layer] + one.replacement.error[layer]
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)

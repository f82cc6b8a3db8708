"""Features that are scaled while a model runs: by loops over tokens and features; the control as long, elsewhere."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from cellglass.circuits.answers import Question, question, real_values, run_copies
from cellglass.circuits.scaling import ScaleFeatures, Scaling
from cellglass.circuits.trying import try_changes
from cellglass.dictionaries import CrossLayerConfig, CrossLayerTranscoder
from circuits.models import LATENTS, TARGETS, WIDTH, K, cells_of, model_of, transcoders_of

KINDS = sorted(TARGETS)


@cache
def active(kind: str, layer: int, gene: str | None = None) -> list[int]:
    """Features of a layer that are active in the first cell, or at a gene, strongest first; by a product and a sort."""
    asked = asked_of(kind)
    place = [gene is None or gene == own for own in asked.genes]
    x = run_copies(model_of(kind), asked, 1, f"layers.{layer}.mlp.in")[0]
    total = torch.stack([by_hand(transcoders_of(kind)[layer], row) for row in x[place]]).sum(0)
    return [int(i) for i in torch.argsort(-total) if total[i] > 0]


@cache
def asked_of(kind: str) -> Question:
    model = model_of(kind)
    return question(model, model.align(cells_of()[:1]), *TARGETS[kind])


def by_hand(one: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the activations of all features at one token, (m,): the K largest, where they are positive."""
    p = one.encoder @ ((x - one.centre) / one.scale) + one.encoder_bias
    values = torch.zeros(len(p))
    for i in p.topk(K).indices.tolist():
        values[i] = max(0.0, float(p[i]))
    return values


def with_hooks(kind: str, members: list[tuple[int, int]], factor: float, places: list[bool]) -> float:
    """Return the answer with features scaled by loops, in the network as the model runs it."""
    model, asked = model_of(kind), asked_of(kind)
    inputs: dict[int, torch.Tensor] = {}
    edits: dict[str, Any] = {}
    for layer in range(2):

        def keep(x: torch.Tensor, layer: int = layer) -> torch.Tensor:
            inputs[layer] = x[0].clone()
            return x

        def put(y: torch.Tensor, layer: int = layer) -> torch.Tensor:
            one, out = transcoders_of(kind)[layer], y.clone()
            for t in range(y.shape[1]):
                values = by_hand(one, inputs[layer][t])
                for of, i in members:
                    if of == layer and places[t]:
                        out[0, t] += (factor - 1) * values[i] * one.decoder[i] * one.scale_out
            return out

        edits |= {f"layers.{layer}.mlp.in": keep, f"layers.{layer}.mlp.out": put}
    with torch.no_grad():
        return float(asked.reader(run_copies(model, asked, 1, asked.point, edits))[0])


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_scaled_as_a_loop_over_tokens_does_it(kind: str) -> None:
    model, cell, asked = model_of(kind), cells_of()[:1], asked_of(kind)
    members = [(0, active(kind, 0)[0]), (0, active(kind, 0)[1]), (1, active(kind, 1)[0])]
    (own,) = real_values(model, [asked])
    for factor in (0.0, 2.5):
        found = try_changes(
            model, cell, transcoders_of(kind), *TARGETS[kind], changes=[ScaleFeatures(members, factor)], draws=2
        )
        assert found.before == pytest.approx(own, abs=1e-5)
        wanted = with_hooks(kind, members, factor, [True] * len(asked.texts))
        assert found.after == pytest.approx(wanted, rel=1e-4, abs=1e-5)
        assert abs(found.change) > 1e-4
        assert found.touched > 0
        assert found.norm > 0
    some = [gene == "CD3D" for gene in asked.genes]
    there = [(0, active(kind, 0, "CD3D")[0])]
    found = try_changes(
        model, cell, transcoders_of(kind), *TARGETS[kind], changes=[ScaleFeatures(there, 0, "CD3D")], draws=0
    )
    assert found.after == pytest.approx(with_hooks(kind, there, 0, some), rel=1e-4, abs=1e-5)
    assert 0 < found.touched <= sum(some)
    assert np.isnan(found.share)


def test_the_control_is_as_long_at_every_token_and_the_same_in_all_cells() -> None:
    one = ScaleFeatures([(0, 1), (0, 5), (1, 2)], 0)
    scaling = Scaling.of(model_of("scgpt"), transcoders_of("scgpt"), [one])
    rows = transcoders_of("scgpt")[0].directions[[1, 5]]
    added = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)) @ rows
    turned = scaling.turned(0, added, range(3), 0)
    for draw in turned:
        torch.testing.assert_close(draw @ draw.T, (added @ added.T).double(), rtol=1e-4, atol=1e-4)
    assert float((turned[0] - turned[1]).norm()) > 1
    torch.testing.assert_close(scaling.turned(0, added[3:], [2], 0)[0], turned[2, 3:])


def test_features_that_write_to_later_layers_are_scaled_in_all_of_them() -> None:
    kind = "scgpt"
    config = CrossLayerConfig(2 * WIDTH, 2 * LATENTS, K, d_out=2 * WIDTH, n_layers=2)
    torch.manual_seed(0)
    one = CrossLayerTranscoder(config)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.normal_(std=0.3)
    one = one.freeze()
    model, asked = model_of(kind), asked_of(kind)
    x = run_copies(model, asked, 1, "layers.0.mlp.in")[0]
    codes = one.encode_layer(x, 0)
    latent = int(codes.indices[0, 0])
    value = torch.where(codes.indices == latent, codes.values, 0).sum(1)
    rows = one.written(0)[latent].detach().view(2, WIDTH)
    edits = {f"layers.{i}.mlp.out": lambda y, row=rows[i]: y - value[:, None] * row for i in range(2)}
    with torch.no_grad():
        wanted = float(asked.reader(run_copies(model, asked, 1, asked.point, edits))[0])
    found = try_changes(model, cells_of()[:1], one, *TARGETS[kind], changes=[ScaleFeatures([(0, latent)])], draws=2)
    assert found.after == pytest.approx(wanted, rel=1e-4, abs=1e-5)

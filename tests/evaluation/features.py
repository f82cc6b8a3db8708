"""A small Cell2Sentence whose first layer's transcoder has features planted: each fires on the tokens of one gene."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import torch

from cellglass.cells.cells import Cells
from cellglass.circuits.objectives import GENE, objective_of
from cellglass.circuits.transcoders import Transcoders, fingerprint_of
from cellglass.dictionaries import TopK, TopKConfig
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.evaluation.feature_meaning import Rule
from cellglass.evaluation.feature_units import features_of, read_tokens_at
from circuits.models import LATENTS, NAMES, WIDTH, K, cells_of, model_of

SHORT = TrainConfig(batch_size=64, steps=20, check_every=10)
RULE = Rule(most_genes=1, fewest=5)


@cache
def some_cells() -> Cells:
    """Return cells, half of them B cells with more of CD79A."""
    return cells_of(24)


@cache
def planted() -> tuple[Any, Transcoders, dict[int, str]]:
    """Return the model, its transcoders, and of each planted feature of layer 0 the gene.

    In a parallel block the first MLP reads its own token alone. A feature is planted on a gene that has a token that
    no other gene has, and that a plane parts from all others.
    """
    model = model_of("gpt_neox")
    points = [model.points[f"layers.{i}.mlp.in"] for i in range(2)]
    read = list(read_tokens_at(objective_of(model, "type"), some_cells(), points))
    gene, part = (np.concatenate([getattr(tokens, name) for tokens in read]) for name in ("gene", "part"))
    made, genes = [], {}
    for layer in range(2):
        x = torch.cat([tokens.states[layer] for tokens in read])
        torch.manual_seed(layer)
        one = TopK(TopKConfig(WIDTH, LATENTS, k=K, d_out=WIDTH))
        with torch.no_grad():
            for parameter in one.parameters():
                parameter.normal_(std=0.3)
        both = torch.cat([x, x], dim=1)
        one.set_statistics(both.mean(0), both.var(0))
        if layer == 0:
            genes = _plant(one, one.normalise(x), gene, part)
        made.append(one.freeze())
    training = {"training": asdict(SHORT), "cells": 20, "job": "planted"}
    found = Transcoders(model.kind, fingerprint_of(model), 2, tuple(made), labels="type", training=training)
    assert features_of(model, found).numbers == [LATENTS, LATENTS]
    return model, found, genes


@torch.no_grad()
def _plant(one: TopK, u: torch.Tensor, gene: np.ndarray, part: np.ndarray) -> dict[int, str]:
    genes: dict[int, str] = {}
    kinds, first, which = np.unique(u.numpy().round(4), axis=0, return_index=True, return_inverse=True)
    owners = [set(np.where(part == GENE, gene, -1)[which.ravel() == i].tolist()) for i in range(len(kinds))]
    for i, owner in enumerate(owners):
        if len(owner) > 1 or -1 in owner or next(iter(owner)) in genes.values():
            continue
        towards = torch.from_numpy(kinds[i]).float()
        scores = torch.from_numpy(kinds).float() @ towards
        others = torch.cat([scores[:i], scores[i + 1 :]]).max()
        if others < scores[i]:
            feature = len(genes)
            scale = 20 / float(scores[i] - others)
            one.encoder[feature] = scale * towards
            one.encoder_bias[feature] = -scale * float(others)
            genes[feature] = next(iter(owner))
    assert len(first) == len(kinds)
    return {feature: NAMES[number] for feature, number in genes.items()}

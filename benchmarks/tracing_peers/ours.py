"""What both of our scripts need: a saved Llama frozen on a prompt, its transcoders in place, and its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from cellglass import dictionaries
from cellglass.circuits.build import Answers
from cellglass.circuits.features import Replacement, replace_mlps
from cellglass.circuits.freezing import freeze
from cellglass.circuits.linear_map import Frozen
from cellglass.circuits.propagation import Targets
from cellglass.dictionaries.base import Dictionary

_MOST, _SHARE = 10, 0.95


def model_of(folder: Path) -> nn.Module:
    """Return the network of a folder."""
    net: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return net.eval().requires_grad_(False)


def transcoders_of(folder: Path) -> list[Dictionary]:
    """Return the transcoders of a folder, layer after layer."""
    return [dictionaries.load(folder / f"layer-{i}") for i in range(len(list(folder.glob("layer-*"))))]


def frozen_on(net: Any, tokens: tuple[int, ...]) -> Frozen:
    """Return the network frozen on a prompt."""
    ids = torch.tensor([tokens])
    return freeze(net, lambda: net.base_model(ids))


def replaced(frozen: Frozen, transcoders: list[Dictionary], *, first: bool = False) -> Replacement:
    """Return what stands in the place of the MLPs; features and errors of the first token are 0 unless `first`.

    circuit-tracer leaves those of the special token in front out; this is for the comparison alone.
    """
    made = replace_mlps(frozen, transcoders)
    if not first:
        for features, error in zip(made.features, made.error, strict=True):
            features.value[0] = 0
            error[0] = 0
    return made


def answers_of(net: Any, frozen: Frozen) -> Answers:
    """Return the likeliest next tokens: at most 10, or 0.95 of the probability; each is its logit less the mean one."""
    unembedding = net.lm_head.weight  # (vocabulary, d)
    probability = torch.softmax(frozen.final[-1] @ unembedding.T, -1)
    top = probability.topk(_MOST)
    n = min(_MOST, int((top.values.cumsum(0) < _SHARE).sum()) + 1)
    ids, weights = top.indices[:n], top.values[:n]
    gradient = frozen.final.new_zeros(frozen.n_tokens, n, unembedding.shape[1])
    gradient[-1] = unembedding[ids] - unembedding.mean(0)
    targets = Targets(len(frozen.steps), gradient, torch.zeros(n))
    labels = [str(int(one)) for one in ids]
    return Answers(targets, labels, targets.values(frozen.final).numpy(), (weights / weights.sum()).double().numpy())

"""One backward pass a node: autograd through the frozen model, as one would write it without a tracer.

The frozen model is run forward once; then each node of a sample takes one backward pass to what every MLP wrote and to
the tokens, and the products with what its sources wrote. Beside the time stands how far these rows are from ours.
"""

from __future__ import annotations

import time

import torch
from ours import frozen_on, model_of, replaced, transcoders_of
from protocol import Job, start

from cellglass.circuits.features import Replacement
from cellglass.circuits.linear_map import Frozen, through
from cellglass.circuits.propagation import effects, feature_targets

Tensor = torch.Tensor
Node = tuple[int, int, int]


def main(job: Job) -> None:
    """Time a sample of the nodes, drawn evenly among the active features."""
    net = model_of(job.model)
    frozen = frozen_on(net, job.tokens)
    replacement = replaced(frozen, transcoders_of(job.transcoders))
    nodes = sampled(replacement, job.sample)
    first = frozen.first.clone().requires_grad_()
    written = [one.clone().requires_grad_() for one in replacement.written(frozen)]
    states = list(frozen.states(first, written))
    begin = time.perf_counter()
    found = [row(frozen, replacement, states, [first, *written], node) for node in nodes]
    seconds = (time.perf_counter() - begin) / len(nodes)
    deviation, largest = 0.0, 0.0
    for (layer, token, latent), rows in zip(nodes, found, strict=True):
        targets = feature_targets(frozen, replacement, layer, torch.tensor([token]), torch.tensor([latent]))
        ours = effects(frozen, replacement, targets)
        flat = torch.cat([one[..., 0].flatten() for one in (*ours.features, *ours.errors, *ours.parts.values())])
        deviation = max(deviation, float((flat - rows).abs().max()))
        largest = max(largest, float(flat.abs().max()))
    active = sum(one.n_active for one in replacement.features)
    job.tell(seconds_a_node=seconds, sample=len(nodes), active=active, deviation=deviation, largest=largest)


def sampled(replacement: Replacement, n: int) -> list[Node]:
    """Return layer, token and latent of n active features at even distances."""
    every = [
        (layer, int(t), int(one.latent[t, slot]))
        for layer, one in enumerate(replacement.features)
        for t, slot in torch.nonzero(one.value > 0).tolist()
    ]
    n = min(n, len(every))
    return [every[(2 * i + 1) * len(every) // (2 * n)] for i in range(n)]


def row(frozen: Frozen, replacement: Replacement, states: list[Tensor], leaves: list[Tensor], node: Node) -> Tensor:
    """Return the direct effects of features, errors and tokens on one feature."""
    layer, token, latent = node
    read = through(frozen.mlp(layer).before, states[frozen.reads(layer)])[token]
    target = read @ replacement.features[layer].read[latent]
    grads = torch.autograd.grad(target, leaves, retain_graph=True, allow_unused=True)
    first, *fall = (torch.zeros_like(leaf) if g is None else g for g, leaf in zip(grads, leaves, strict=True))
    features = [
        f.value * torch.einsum("tkd,td->tk", f.write[i][f.latent], g)
        if grads[i + 1] is not None
        else torch.zeros_like(f.value)
        for i, (f, g) in enumerate(zip(replacement.features, fall, strict=True))
    ]
    errors = [(e * g).sum(1) for e, g in zip(replacement.error, fall, strict=True)]
    parts = [(part * first).sum(1) for part in frozen.parts.values()]
    return torch.cat([one.flatten() for one in (*features, *errors, *parts)])


if __name__ == "__main__":
    main(start())

r"""Attention heads: what each carries from each source token to a target, through its map of values and outputs.

A target is a linear function g of one state of the stream. Along the stream alone, without passing another attention
or an MLP, it is the sum of

    head h of a layer, source s    sum over tokens t of pattern[h, t, s] (v[h, s] W_O[h]) . g[t]
    what the MLP of a layer writes . g,   what tokens bring . g,   biases . g,   and the target's own constant

(Dunefsky et al. 2024, arXiv 2406.11944, where one token t is asked about). v holds the bias of values, and g is what
the norms on the stream, and behind attention, make of the target's gradient with their scales frozen. Heads of layers
that are not upstream carry nothing; in a parallel block these are those of a feature's own layer too. A contribution
is a linear function of the state at its source, so that it is a target again: its own parts, at the source, are
tokens, features, errors, biases, and heads of earlier layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from cellglass.circuits.features import Replacement
from cellglass.circuits.linear_map import Attend, Frozen, Mlp, back_through, through
from cellglass.circuits.propagation import Targets
from cellglass.circuits.stream import at, down, stream_parts
from cellglass.errors import InputError

Tensor = torch.Tensor


@dataclass(frozen=True)
class HeadEffects:
    """What B targets are the sum of along the stream.

    Attributes
    ----------
    heads : torch.Tensor, (n_layers, h, t, B)
        From each source token, with the bias of values.
    mlps : torch.Tensor, (n_layers, t, B)
        What each MLP writes.
    parts : mapping of str to torch.Tensor, (t, B)
        Of what the first state is the sum of.
    biases : mapping of str to torch.Tensor, (B,)
        Of attention's outputs and of norms.
    constant : torch.Tensor, (B,)
    """

    heads: Tensor
    mlps: Tensor
    parts: dict[str, Tensor]
    biases: dict[str, Tensor]
    constant: Tensor

    def sums(self) -> Tensor:
        """Return what all add up to, (B,): the targets."""
        found = self.heads.sum((0, 1, 2)) + self.mlps.sum((0, 1)) + self.constant
        return found + sum(one.sum(0) for one in self.parts.values()) + sum(self.biases.values())

    def table(self, target: int = 0, most: int | None = None) -> pd.DataFrame:
        """Return columns layer, head, source and effect of one target, largest first; zeros are left out."""
        effect = self.heads[..., target].cpu().numpy()
        order = np.argsort(-np.abs(effect), axis=None, kind="stable")[:most]
        layer, head, source = np.unravel_index(order, effect.shape)
        found = pd.DataFrame({"layer": layer, "head": head, "source": source, "effect": effect.ravel()[order]})
        return found[found["effect"] != 0].reset_index(drop=True)


@torch.no_grad()
def head_effects(frozen: Frozen, targets: Targets) -> HeadEffects:
    """Return what each head carries from each source token to `targets`.

    Parameters
    ----------
    frozen
        The transformer on one input.
    targets
        Answers, or `feature_targets`.
    """
    _check(targets)
    n, n_targets = frozen.n_tokens, targets.gradient.shape[1]
    attends = [step for step in frozen.steps if isinstance(step, Attend)]
    heads = frozen.final.new_zeros(len(attends), attends[0].heads.n_heads, n, n_targets)
    mlps = frozen.final.new_zeros(frozen.n_layers, n, n_targets)
    biases: dict[str, Tensor] = {}
    states = list(frozen.states(frozen.first, frozen.mlp_out))[: targets.state]
    g = targets.gradient
    for i, step, behind in down(frozen, g, targets.state):
        if isinstance(step, Attend):
            g, added, name = behind, back_through(step.after, behind), f"layers.{step.layer}.attention"
            heads[step.layer] = by_source(step, states[i], behind)
            if step.heads.output_bias is not None:
                biases[name] = added.sum(0) @ step.heads.output_bias
            bias = None if step.after is None else step.after.bias
        elif isinstance(step, Mlp):
            g = behind
            mlps[step.layer] = torch.einsum("td,tbd->tb", frozen.mlp_out[step.layer], behind)
            continue
        else:
            g, bias, name = step.norm.back(behind), step.norm.bias, f"norm {i}"
        if bias is not None:
            biases[name] = biases.get(name, 0) + behind.sum(0) @ bias
    parts = {name: torch.einsum("td,tbd->tb", part, g) for name, part in frozen.parts.items()}
    return HeadEffects(heads, mlps, parts, biases, targets.constant)


@torch.no_grad()
def head_targets(frozen: Frozen, targets: Targets, layer: int, head: int, source: int) -> Targets:
    """Return what one head carries from one source token to `targets`, as targets: functions of the source's state.

    Parameters
    ----------
    frozen, targets
        As of `head_effects`.
    layer, head, source
        Which contribution. `effects` of what is returned splits it over tokens, features, errors and biases by all
        paths through earlier attention; `head_effects` over earlier heads.

    Raises
    ------
    InputError
        A head or a token that is not there, or a layer that is not upstream of the targets.
    """
    _check(targets)
    place, step, g = _upstream(frozen, targets, layer)
    heads = step.heads
    if not 0 <= head < heads.n_heads:
        raise InputError(f"there is no head {head}; layer {layer} has heads 0 to {heads.n_heads - 1}")
    if not 0 <= source < frozen.n_tokens:
        raise InputError(f"there is no token {source}; the input has tokens 0 to {frozen.n_tokens - 1}")
    read = _read(step, back_through(step.after, g))[head, source]  # (B, c)
    value = heads.value.view(len(heads.value), heads.n_heads, -1)[:, head]
    direction = read @ value.T  # (B, d), of what is normalised
    constant = read.new_zeros(len(read))
    if heads.value_bias is not None:
        constant = constant + read @ heads.value_bias.view(heads.n_heads, -1)[head]
    if step.before is not None and step.before.bias is not None:
        constant = constant + direction @ step.before.bias
    gradient = torch.zeros_like(g)
    gradient[source] = back_through(None if step.before is None else at(step.before, source), direction[None])[0]
    return Targets(place, gradient, constant)


@torch.no_grad()
def carried(
    frozen: Frozen,
    replacement: Replacement | None,
    targets: Targets,
    layer: int,
    head: int,
    source: int,
    *,
    target: int = 0,
) -> pd.DataFrame:
    """Return what of the stream at a source token makes one contribution of a head.

    Parameters
    ----------
    frozen, replacement
        The transformer on one input, and what stands in the place of its MLPs, or None.
    targets, layer, head, source
        As of `head_targets`.
    target
        Which of the targets.

    Returns
    -------
    pandas.DataFrame
        The columns of `stream_parts` and ``effect``, largest first, of which the sum is the contribution.
    """
    found = head_targets(frozen, targets, layer, head, source)
    parts = stream_parts(frozen, replacement, found.state, source)
    effect = torch.cat([parts.vectors @ found.gradient[source, target], found.constant[target, None]])
    table = parts.with_bias("values").assign(effect=effect.cpu().numpy())
    return table.sort_values("effect", key=np.abs, ascending=False, kind="stable", ignore_index=True)


def by_source(step: Attend, state: Tensor, g: Tensor) -> Tensor:
    """Return what each head carries from each source token, (h, s, B).

    Parameters
    ----------
    step
        An attention.
    state : torch.Tensor, (t, d)
        Of the stream in front of it.
    g : torch.Tensor, (t, B, d)
        Gradient with respect to what it adds to the stream.
    """
    values = step.heads.values(through(step.before, state))
    return torch.einsum("hsc,hsbc->hsb", values, _read(step, back_through(step.after, g)))


def read_by_heads(step: Attend, g: Tensor) -> Tensor:
    """Return gradients of what attention gives, (t, B, d), with respect to what each head reads, (h, t, B, c)."""
    t, b, _ = g.shape
    return (g @ step.heads.output.T).view(t, b, step.heads.n_heads, -1).permute(2, 0, 1, 3)


def _read(step: Attend, g: Tensor) -> Tensor:
    """Return gradients of what attention gives, (t, B, d), with respect to the values, (h, s, B, c)."""
    return torch.einsum("hts,htbc->hsbc", step.heads.pattern, read_by_heads(step, g))


def _check(targets: Targets) -> None:
    if targets.added:
        raise InputError("heads are told of states of the stream; ask at resid, not at what attention or an MLP adds")


def _upstream(frozen: Frozen, targets: Targets, layer: int) -> tuple[int, Attend, Tensor]:
    for i, step, g in down(frozen, targets.gradient, targets.state):
        if isinstance(step, Attend) and step.layer == layer:
            return i, step, g
    raise InputError(f"heads of layer {layer} are not upstream of the target")

r"""Exact effects on answers and features of all that is added to a residual stream.

Direct effect of a source on a target: what the source adds to the stream, carried on by attention, norms and skip
connections alone, without passing a feature. All direct effects on a target, with its own constant, add up to it:

    target = sum over features + errors + tokens + biases + constant

The total effect passes through features too, with the choice of active ones frozen. Then features are no sources but
what lies between, and

    target = sum over errors + tokens + biases, among them what active features read as a constant, + constant

With linear patterns, gradients pass through queries and keys too: each softmax is linearised on this input, and what of
a pattern does not depend on the input to first order is a bias of its own (``layers.i.pattern``, negative of what its
linear part makes of this input). A source then has credit for where heads look, beside what they carry.

Frozen patterns are the default; ``docs/results/circuits.md`` has both beside what deleting a gene does.

Both come of one walk back, for a batch of targets at once, and a bias's part is computed from the bias itself, so that
the sums can be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from cellglass.circuits.features import Replacement
from cellglass.circuits.linear_map import Frozen, Rescale, back_through, check_patterns

Tensor = torch.Tensor


@dataclass(frozen=True)
class Targets:
    """What is asked about: B linear functions of one state of the stream.

    Attributes
    ----------
    state : int
        Which state of the stream.
    gradient : torch.Tensor, (t, B, d)
        With respect to that state.
    constant : torch.Tensor, (B,)
        What the target is of a state of zeros.
    added : bool
        Whether they are functions of what the step before the state adds to the stream, and not of all of the state.
    """

    state: int
    gradient: Tensor
    constant: Tensor
    added: bool = False

    def values(self, state: Tensor) -> Tensor:
        """Return the targets at a state of the stream, (t, d): (B,)."""
        return torch.einsum("td,tbd->b", state, self.gradient) + self.constant

    def at(self, states: Sequence[Tensor]) -> Tensor:
        """Return the targets, (B,), of the states of the stream from the first one on."""
        here = states[self.state]
        return self.values(here - states[self.state - 1] if self.added else here)


@dataclass(frozen=True)
class Effects:
    """Effects on B targets.

    Attributes
    ----------
    features : sequence of torch.Tensor, (t, k, B)
        Of each layer's active features. Of total effects: through the feature, so that they add up to nothing.
    errors : torch.Tensor, (n_layers, t, B)
    parts : mapping of str to torch.Tensor, (t, B)
        Of what the first state is the sum of.
    biases : mapping of str to torch.Tensor, (B,)
        Of attention, of MLPs' replacements and of norms, each by layer; of total effects also of what features read
        as a constant (``layers.i.features``), with linear patterns what of them is constant (``layers.i.pattern``).
    constant : torch.Tensor, (B,)
    """

    features: Sequence[Tensor]
    errors: Tensor
    parts: dict[str, Tensor]
    biases: dict[str, Tensor]
    constant: Tensor

    def sums(self, *, total: bool = False) -> Tensor:
        """Return what all effects add up to, (B,): the targets."""
        found = self.errors.sum((0, 1)) + self.constant
        found = found + sum(one.sum(0) for one in self.parts.values()) + sum(self.biases.values())
        return found if total else found + sum(one.sum((0, 1)) for one in self.features)


@torch.no_grad()
def effects(
    frozen: Frozen, replacement: Replacement, targets: Targets, *, total: bool = False, patterns: str = "frozen"
) -> Effects:
    """Return the direct effects on `targets`, or the total ones.

    Parameters
    ----------
    frozen, replacement
        The transformer on one input, and what stands in the place of its MLPs.
    targets
        At most as many as memory takes: about six times their gradients is used.
    total
        Also through features.
    patterns
        ``"frozen"``, or ``"linear"``: also through queries and keys, of a model that was frozen with its scores.

    Raises
    ------
    InputError
        Linear patterns of a model that was frozen without its scores, or another word.
    """
    check_patterns(patterns)
    walk = _Walk(frozen, replacement, targets.gradient.shape[1], total, patterns)
    first = frozen.back(targets.gradient, targets.state, walk, patterns, added=targets.added)
    parts = {name: torch.einsum("td,tbd->tb", part, first) for name, part in frozen.parts.items()}
    return Effects(walk.features, walk.errors, parts, walk.biases, targets.constant)


@torch.no_grad()
def direct_gradients(frozen: Frozen, replacement: Replacement, targets: Targets) -> tuple[list[Tensor], Tensor]:
    """Return the gradients of targets through no feature, patterns frozen, with respect to what is added on the way.

    Returns
    -------
    list of torch.Tensor, (t, B, d)
        By layer, with respect to what its MLP writes; 0 of layers behind the targets.
    torch.Tensor, (t, B, d)
        With respect to the first state.
    """
    walk = _Heard(frozen, replacement, targets.gradient.shape[1], False, "frozen")
    first = frozen.back(targets.gradient, targets.state, walk, added=targets.added)
    nothing = torch.zeros_like(first)
    return [walk.at_mlps.get(layer, nothing) for layer in range(frozen.n_layers)], first


@torch.no_grad()
def gradients_at_attention(
    frozen: Frozen, replacement: Replacement, targets: Targets, *, total: bool = False, patterns: str = "frozen"
) -> dict[int, Tensor]:
    """Return by layer the gradient of targets with respect to what attention adds to the stream, (t, B, d).

    Parameters are those of `effects`; `total` is over paths through features too.
    """
    check_patterns(patterns)
    walk = _Heard(frozen, replacement, targets.gradient.shape[1], total, patterns)
    frozen.back(targets.gradient, targets.state, walk, patterns, added=targets.added)
    return walk.at_attention


def feature_targets(frozen: Frozen, replacement: Replacement, layer: int, position: Tensor, latent: Tensor) -> Targets:
    """Return the pre-activations of features of one layer as targets.

    Parameters
    ----------
    layer
        Of the features.
    position, latent : torch.Tensor of int64, (B,)
        Token and feature of each.
    """
    features, step = replacement.features[layer], frozen.mlp(layer)
    read = features.read[latent]  # (B, d)
    gradient = read.new_zeros(frozen.n_tokens, len(latent), read.shape[1])
    gradient[position, torch.arange(len(latent), device=latent.device)] = read
    constant = features.read_bias[latent]
    if step.before is not None and step.before.bias is not None:
        constant = constant + read @ step.before.bias
    return Targets(frozen.reads(layer), back_through(step.before, gradient), constant)


@dataclass
class _Walk:
    """Collects what falls on every source on the way back; of total effects it goes on through active features."""

    frozen: Frozen
    replacement: Replacement
    n_targets: int
    total: bool
    patterns: str
    features: list[Tensor] = field(init=False)
    errors: Tensor = field(init=False)
    biases: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        like = self.frozen.final
        self.features = [like.new_zeros(*f.value.shape, self.n_targets) for f in self.replacement.features]
        self._gradient = (
            [like.new_zeros(())] * len(self.features) if not self.total else [f.clone() for f in self.features]
        )
        self.errors = like.new_zeros(self.frozen.n_layers, self.frozen.n_tokens, self.n_targets)
        self.biases = {}

    def mlp(self, layer: int, g: Tensor) -> Tensor | None:
        made = self.replacement
        for source, features in enumerate(made.features[: layer + 1]):
            if layer not in features.write:
                continue
            rows = features.write[layer][features.latent]  # (t, k, d)
            fall = rows @ g.transpose(1, 2)  # (t, k, B)
            self.features[source] += fall * features.value[..., None]
            if self.total:
                self._gradient[source] += fall * (features.value > 0)[..., None]
        self.errors[layer] = torch.einsum("td,tbd->tb", made.error[layer], g)
        constant, skip = made.constant[layer], made.skip[layer]
        norm = self.frozen.mlp(layer).before
        given = None if norm is None else norm.bias
        if skip is not None and given is not None:
            constant = constant + given @ skip
        self._add(f"layers.{layer}.mlp", g.sum(0) @ constant)
        back = None if skip is None else g @ skip.T
        if self.total:
            features = made.features[layer]
            passed = self._gradient[layer]
            read = features.read[features.latent]  # (t, k, d)
            bias = features.read_bias[features.latent]
            if given is not None:
                bias = bias + read @ given
            self._add(f"layers.{layer}.features", torch.einsum("tk,tkb->b", bias, passed))
            through = passed.transpose(1, 2) @ read
            back = through if back is None else back + through
        return back

    def attention(self, layer: int, g: Tensor) -> None:
        step = self.frozen.attend(layer)
        made = torch.einsum("td,tbd->b", step.constant(len(g)), g) if step.has_constant else g.new_zeros(g.shape[1])
        self._add(f"layers.{layer}.attention", made)
        if self.patterns == "linear":
            self._add(f"layers.{layer}.pattern", torch.einsum("td,tbd->b", step.unexplained(), g))

    def norm(self, step: int, g: Tensor) -> None:
        found = self.frozen.steps[step]
        assert isinstance(found, Rescale)  # noqa: S101  these alone are norms on the stream
        if found.norm.bias is not None:
            self._add(f"norm {step}", g.sum(0) @ found.norm.bias)

    def _add(self, name: str, value: Tensor) -> None:
        self.biases[name] = self.biases[name] + value if name in self.biases else value


class _Heard(_Walk):
    """Also keeps the gradients with respect to what attention and MLPs add, by layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_attention: dict[int, Tensor] = {}
        self.at_mlps: dict[int, Tensor] = {}

    def attention(self, layer: int, g: Tensor) -> None:
        self.at_attention[layer] = g
        super().attention(layer, g)

    def mlp(self, layer: int, g: Tensor) -> Tensor | None:
        self.at_mlps[layer] = g
        return super().mlp(layer, g)

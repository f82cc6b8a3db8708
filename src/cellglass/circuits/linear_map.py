r"""The linear map between all that a transformer adds to its residual stream, on one input.

With attention patterns, the scales of norms and the choice of active features frozen at their values on this input,
the residual stream is a sum of what tokens, features, errors and biases add to it, each carried on by linear maps. A
transformer is a list of steps, each of which makes the next state of the stream, (t, d), of the one before:

    Rescale    x <- norm(x)
    Attend     x <- x + after(heads(before(x)))
    Mlp        x <- x + what is written in the MLP's place

An MLP that is parallel to the attention before it reads the state that the attention read. `Frozen.back` carries
gradients from any state back to the first one and hands over, at each step, what of them falls on what was added
there: one call for a whole batch of targets, without autograd. Gradients have the shape (t, B, d): of B targets, side
by side, with respect to the stream at t tokens. Knows neither models nor genes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from cellglass.circuits.patterns import QueryKey
from cellglass.errors import InputError

Tensor = torch.Tensor

PATTERNS = ("frozen", "linear")
"""How patterns are treated on a walk back: as they are on this input, or linearised there."""


@dataclass(frozen=True)
class Norm:
    """A norm whose scale is frozen: y = scale (x - mean(x)) weight + bias, where it takes the mean off at all.

    Attributes
    ----------
    scale : torch.Tensor, (t, 1)
        One over the standard deviation, or the root mean square, of each token's state.
    weight : torch.Tensor, (d,)
    bias : torch.Tensor, (d,), or None
    centred : bool
        Whether the mean over dimensions is taken off.
    """

    scale: Tensor
    weight: Tensor
    bias: Tensor | None
    centred: bool

    def linear(self, x: Tensor) -> Tensor:
        """Return what the norm makes of `x`, (t, d), without its bias."""
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        return x * self.scale * self.weight

    def __call__(self, x: Tensor) -> Tensor:
        """Return what the norm makes of `x`, (t, d)."""
        y = self.linear(x)
        return y if self.bias is None else y + self.bias

    def cut(self, n: int) -> Norm:
        """Return the norm at the first `n` tokens."""
        return replace(self, scale=self.scale[:n])

    def back(self, g: Tensor) -> Tensor:
        """Return the gradient with respect to x, (t, B, d), of that with respect to y."""
        g = g * self.weight
        if self.centred:
            g = g - g.mean(-1, keepdim=True)
        return g * self.scale[:, None]


@dataclass(frozen=True)
class Heads:
    """Attention with frozen patterns: out = sum over heads of pattern (y value + value_bias) output, + output_bias.

    Attributes
    ----------
    pattern : torch.Tensor, (h, t, t)
        From each target token (row) to each source token; rows add up to 1.
    value : torch.Tensor, (d, h c)
        The value maps of all heads side by side, each c wide; heads that share a map have it each.
    value_bias : torch.Tensor, (h c,), or None
    output : torch.Tensor, (h c, d)
    output_bias : torch.Tensor, (d,), or None
    query_key : QueryKey or None
        Where the pattern comes from, if that was kept.
    shared : int
        How many heads after one another have the same value map.
    """

    pattern: Tensor
    value: Tensor
    value_bias: Tensor | None
    output: Tensor
    output_bias: Tensor | None
    query_key: QueryKey | None = None
    shared: int = 1

    @property
    def n_heads(self) -> int:
        """The number of heads."""
        return len(self.pattern)

    def values(self, y: Tensor) -> Tensor:
        """Return the values of all heads with their biases, (h, t, c), of normalised states `y`, (t, d)."""
        v = y @ self.value
        if self.value_bias is not None:
            v = v + self.value_bias
        return v.view(len(v), self.n_heads, -1).transpose(0, 1)

    def by_head(self, y: Tensor) -> Tensor:
        """Return what each head adds, (h, t, d), without the output's bias."""
        read = self.pattern @ self.values(y)
        return read @ self.output.reshape(self.n_heads, -1, self.output.shape[1])

    def __call__(self, y: Tensor) -> Tensor:
        """Return what attention makes of normalised states `y`, (t, d)."""
        read = (self.pattern @ self.values(y)).transpose(0, 1).flatten(1)
        out = read @ self.output
        return out if self.output_bias is None else out + self.output_bias

    def back(self, g: Tensor, patterns: str = "frozen") -> Tensor:
        """Return the gradient with respect to y, (t, B, d), of that with respect to out."""
        t, b, _ = g.shape
        heads = (g @ self.output.T).view(t, b, self.n_heads, -1).permute(2, 0, 1, 3)  # (h, t, B, c)
        values = torch.bmm(self.pattern.transpose(1, 2), heads.reshape(self.n_heads, t, -1))
        values = values.view(self.n_heads // self.shared, self.shared, t, b, -1).sum(1)
        d = self.value.shape[0]
        maps = self.value.T.reshape(len(values), self.shared, -1, d)[:, 0].reshape(-1, d)  # of one head of each group
        found = values.permute(1, 2, 0, 3).reshape(t, b, -1) @ maps
        if patterns == "linear":
            made = self.looking()
            found = found + made.back(self.pattern, self.values(made.read), heads)
        return found

    def only(self, head: int) -> Heads:
        """Return one head alone, without the bias of the output, which is of all."""
        c = len(self.output) // self.n_heads
        some = slice(head * c, (head + 1) * c)
        return Heads(
            self.pattern[head : head + 1],
            self.value[:, some],
            None if self.value_bias is None else self.value_bias[some],
            self.output[some],
            None,
            None if self.query_key is None else self.query_key.only(head),
        )

    def looking(self) -> QueryKey:
        """Return queries and keys; InputError where they were not kept."""
        if self.query_key is None:
            raise InputError("queries and keys of this model were not kept; freeze it with scores=True")
        return self.query_key

    def unexplained(self, bias: Tensor | None) -> Tensor:
        """Return what linearised patterns add whatever the input is, (t, d); `bias` is that of the norm in front.

        A pattern is its linear part in its own input and a rest; the linear part is a part of what the input adds, so
        that what it adds here is taken off the constant: - sum over heads of change(pattern) values output.
        """
        made = self.looking()
        read = made.change(self.pattern, bias) @ self.values(made.read)
        return -read.transpose(0, 1).flatten(1) @ self.output


@dataclass(frozen=True)
class Rescale:
    """The whole stream goes through a norm."""

    norm: Norm


@dataclass(frozen=True)
class Attend:
    """The attention of a layer is added; `before` and `after` are norms around it, where there are any."""

    layer: int
    heads: Heads
    before: Norm | None = None
    after: Norm | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return what is added to the stream `x`, (t, d)."""
        return through(self.after, self.heads(through(self.before, x)))

    @property
    def has_constant(self) -> bool:
        """Whether there is any bias."""
        norms = [norm.bias for norm in (self.before, self.after) if norm is not None]
        return any(bias is not None for bias in (*norms, self.heads.value_bias, self.heads.output_bias))

    def constant(self, t: int) -> Tensor:
        """Return what biases alone add, (t, d)."""
        bias = None if self.before is None else self.before.bias
        nothing = self.heads.output.new_zeros(t, self.heads.output.shape[1])
        return through(self.after, self.heads(nothing if bias is None else nothing + bias))

    def unexplained(self) -> Tensor:
        """Return what linearised patterns add whatever the input is, (t, d)."""
        made = self.heads.unexplained(None if self.before is None else self.before.bias)
        return made if self.after is None else self.after.linear(made)

    def only(self, head: int) -> Attend:
        """Return what one head adds alone, without the biases of the output and of the norm behind it."""
        after = None if self.after is None else replace(self.after, bias=None)
        return replace(self, heads=self.heads.only(head), after=after)

    def silenced(self) -> Attend:
        """Return the same whose heads give nothing; the biases of the output and of the norm behind it stay."""
        return replace(self, heads=replace(self.heads, output=torch.zeros_like(self.heads.output), query_key=None))

    def back(self, g: Tensor, patterns: str = "frozen") -> Tensor:
        """Return the gradient with respect to the stream that is read, (t, B, d)."""
        return back_through(self.before, self.heads.back(back_through(self.after, g), patterns))


@dataclass(frozen=True)
class Mlp:
    """What an MLP, or what stands in its place, writes is added.

    Attributes
    ----------
    layer : int
    before : Norm or None
        Between the stream and what is read. A norm behind an MLP is a part of the MLP.
    parallel : bool
        Whether it reads the stream before the attention of its layer, which is then the step before this one.
    """

    layer: int
    before: Norm | None = None
    parallel: bool = False


Step = Rescale | Attend | Mlp


class Written(Protocol):
    """What takes part in a walk back at each step: what is added there collects what falls on it."""

    def mlp(self, layer: int, g: Tensor) -> Tensor | None:
        """Take the gradient with respect to what the MLP writes, (t, B, d); return one with respect to what it reads.

        None says that nothing flows through it.
        """

    def attention(self, layer: int, g: Tensor) -> None:
        """Take the gradient with respect to what attention adds to the stream, (t, B, d)."""

    def norm(self, step: int, g: Tensor) -> None:
        """Take the gradient, (t, B, d), with respect to what a norm on the stream gives."""


@dataclass(frozen=True)
class Frozen:
    """A transformer on one input.

    Attributes
    ----------
    parts : mapping of str to torch.Tensor, (t, d)
        What the first state of the stream is the sum of, such as a gene's embedding and its value's.
    steps : sequence of Step
        State i is before step i; the last state is behind all.
    mlp_in, mlp_out : sequence of torch.Tensor, (t, d)
        What the MLP of each layer reads and writes on this input.
    final : torch.Tensor, (t, d)
        The last state.
    ends : sequence of int
        Of each layer, which state its last step gives; before them, which state the first layer is given.
    constant : frozenset of str
        Parts that are the same whatever the tokens are.
    """

    parts: Mapping[str, Tensor]
    steps: Sequence[Step]
    mlp_in: Sequence[Tensor]
    mlp_out: Sequence[Tensor]
    final: Tensor
    ends: Sequence[int] = ()
    constant: frozenset[str] = frozenset()

    @property
    def first(self) -> Tensor:
        """The first state of the stream, (t, d)."""
        return torch.stack(list(self.parts.values())).sum(0)

    @property
    def n_tokens(self) -> int:
        """The number of tokens."""
        return len(self.final)

    @property
    def is_causal(self) -> bool:
        """Whether no token reads later ones."""
        return all(not bool(step.heads.pattern.triu(1).any()) for step in self.steps if isinstance(step, Attend))

    def cut(self, n: int) -> Frozen:
        """Return the first `n` tokens of a causal transformer, which do not depend on the others, without a copy."""
        steps: list[Step] = []
        for step in self.steps:
            if isinstance(step, Rescale):
                steps.append(Rescale(step.norm.cut(n)))
            elif isinstance(step, Attend):
                made = step.heads.query_key
                heads = replace(
                    step.heads,
                    pattern=step.heads.pattern[:, :n, :n],
                    query_key=None if made is None else made.cut(n),
                )
                steps.append(replace(step, heads=heads, before=_cut(step.before, n), after=_cut(step.after, n)))
            else:
                steps.append(replace(step, before=_cut(step.before, n)))
        return replace(
            self,
            parts={name: part[:n] for name, part in self.parts.items()},
            steps=steps,
            mlp_in=[x[:n] for x in self.mlp_in],
            mlp_out=[x[:n] for x in self.mlp_out],
            final=self.final[:n],
        )

    @property
    def n_layers(self) -> int:
        """The number of layers that have an MLP."""
        return len(self.mlp_in)

    def reads(self, layer: int) -> int:
        """Return which state the MLP of a layer reads."""
        step = self.step_of(layer)
        return step - 1 if self.mlp(layer).parallel else step

    def step_of(self, layer: int) -> int:
        """Return which step adds what the MLP of a layer writes."""
        return next(i for i, step in enumerate(self.steps) if isinstance(step, Mlp) and step.layer == layer)

    def mlp(self, layer: int) -> Mlp:
        """Return the MLP's step of a layer."""
        step = self.steps[self.step_of(layer)]
        assert isinstance(step, Mlp)  # noqa: S101  that is what was looked for
        return step

    def states(self, first: Tensor, written: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield every state of the stream, from the first state and what is written in each MLP's place, (t, d)."""
        x = first
        yield x
        for step in self.steps:
            if isinstance(step, Rescale):
                x = step.norm(x)
            elif isinstance(step, Attend):
                x = x + step(x)
            else:
                x = x + written[step.layer]
            yield x

    def attend(self, layer: int) -> Attend:
        """Return the attention's step of a layer."""
        return next(step for step in self.steps if isinstance(step, Attend) and step.layer == layer)

    def back(self, g: Tensor, state: int, written: Written, patterns: str = "frozen", *, added: bool = False) -> Tensor:
        """Carry gradients back to the first state.

        Parameters
        ----------
        g : torch.Tensor, (t, B, d)
            Of B targets with respect to a state of the stream.
        state : int
            Which one.
        written
            Is told, at each step, what falls on what was added there.
        patterns
            One of ``PATTERNS``: linear ones pass gradients to queries and keys too.
        added
            The gradients are with respect to what the step before the state adds (of attention or an MLP) alone.

        Returns
        -------
        torch.Tensor, (t, B, d)
            With respect to the first state.
        """
        waiting: Tensor | None = None  # of a parallel MLP, until its attention is passed
        for i in range(state - 1, -1, -1):
            step = self.steps[i]
            beside = torch.zeros_like(g) if added and i == state - 1 else g  # what flows past the step
            if isinstance(step, Rescale):
                written.norm(i, g)
                g = step.norm.back(g)
            elif isinstance(step, Attend):
                written.attention(step.layer, g)
                g = beside + step.back(g, patterns)
                if waiting is not None:
                    g, waiting = g + waiting, None
            else:
                more = written.mlp(step.layer, g)
                g = beside
                if more is not None:
                    more = back_through(step.before, more)
                    if step.parallel:
                        waiting = more
                    else:
                        g = g + more
        return g


def check_patterns(patterns: str) -> None:
    """Raise InputError for another word than those of ``PATTERNS``."""
    if patterns not in PATTERNS:
        raise InputError(f"patterns are one of {', '.join(PATTERNS)}, not {patterns!r}")


def through(norm: Norm | None, x: Tensor) -> Tensor:
    """Return what a norm, if there is one, makes of `x`, (t, d)."""
    return x if norm is None else norm(x)


def back_through(norm: Norm | None, g: Tensor) -> Tensor:
    """Return the gradient in front of a norm, if there is one, (t, B, d)."""
    return g if norm is None else norm.back(g)


def _cut(norm: Norm | None, n: int) -> Norm | None:
    return None if norm is None else norm.cut(n)

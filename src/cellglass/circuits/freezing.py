"""A network as a linear map on one input: one pass tells patterns and parts, the plan's own steps tell the rest.

The pass gives attention patterns and what the first state is the sum of; going through the steps of the plan gives the
scales of norms, what each MLP reads and writes, and the last state, which must be the network's own. Which networks
there are is in ``architectures.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from cellglass.circuits.architectures import Attention, Feedforward, Plan, frozen_norm, plan_of, telling
from cellglass.circuits.linear_map import Attend, Frozen, Heads, Mlp, Norm, Rescale, Step, through
from cellglass.circuits.patterns import QueryKey
from cellglass.errors import InputError

Tensor = torch.Tensor

_AGREE = 1e-3
"""Largest difference from the network's own last state, of its largest number."""


@torch.no_grad()
def freeze(net: nn.Module, call: Callable[[], Any], plan: Plan | None = None, *, scores: bool = False) -> Frozen:
    """Return a network as a linear map on one input.

    Parameters
    ----------
    net
        One of those that this module knows.
    call
        Runs it on a batch of one input without padding.
    plan
        How it is built; None finds out.
    scores
        Keep what makes the patterns too: queries and keys (`Heads.query_key`).

    Raises
    ------
    InputError
        A network that is not known, or one that computes something else than its description.
    """
    plan = plan_of(net) if plan is None else plan
    asked: dict[int, dict[str, Any]] = {}
    seen = _observed(net, call, plan, asked if scores else None)
    parts = {name: seen[name][0] for name in plan.parts}
    x = torch.stack(list(parts.values())).sum(0)
    steps: list[Step] = []
    read: list[Tensor] = []
    wrote: list[Tensor] = []
    before = x
    for number, step in enumerate(plan.steps):
        if isinstance(step, Attention):
            before = x
            norm = _frozen(step.before, x)
            m = step.maps
            y = through(norm, x)
            made = _query_key(step, y, asked[number]) if scores else None
            pattern = seen[f"pattern {number}"].to(x.dtype)
            heads = Heads(pattern, m.value, m.value_bias, m.output, m.output_bias, made, m.shared)
            given = heads(y)
            after = _frozen(step.after, given)
            steps.append(Attend(len(read), heads, norm, after))
            x = x + through(after, given)
        elif isinstance(step, Feedforward):
            norm = _frozen(step.before, before if step.parallel else x)
            read.append(through(norm, before if step.parallel else x))
            wrote.append(step.function(read[-1]))
            steps.append(Mlp(len(wrote) - 1, norm, step.parallel))
            x = x + wrote[-1]
        else:
            rescale = Rescale(frozen_norm(step, x))
            steps.append(rescale)
            x = rescale.norm(x)
    _agree(net, x, seen["last"][0])
    return Frozen(parts, steps, read, wrote, x, plan.ends, plan.constant)


# -- reading the network ---------------------------------------------------------------------------------------------


def _observed(
    net: nn.Module, call: Callable[[], Any], plan: Plan, asked: dict[int, dict[str, Any]] | None
) -> dict[str, Tensor]:
    """Return, of one pass, the parts, the patterns by the number of their step, and the last state.

    Where `asked` is given, it is filled with the keyword arguments of each attention, by the number of its step.
    """
    found: dict[str, Tensor] = {}
    handles = []

    def take(name: str, module: str, side: str, of: Callable[[Any], Tensor]) -> None:
        target = net.get_submodule(module)
        if side == "out":
            handles.append(target.register_forward_hook(lambda _m, _a, out: found.__setitem__(name, of(out))))
        else:
            handles.append(
                target.register_forward_pre_hook(
                    lambda _m, args, kwargs: found.__setitem__(
                        name, of(args[0] if args else next(iter(kwargs.values())))
                    ),
                    with_kwargs=True,
                )
            )

    for name, point in {**plan.parts, "last": plan.last}.items():
        take(name, point.module, point.side, _first)
    for number, step in enumerate(plan.steps):
        if isinstance(step, Attention):
            take(f"pattern {number}", step.module, "out", step.pattern)
            if asked is not None:
                handles.append(
                    net.get_submodule(step.module).register_forward_pre_hook(
                        lambda _m, _a, kwargs, number=number: asked.__setitem__(number, kwargs),
                        with_kwargs=True,
                    )
                )
    try:
        with telling(net):
            call()
    finally:
        for handle in handles:
            handle.remove()
    lost = [name for name in (*plan.parts, "last") if name not in found]
    if lost:
        raise InputError(f"the network {type(net).__name__} ran without {', '.join(lost)}; it is built another way")
    if len(found["last"]) != 1:
        raise InputError(f"a circuit is of one input, but the batch holds {len(found['last'])}; run one cell")
    return found


def _query_key(step: Attention, y: Tensor, given: dict[str, Any]) -> QueryKey:
    """Return queries and keys of states `y`, with the mask and the angles that the attention was given."""
    if step.query_key is None:
        raise InputError(f"the plan says no queries and keys of {step.module}; give its Attention a query_key")
    made = step.query_key(y)
    mask, angles = given.get("attention_mask"), given.get("position_embeddings")
    if mask is not None:
        made = replace(made, seen=mask[0, 0] if mask.dtype == torch.bool else mask[0, 0] == 0)
    if angles is not None:
        made = replace(made, cos=angles[0][0].to(y.dtype), sin=angles[1][0].to(y.dtype))
    return made


def _first(output: Any) -> Tensor:
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


def _frozen(module: nn.Module | None, x: Tensor) -> Norm | None:
    return None if module is None else frozen_norm(module, x)


def _agree(net: nn.Module, ours: Tensor, theirs: Tensor) -> None:
    away = float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30))
    if not away <= _AGREE:
        raise InputError(
            f"this {type(net).__name__} computes something else than circuits know of it (its last state differs by "
            f"{away:.1e} of its largest number); it cannot be traced"
        )

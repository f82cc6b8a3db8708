"""Reading and writing inside a torch network, at named points of its modules, in one forward pass.

A `Point` is the input or the output of a submodule, or a slice of it. `run` keeps nothing but the points that are asked
for, lets edits replace what flows through others, and ends the pass as soon as nothing is left to read. It knows
neither cells nor genes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

Edit = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Point:
    """A place in a network.

    Attributes
    ----------
    module : str
        Dotted name of a submodule, as in ``net.get_submodule``.
    side : {"in", "out"}
        Its first input, or its (first) output.
    part : slice or None
        Of the last dimension, such as the columns of one head; None means all.
    """

    module: str
    side: Literal["in", "out"]
    part: slice | None = None


class _Finished(Exception):  # noqa: N818 (it is no error: everything has been read)
    """Ends a forward pass."""


def run(
    net: nn.Module,
    call: Callable[[], Any],
    points: Mapping[str, Point],
    read: Collection[str] = (),
    write: Mapping[str, Edit] | None = None,
    *,
    whole: bool = False,
) -> tuple[dict[str, torch.Tensor], Any]:
    """Run ``call()``, which passes through `net`, and return what was read and what the call returned.

    Parameters
    ----------
    net
        The network.
    call
        Runs it.
    points
        Name -> point.
    read
        Names to read. A point that is written is read as it flows on.
    write
        Name -> edit: a function of the tensor at the point, whose result flows on in its place.
    whole
        Go to the end, though nothing is left to read. Otherwise the pass stops there and the call's result is None.
    """
    write = write or {}
    found: dict[str, torch.Tensor] = {}
    left = set(read)

    def passing(name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Edit and read one tensor; end the pass where it was the last."""
        point = points[name]
        piece = tensor if point.part is None else tensor[..., point.part]
        if name in write:
            piece = write[name](piece)
            if point.part is None:
                tensor = piece
            else:
                tensor = tensor.clone()
                tensor[..., point.part] = piece
        if name in left:
            found[name] = piece
            left.discard(name)
            if not left and not whole:
                raise _Finished
        return tensor

    names = [name for name in points if name in left or name in write]
    if not names:
        return found, call()
    with _hooked(net, points, names, passing):
        try:
            return found, call()
        except _Finished:
            return found, None


@contextmanager
def _hooked(
    net: nn.Module,
    points: Mapping[str, Point],
    names: Collection[str],
    passing: Callable[[str, torch.Tensor], torch.Tensor],
) -> Iterator[None]:
    """Let `passing` see the tensors at the points `names` while the block runs."""
    handles = []
    try:
        for name in names:
            module = net.get_submodule(points[name].module)
            if points[name].side == "in":
                handles.append(module.register_forward_pre_hook(_before(name, passing), with_kwargs=True))
            else:
                handles.append(module.register_forward_hook(_after(name, passing)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _before(name: str, passing: Callable[[str, torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
    def hook(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (passing(name, args[0]), *args[1:]), kwargs
        first = next(iter(kwargs))
        return args, {**kwargs, first: passing(name, kwargs[first])}

    return hook


def _after(name: str, passing: Callable[[str, torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
    def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            return (passing(name, output[0]), *output[1:])
        return passing(name, output)

    return hook

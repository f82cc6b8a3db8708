"""A property that is computed once, also where several threads ask for it at the same time.

`functools.cached_property` lets each of them compute it; what is kept here takes seconds and hundreds of MiB.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")
_FIRST = RLock()


class cached(Generic[T]):  # noqa: N801 (it is used as a decorator, like property)
    """Decorator of a method without arguments: the first to ask computes it, all others wait for that and share it.

    Each object has one lock for all its properties, so that one of them may use another.
    """

    def __init__(self, compute: Callable[[Any], T]):
        self.compute = compute
        self.name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> cached[T]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> T: ...
    def __get__(self, owner: object | None, kind: type) -> cached[T] | T:
        """Return the value; an instance attribute of the same name holds it afterwards."""
        if owner is None:
            return self
        with _FIRST:
            lock = owner.__dict__.setdefault("_cached_lock", RLock())
        with lock:
            if self.name not in owner.__dict__:
                owner.__dict__[self.name] = self.compute(owner)
        value: T = owner.__dict__[self.name]
        return value

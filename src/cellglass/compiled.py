"""Loops that numba compiles: nothing is compiled at import, and the machine code is kept beside the loop's file."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache


@cache
def compiled(function: Callable[..., None], *, any_order: bool = False) -> Callable[..., None]:
    """Return `function` compiled; it releases Python's lock while it runs. numba is imported by the first call.

    With `any_order`, sums may be taken in another order than written, which is faster (and the same in each run).
    """
    import numba

    loose = {"reassoc", "contract"} if any_order else False
    done: Callable[..., None] = numba.njit(nogil=True, cache=True, fastmath=loose)(function)
    return done

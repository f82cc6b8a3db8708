"""Loops that numba compiles, ours and those of libraries: the machine code is kept beside the file of each loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@cache
def compiled(function: Callable[..., None], *, any_order: bool = False) -> Callable[..., None]:
    """Return `function` compiled; it releases Python's lock while it runs. numba is imported by the first call.

    With `any_order`, sums may be taken in another order than written, which is faster (and the same in each run).
    """
    import numba

    loose = {"reassoc", "contract"} if any_order else False
    done: Callable[..., None] = numba.njit(nogil=True, cache=True, fastmath=loose)(function)
    return done


@contextmanager
def machine_code_kept() -> Iterator[None]:
    """Keep on disk what numba compiles of the libraries that are imported within; what they compute is the same.

    pynndescent compiles some sixty distances each time it is imported and umap its own loops each time they run, half
    a minute in every process; kept, a second. Where no folder can be written, they are compiled anew as before.
    """
    import numba

    def keeping(original: Callable[..., Any]) -> Callable[..., Any]:
        def decorator(*given: Any, **options: Any) -> Any:
            def decorate(function: Any) -> Any:
                signature = () if given and given[0] is function else given
                try:
                    return original(*signature, **{**options, "cache": True})(function)
                except RuntimeError as error:
                    if "cannot cache" not in str(error):
                        raise
                    return original(*signature, **options)(function)

            return decorate(given[0]) if given and hasattr(given[0], "__code__") else decorate

        return decorator

    before = numba.njit, numba.jit
    numba.njit, numba.jit = (keeping(each) for each in before)
    try:
        yield
    finally:
        numba.njit, numba.jit = before

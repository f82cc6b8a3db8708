"""Small work runs on one thread: on two, contention between thread pools made it up to ten times slower.

`threads(n)` bounds torch, BLAS and OpenMP together for a block and restores what was there. `over_rows` shares the rows
of a compiled loop among threads.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

from threadpoolctl import threadpool_limits

_ALONE = 1 << 18


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Run a block with at most `n` threads in torch and in every BLAS and OpenMP pool."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(limits=n):
            yield
    finally:
        torch.set_num_threads(before)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def over_rows(n: int, size: int, work: Callable[[int, int], None], workers: int | None = None) -> None:
    """Do ``work(first, last)`` for all `n` rows, which hold `size` numbers together, on `workers` threads.

    By default they are as many as torch uses. Few numbers are done on this thread. Rows must not depend on each other,
    so that the split changes nothing.
    """
    parts = min(_torch_threads() if workers is None else workers, n) if size > _ALONE else 1
    if parts <= 1:
        work(0, n)
        return
    edges = [n * part // parts for part in range(parts + 1)]
    list(_pool(os.getpid()).map(work, edges[:-1], edges[1:]))


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


@cache
def _pool(_process: int) -> ThreadPoolExecutor:
    """Return the threads of this process: one that was forked has none of its parent's."""
    return ThreadPoolExecutor(os.cpu_count() or 1, "cellglass")

"""Small work runs on one thread: on two, contention between thread pools made it up to ten times slower.

`threads(n)` bounds torch, BLAS and OpenMP together for a block and restores what was there.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


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

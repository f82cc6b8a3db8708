from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cellglass.explorer.data.cached import cached


class Thing:
    def __init__(self) -> None:
        self.calls = 0

    @cached
    def slow(self) -> int:
        """What it says."""
        self.calls += 1
        time.sleep(0.05)
        return self.calls

    @cached
    def upon(self) -> int:
        return self.slow + 1

    @cached
    def fails(self) -> int:
        self.calls += 1
        raise ValueError("no")


def test_many_threads_compute_it_once() -> None:
    thing = Thing()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: thing.slow, range(16))) == {1}
    assert thing.calls == 1
    assert thing.upon == 2
    assert Thing.slow.__doc__ == "What it says."


def test_each_object_has_its_own_and_a_failure_is_not_kept() -> None:
    one, other = Thing(), Thing()
    assert one.slow == other.slow == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            _ = one.fails
    assert one.calls == 3

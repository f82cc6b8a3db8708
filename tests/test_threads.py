"""The bound on threads holds inside the block and is gone after it, also when the block fails; rows are shared once."""

import os
import threading

import pytest
import torch
from threadpoolctl import threadpool_info

from cellglass.threads import cores, over_rows, threads

MANY = 1 << 20
"""Numbers that are worth sharing among threads."""


def test_threads_are_bounded_and_restored() -> None:
    before = torch.get_num_threads()
    with threads(1):
        assert torch.get_num_threads() == 1
        assert all(pool["num_threads"] == 1 for pool in threadpool_info())
        with threads(2):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_threads_are_restored_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="inside"), threads(before + 1):
        raise RuntimeError("inside")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("size", [0, 100, MANY])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 1001])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_row_is_done_once_whatever_the_threads(n: int, size: int, count: int) -> None:
    done: list[tuple[int, int]] = []
    with threads(count):
        over_rows(n, size, lambda first, last: done.append((first, last)))
    assert sorted(row for first, last in done for row in range(first, last)) == list(range(n))
    assert len(done) == (min(count, n) if size == MANY and min(count, n) > 1 else 1)


def test_small_work_stays_on_this_thread_and_large_work_is_shared() -> None:
    together = threading.Barrier(2, timeout=20)
    names: list[str] = []

    def work(first: int, last: int) -> None:
        together.wait()  # passes only if two parts are done at once
        names.append(threading.current_thread().name)

    with threads(2):
        over_rows(10, MANY, work)
        assert len(names) == 2
        assert threading.current_thread().name not in names
        names.clear()
        over_rows(10, 10, lambda first, last: names.append(threading.current_thread().name))
    assert names == [threading.current_thread().name]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_who_says_how_many_threads_gets_them_whatever_torch_uses(workers: int) -> None:
    done: list[tuple[int, int]] = []
    with threads(1):
        over_rows(7, MANY, lambda first, last: done.append((first, last)), workers)
    assert len(done) == workers
    assert sorted(row for first, last in done for row in range(first, last)) == list(range(7))


def test_cores_are_those_of_this_process() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_an_error_in_a_part_is_not_lost() -> None:
    def work(first: int, last: int) -> None:
        if first:
            raise RuntimeError("in a part")

    with threads(2), pytest.raises(RuntimeError, match="in a part"):
        over_rows(10, MANY, work)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    with threads(2):
        over_rows(10, MANY, lambda first, last: None)
        child = os.fork()
        if not child:
            done: list[int] = []
            over_rows(10, MANY, lambda first, last: done.append(last - first))
            os._exit(0 if sum(done) == 10 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

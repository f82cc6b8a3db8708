"""The bound on threads holds inside the block and is gone after it, also when the block fails."""

import pytest
import torch
from threadpoolctl import threadpool_info

from cellglass.threads import threads


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

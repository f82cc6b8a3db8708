"""Blocks come back as they were, however they are kept, and a full disk only costs time."""

from __future__ import annotations

import gc
import logging
import tempfile
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

from cellglass.atlas.markers.spool import Anew, Spool, keep


class Pair(NamedTuple):
    one: np.ndarray
    other: np.ndarray


def blocks() -> Iterator[Pair]:
    for size in (3, 0, 1000):
        yield Pair(np.arange(size, dtype=np.int32)[::-1], np.linspace(0, 1, 2 * size))


@pytest.mark.parametrize("in_memory", [True, False])
def test_blocks_come_back_each_time(in_memory: bool) -> None:
    kept = keep(Pair, blocks, in_memory=in_memory)
    assert isinstance(kept, list if in_memory else Spool)
    for _ in range(3):
        for found, made in zip(kept, blocks(), strict=True):
            np.testing.assert_array_equal(found.one, made.one)
            np.testing.assert_array_equal(found.other, made.other)
            assert (found.one.dtype, found.other.dtype) == (np.int32, np.float64)


def test_a_reading_that_was_left_halfway_spoils_no_other() -> None:
    kept = Spool(Pair, blocks())
    next(iter(kept))
    assert [len(pair.one) for pair in kept] == [3, 0, 1000]


def test_the_file_goes_with_the_spool() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = Spool(Pair, blocks())
        file = kept._file
        del kept
        gc.collect()
    assert file.closed


def test_without_room_blocks_are_made_anew_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: object
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", f"{tmp_path}/not-there")
    with caplog.at_level(logging.WARNING):
        kept = keep(Pair, blocks, in_memory=False)
    assert isinstance(kept, Anew)
    assert "set TMPDIR" in caplog.text
    assert [len(pair.other) for pair in kept] == [len(pair.other) for pair in kept] == [6, 0, 2000]

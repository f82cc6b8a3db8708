"""The state of a fit: what is written comes back bit for bit, and what is of another run or damaged is passed over."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn

from cellglass.models.checkpoint import digest_of, read_state, write_state


def step(net: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    noise = torch.Generator().manual_seed(number)
    optimizer.zero_grad()
    net(torch.randn(5, 3, generator=noise)).square().sum().backward()
    optimizer.step()


def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    return net, torch.optim.Adam(net.parameters(), lr=0.1)


def test_going_on_is_the_same_as_never_having_stopped(tmp_path: Path) -> None:
    net, optimizer = fresh()
    for number in range(6):
        step(net, optimizer, number)
        if number == 2:
            write_state(tmp_path / "state", "run 1", 3, net.state_dict(), optimizer)
    again, other = fresh()
    epoch, weights = read_state(tmp_path / "state", "run 1", other)
    assert epoch == 3
    again.load_state_dict(weights)
    for number in range(epoch, 6):
        step(again, other, number)
    for a, b in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_other_runs_and_damaged_files_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net, optimizer = fresh()
    step(net, optimizer, 0)
    write_state(tmp_path / "state", "run 1", 1, net.state_dict(), optimizer)
    new = fresh()[1]
    assert read_state(None, "run 1", new) == (0, {})
    assert read_state(tmp_path / "nowhere", "run 1", new) == (0, {})
    with caplog.at_level(logging.INFO):
        assert read_state(tmp_path / "state", "run 2", new) == (0, {})
        (tmp_path / "state").write_bytes(b"torn")
        assert read_state(tmp_path / "state", "run 1", new) == (0, {})
    assert "of a run with other cells or settings" in caplog.text
    assert "cannot be read" in caplog.text
    assert not new.state_dict()["state"]


def test_the_digest_depends_on_everything() -> None:
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(1, (30, 4)).astype(np.float32))
    other = counts.copy()
    other.data[0] += 1
    codes = np.arange(30)
    digests = [
        digest_of(counts, "abcd", {"seed": 0}, codes),
        digest_of(other, "abcd", {"seed": 0}, codes),
        digest_of(counts, "abce", {"seed": 0}, codes),
        digest_of(counts, "abcd", {"seed": 1}, codes),
        digest_of(counts, "abcd", {"seed": 0}, codes + 1),
        digest_of(counts, "abcd", {"seed": 0}),
    ]
    assert len(set(digests)) == len(digests)
    assert digests[0] == digest_of(counts.copy(), "abcd", {"seed": 0}, codes)

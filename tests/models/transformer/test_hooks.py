"""Reading and writing inside a network against the same computation by hand."""

import pytest
import torch
from torch import nn

from cellglass.models.transformer.hooks import Point, run


class Two(nn.Module):
    """Two linear maps with a ReLU between; the second is called by keyword and gives a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.after = nn.Linear(3, 4), Second(), nn.Identity()
        self.ran: list[str] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x).relu()
        y, _ = self.second(hidden=hidden)
        self.ran.append("second")
        return self.after(y)


class Second(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(4, 2)

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.map(hidden), None


POINTS = {
    "out": Point("first", "out"),
    "in": Point("second", "in"),
    "part": Point("second", "in", slice(1, 3)),
    "end": Point("second", "out"),
}


@pytest.fixture
def net() -> Two:
    torch.manual_seed(0)
    return Two().eval()


def test_points_hold_what_flows_there(net: Two) -> None:
    x = torch.randn(5, 3)
    found, output = run(net, lambda: net(x), POINTS, list(POINTS), whole=True)
    first = net.first(x)
    assert torch.equal(found["out"], first)
    assert torch.equal(found["in"], first.relu())
    assert torch.equal(found["part"], first.relu()[:, 1:3])
    assert torch.equal(found["end"], net.second.map(first.relu()))
    assert torch.equal(output, found["end"])


def test_the_pass_ends_where_the_last_point_was_read_and_leaves_no_hook(net: Two) -> None:
    x = torch.randn(5, 3)
    found, output = run(net, lambda: net(x), POINTS, ["out", "in"])
    assert set(found) == {"out", "in"}
    assert output is None
    assert net.ran == []
    assert torch.equal(run(net, lambda: net(x), POINTS)[1], net(x))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_what_is_written_flows_on(net: Two) -> None:
    x = torch.randn(5, 3)
    found, output = run(net, lambda: net(x), POINTS, ["in"], {"part": lambda h: h * 0}, whole=True)
    wanted = net.first(x).relu()
    wanted[:, 1:3] = 0
    assert torch.equal(output, net.second.map(wanted))
    found, output = run(net, lambda: net(x), POINTS, ["end"], {"out": torch.neg, "end": lambda y: y + 1})
    assert torch.equal(found["end"], net.second.map((-net.first(x)).relu()) + 1)
    assert output is None


def test_an_error_in_the_network_leaves_no_hook(net: Two) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        run(net, lambda: net(torch.randn(5, 7)), POINTS, ["end"])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())

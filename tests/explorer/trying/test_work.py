"""One computation at a time, as threads run it: busy, stopped between cells, failed in words, ended when left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from cellglass.errors import InputError
from cellglass.explorer.trying.answers import Step
from cellglass.explorer.trying.work import BusyError, Work


def ended(work: Work, name: str) -> dict:
    for thread in threading.enumerate():
        if thread.name == "cellglass-try":
            thread.join(20)
    return work.state(name)


def stepping(gates: list[threading.Event], made: threading.Event) -> Callable[[], Iterator[Step]]:
    def make() -> Iterator[Step]:
        for done, gate in enumerate(gates):
            made.set()
            assert gate.wait(20)
            yield Step("trying", done + 1, len(gates), {"done": done + 1})

    return make


def test_one_runs_and_others_hear_that_it_does_until_it_is_stopped() -> None:
    work, gates, made = Work(), [threading.Event() for _ in range(3)], threading.Event()
    name = work.begin(stepping(gates, made))
    assert made.wait(20)
    assert work.state(name)["state"] == "running"
    with pytest.raises(BusyError, match="another change is being tried"):
        work.begin(stepping(gates, made))
    work.stop(name)
    gates[0].set()
    found = ended(work, name)
    assert (found["state"], found["done"], found["total"], found["result"]) == ("stopped", 1, 3, {"done": 1})
    for gate in gates:
        gate.set()
    again = work.begin(stepping(gates, made))
    assert ended(work, again)["state"] == "done"
    with pytest.raises(InputError, match="no longer known"):
        work.state(name)
    with pytest.raises(InputError, match="no longer known"):
        work.stop("")


def test_one_that_nobody_looks_at_ends_by_itself() -> None:
    gates = [threading.Event() for _ in range(3)]
    for gate in gates:
        gate.set()
    work = Work(patience=-1)
    assert ended(work, work.begin(stepping(gates, threading.Event())))["done"] == 1


def test_what_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def wrong() -> Iterator[Step]:
        yield Step("opening the model", 0, 0, None)
        raise InputError("there is no gene 'NOPE'")

    def broken() -> Iterator[Step]:
        yield Step("opening the model", 0, 0, None)
        raise ZeroDivisionError

    work = Work()
    found = ended(work, work.begin(wrong))
    assert (found["state"], found["error"]) == ("wrong", "there is no gene 'NOPE'")
    assert "its log says how" in ended(work, work.begin(broken))["error"]
    assert "ZeroDivisionError" in caplog.text

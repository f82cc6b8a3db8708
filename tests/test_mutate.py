"""The tool that plants faults finds the one that a weak test lets through, and names no other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mutate

SOURCE = """
def clipped(x, low=0, high=10):
    '''Return x between low and high.'''
    return max(low, min(x, high))


def is_long(text):
    return len(text) > 3
"""
TESTS = """
from cellglass.small.code import clipped, is_long

def test_clipped():
    assert [clipped(x) for x in (-1, 5, 11)] == [0, 5, 10]

def test_long():
    assert is_long("12345") and not is_long("1")
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    for path, text in {
        "src/cellglass/__init__.py": "",
        "src/cellglass/small/__init__.py": "",
        "src/cellglass/small/code.py": SOURCE,
        "tests/small/test_code.py": TESTS,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (tmp_path / "shared").mkdir()
    return root


@pytest.mark.slow
def test_what_no_test_notices_is_listed_and_nothing_else(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # a dozen sessions of tests that need no plugin
    found = mutate.run(repository, "small", sample=100, seed=0, limit=60)
    ends = {(one["before"], one["after"]): one["end"] for one in found}
    assert ends[["max", "low, min", "x, high))"][0], "min"] == "killed"
    survived = {pair for pair, end in ends.items() if end == "survived"}
    assert survived == {("len(text) > 3", "len(text) >= 3"), ("3", "4")}
    assert (repository / "src/cellglass/small/code.py").read_text() == SOURCE


def test_every_fault_is_a_program_that_differs_in_one_place(repository: Path) -> None:
    file = repository / "src/cellglass/small/code.py"
    whole = ast.dump(ast.parse(SOURCE))
    found = mutate.faults(file)
    assert len({fault.text for fault in found}) == len(found) >= 6
    for fault in found:
        assert ast.dump(ast.parse(fault.text)) != whole


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a < b", {"a <= b"}), ("a + b", {"a - b"}), ("a and b", {"a or b"}), ("not a", {"a"}), ("True", {"False"}),
        ("0", {"1"}), ("7", {"8"}), ("np.min", {"np.max"}), ("f(a, axis=1)", {"f(a)"}),
        ("a is None", {"a is not None"}),
    ],
)  # fmt: skip
def test_what_is_changed(before: str, after: set[str]) -> None:
    node = ast.parse(before, mode="eval").body
    assert {ast.unparse(changed) for changed in mutate.changes(node)} == after

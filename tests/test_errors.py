"""Pieces of messages: one line, and lists that end."""

from cellglass.errors import listed, one_line


def test_an_error_becomes_one_line_of_bounded_length() -> None:
    assert one_line(ValueError("first\n  second\tthird ")) == "first second third"
    assert one_line(RuntimeError()) == "RuntimeError"
    assert one_line(ValueError("x" * 500)) == "x" * 200
    assert one_line(ValueError("abc"), 2) == "ab"


def test_lists_say_how_many_more_there_are() -> None:
    assert listed([]) == "none"
    assert listed(iter([1, "b"])) == "1, b"
    assert listed(range(5), 3) == "0, 1, 2 and 2 more"

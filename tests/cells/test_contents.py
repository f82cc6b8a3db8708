"""Errors of file libraries become one line; ours and the machine's stay what they are."""

import pytest

from cellglass.cells.contents import reading
from cellglass.errors import InputError


@pytest.mark.parametrize("error", [OSError("a\nb"), KeyError("X"), ValueError(""), EOFError(), RuntimeError("x" * 999)])
def test_any_library_error_is_one_line_with_name_and_cause(error):
    with pytest.raises(InputError) as caught, reading("my.h5ad"):
        raise error
    message = str(caught.value)
    assert message.startswith("my.h5ad: cannot be read")
    assert "\n" not in message
    assert len(message) < 600
    assert caught.value.__cause__ is error


def test_permissions_are_named():
    with pytest.raises(InputError, match="permission"), reading("my.h5ad"):
        raise PermissionError(13, "no")


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), InputError("ours")])
def test_others_pass(error):
    with pytest.raises(type(error)) as caught, reading("my.h5ad"):
        raise error
    assert caught.value is error

"""Names that are imported late: each is found, none is imported before it is asked for, others are refused."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from cellglass.lazy import lazily

PACKAGES = (
    "cellglass", "cellglass.atlas", "cellglass.circuits", "cellglass.explorer", "cellglass.models",
    "cellglass.models.scvi",
)  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_that_a_package_offers_is_there(package: str) -> None:
    code = f"import {package} as p; print([n for n in p.__all__ if getattr(p, n) is None], sorted(p.__all__) == dir(p))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[] True\n"


def test_a_submodule_is_given_itself_and_a_wrong_name_is_an_attribute_error() -> None:
    module = types.ModuleType("email")
    module.__all__ = ["message", "message_from_string"]  # type: ignore[attr-defined]
    get, listed = lazily("email", {"message": "email.message", "message_from_string": "email"})
    import email.message

    assert get("message") is email.message
    assert get("message_from_string") is email.message_from_string
    with pytest.raises(AttributeError, match="module 'email' has no attribute 'massage'"):
        get("massage")
    assert listed() == sorted(email.__all__)

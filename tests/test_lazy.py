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


CODE = """
import importlib, sys
for name in sys.argv[1:]:
    for own in [module for module in sys.modules if module.split(".")[0] == "cellglass"]:
        del sys.modules[own]
    package = importlib.import_module(name)
    missing = [one for one in package.__all__ if getattr(package, one) is None]
    print(name, missing, sorted(package.__all__) == dir(package))
"""


def test_every_name_that_a_package_offers_is_there() -> None:
    """In a process of its own; each package is the first of ours that is imported."""
    done = subprocess.run([sys.executable, "-c", CODE, *PACKAGES], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{name} [] True" for name in PACKAGES]


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

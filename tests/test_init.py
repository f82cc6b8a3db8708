"""Importing cellglass is cheap; every public name is there."""

import subprocess
import sys

import pytest

import cellglass


def test_import_brings_nothing_heavy() -> None:
    code = "import sys, cellglass; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    for heavy in ("torch", "numpy", "pandas", "scanpy", "anndata", "scvi", "typer"):
        assert f"'{heavy}'" not in loaded


def test_reading_cells_and_atlases_needs_no_torch() -> None:
    code = "import sys, cellglass; cellglass.read_cells; cellglass.open_atlas; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize("name", cellglass.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(cellglass, name) is not None
    assert name in dir(cellglass)


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'explian'"):
        _ = cellglass.explian

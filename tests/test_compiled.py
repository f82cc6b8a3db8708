"""A compiled loop gives what the plain one gives, is made once, and nothing is compiled at import."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cellglass.compiled import compiled, machine_code_kept


def _running_sum(x, out):
    total = x.dtype.type(0)
    for i in range(len(x)):
        total += x[i]
        out[i] = total


def test_it_does_what_the_plain_loop_does() -> None:
    for kind in (np.float32, np.float64, np.int32):
        x = (np.random.default_rng(0).random(1000) * 100).astype(kind)
        wanted, found, loose = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
        _running_sum(x, wanted)
        compiled(_running_sum)(x, found)
        compiled(_running_sum, any_order=True)(x, loose)
        assert (found == wanted).all()
        assert np.allclose(loose, wanted, rtol=1e-5)


def test_a_loop_is_compiled_once_for_each_way() -> None:
    assert compiled(_running_sum) is compiled(_running_sum)
    assert compiled(_running_sum, any_order=True) is not compiled(_running_sum)


def test_the_package_is_imported_without_numba() -> None:
    code = "import sys, cellglass.compiled, cellglass.dictionaries; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


LIBRARY = """
import numba

@numba.njit("f4(f8)")
def rounded(x):
    return x + 1

@numba.njit
def plain(x):
    return rounded(x) * 2

@numba.njit(fastmath=True)
def told(x):
    return x / 3
"""


def test_machine_code_of_libraries_is_kept_and_computes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numba

    (tmp_path / "some_library.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(tmp_path)
    before = numba.njit, numba.jit
    with machine_code_kept():
        library = importlib.import_module("some_library")
    assert (numba.njit, numba.jit) == before
    assert library.plain(0.1) == 2 * float(np.float32(1.1))  # the type that was named still rounds
    assert library.told(1.5) == pytest.approx(0.5)
    kept = {path.name.split("-")[0] for path in (tmp_path / "__pycache__").glob("*.nbi")}
    assert kept == {"some_library.rounded", "some_library.plain", "some_library.told"}


def test_what_cannot_be_kept_is_compiled_all_the_same() -> None:
    space: dict = {}
    with machine_code_kept():
        exec(LIBRARY, space)  # noqa: S102  code of no file has no place beside it
    assert space["plain"](1.0) == 4.0
    assert space["told"](6.0) == pytest.approx(2.0)

"""A compiled loop gives what the plain one gives, is made once, and nothing is compiled at import."""

import subprocess
import sys

import numpy as np

from cellglass.compiled import compiled


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

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellglass.atlas.report.pack import pack, quantise_activations, quantise_layout, short


@given(st.lists(st.integers(0, 2**32 - 1), max_size=40))
def test_packed_integers_come_back(values: list[int]) -> None:
    packed = pack(np.array(values, dtype=np.int64))
    read = np.frombuffer(base64.b64decode(packed["data"]), dtype=f"<u{packed['bytes']}")
    assert read.tolist() == values
    assert packed["bytes"] == 1 or max(values) >= 2 ** (4 * packed["bytes"])


def test_layout_keeps_its_proportions_and_stays_inside() -> None:
    xy = np.random.default_rng(0).normal(size=(500, 2)) * [8, 2] + [100, -3]
    x, y = (part.astype(float) for part in quantise_layout(xy))
    scale = (xy[:, 0].max() - xy[:, 0].min()) / (x.max() - x.min())
    np.testing.assert_allclose((x - x[0]) * scale, xy[:, 0] - xy[0, 0], atol=2 * scale)
    np.testing.assert_allclose((y - y[0]) * scale, xy[:, 1] - xy[0, 1], atol=2 * scale)
    assert (x.min(), x.max()) == (0, 65535)
    assert abs((y.min() + y.max()) / 2 - 32767.5) <= 1


def test_layout_of_one_place() -> None:
    x, y = quantise_layout(np.ones((3, 2)))
    assert len(set(x)) == len(set(y)) == 1


def test_what_is_active_never_becomes_zero_and_order_is_kept() -> None:
    values = np.sort(np.random.default_rng(0).gamma(1, 2, size=1000)) + 1e-9
    steps = quantise_activations(values, values.max())
    assert steps.min() >= 1
    assert steps.max() == 255
    assert (np.diff(steps.astype(int)) >= 0).all()
    np.testing.assert_allclose(
        steps / 255 * values.max(), np.maximum(values, values.max() / 255), atol=values.max() / 509
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.123456, 0.1235), (1234.0, 1234), (np.nan, None), (None, None), (np.inf, None), (1e-12, 1e-12)],
)
def test_short_numbers(value: float, expected: float) -> None:
    assert short(value) == expected

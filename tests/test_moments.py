"""Mean and sum of squares in pieces equal those of the whole, also far from zero, and at the fewest rows."""

import numpy as np
import pytest
import torch

from cellglass.moments import Moments

X = torch.as_tensor(np.random.default_rng(0).normal(size=(900, 5)) * np.arange(1, 6) + 1e4, dtype=torch.float32)


@pytest.mark.parametrize("piece", [1, 7, 900, 5000])
def test_pieces_equal_the_whole(piece: int) -> None:
    moments, together = Moments(5), Moments(5, together=True)
    for rows in (*X.split(piece), X[:0]):
        moments.add(rows)
        together.add(rows)
    whole = X.double().numpy()
    assert moments.n == together.n == 900
    np.testing.assert_allclose(moments.mean, whole.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(moments.squares / moments.n, whole.var(axis=0), rtol=1e-12)
    torch.testing.assert_close(together.mean, moments.mean, rtol=0, atol=0)
    assert together.squares.shape == ()
    assert float(together.squares) == pytest.approx(float(moments.squares.sum()), rel=1e-14)


def test_no_row_and_one_row_do_not_vary() -> None:
    moments = Moments(5)
    assert (moments.n, moments.squares.tolist()) == (0, [0] * 5)
    moments.add(X[:1])
    assert (moments.n, moments.squares.tolist()) == (1, [0] * 5)
    torch.testing.assert_close(moments.mean, X[0].double())

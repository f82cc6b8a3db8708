"""Streams derived from one seed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cellglass.seeds import derive, generator


@given(st.integers(0, 2**40), st.text(max_size=8), st.text(max_size=8))
def test_a_seed_fits_every_library_and_depends_on_each_name(seed: int, one: str, other: str) -> None:
    assert 0 <= derive(seed, one) < 2**63
    assert (derive(seed, one) == derive(seed, other)) == (one == other)
    assert derive(seed, one) != derive(seed + 1, one)


def test_the_same_use_draws_the_same_numbers() -> None:
    first, again, other = (generator(3, "swaps", use).random(100) for use in (1, 1, 2))
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.4

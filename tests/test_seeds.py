"""Streams derived from one seed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cellglass.seeds import derive, generator, lots


@given(st.integers(0, 2**40), st.text(max_size=8), st.text(max_size=8))
def test_a_seed_fits_every_library_and_depends_on_each_name(seed: int, one: str, other: str) -> None:
    assert 0 <= derive(seed, one) < 2**63
    assert (derive(seed, one) == derive(seed, other)) == (one == other)
    assert derive(seed, one) != derive(seed + 1, one)


def test_the_same_use_draws_the_same_numbers() -> None:
    first, again, other = (generator(3, "swaps", use).random(100) for use in (1, 1, 2))
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.4


def test_lots_depend_on_name_and_number_alone() -> None:
    which, number = np.array([0, 0, 1, 1]), np.array([5, 6, 5, 6])
    found = lots(1, "use", ["a", "b"], which, number)
    assert len(set(found.tolist())) == 4
    assert (lots(1, "use", ["b", "a"], 1 - which[::-1], number[::-1])[::-1] == found).all()
    assert (lots(2, "use", ["a", "b"], which, number) != found).all()
    assert (lots(1, "other", ["a", "b"], which, number) != found).all()
    many = lots(0, "use", ["a"], np.zeros(4000, dtype=int), np.arange(4000)) / 2**64
    assert abs(many.mean() - 0.5) < 0.02
    assert abs(many.std() - 12**-0.5) < 0.02

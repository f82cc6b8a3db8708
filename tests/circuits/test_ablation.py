"""A group taken out: the frozen model loses its edges, the real one what it says without them, random ones beside."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.circuits.ablation import ablate_group
from cellglass.circuits.asked import ask
from cellglass.circuits.choice import on_masks, units
from cellglass.circuits.editing import Filling, Written, real_answers
from cellglass.errors import InputError
from circuits.models import TARGETS, cells_of, model_of, transcoders_of


@pytest.mark.parametrize("kind", ["gpt_neox", "scgpt"])
def test_the_frozen_model_loses_the_sum_of_the_edges(kind: str) -> None:
    one = ask(model_of(kind), cells_of()[:1], transcoders_of(kind), *TARGETS[kind])
    made = units(one.replacement, "whole")
    members = list(zip(made.layer[::3].tolist(), made.latent[::3].tolist(), strict=True))
    found = ablate_group(one, [*members, (0, 10**6)], draws=3)
    assert found.frozen == pytest.approx(found.edges, rel=1e-3, abs=1e-4)
    assert found.answer == pytest.approx(float(one.answers.found[0]), rel=1e-3, abs=1e-4)
    assert found.active == len(members)
    masks = on_masks(made, one.replacement, [np.arange(0, len(made), 3)])
    without = real_answers(one, Written(one.frozen, one.replacement, Filling(), *masks, removed=True))
    assert found.live == pytest.approx(found.answer - float(without[0]), rel=1e-3, abs=1e-4)
    assert np.isfinite([found.random, found.random_sd]).all()
    again = ablate_group(one, members, draws=3)
    assert again == found
    assert np.isnan(ablate_group(one, members, draws=0).random)


def test_a_group_that_is_not_active_is_refused() -> None:
    one = ask(model_of("scgpt"), cells_of()[:1], transcoders_of("scgpt"), *TARGETS["scgpt"])
    with pytest.raises(InputError, match="no feature of the group is active in cell 'c0'"):
        ablate_group(one, [(0, 10**6)])

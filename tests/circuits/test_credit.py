"""Live credit: adds up to the real model's rise, is direct where little is changed, and counts what patterns do."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.circuits.asked import Asked, ask
from cellglass.circuits.choice import on_masks, units
from cellglass.circuits.credit import live_strengths
from cellglass.circuits.editing import Filling, Written, real_answers
from cellglass.errors import InputError
from circuits.models import TARGETS, cells_of, model_of, transcoders_of


def ask_of(kind: str) -> Asked:
    return ask(model_of(kind), cells_of()[:1], transcoders_of(kind), *TARGETS[kind])


def real(one: Asked, circuits: list[np.ndarray], *, removed: bool) -> np.ndarray:
    made = units(one.replacement)
    masks = on_masks(made, one.replacement, circuits)
    return real_answers(one, Written(one.frozen, one.replacement, Filling(), *masks, removed))


@pytest.mark.parametrize("kind", sorted(TARGETS))
def test_strengths_add_up_to_what_all_features_do_in_the_real_model(kind: str) -> None:
    one = ask_of(kind)
    nothing = np.empty(0, dtype=np.int64)
    rise = real(one, [nothing], removed=True)[0] - real(one, [nothing], removed=False)[0]
    found = live_strengths(one, 300)
    assert len(found) == len(units(one.replacement))
    assert found.sum() == pytest.approx(rise, rel=0.02, abs=1e-3)
    coarse = live_strengths(one, 1)
    assert np.corrcoef(found, coarse)[0, 1] > 0.5


def test_of_one_feature_it_is_the_slope_of_the_answer() -> None:
    """By differences: all features at a place on the way, and a little less of one."""
    one = ask_of("gpt_neox")
    found = live_strengths(one, 1)  # at the middle of the way
    best = int(np.argmax(np.abs(found)))
    values, start = [], 0
    for f in one.replacement.features:
        n = f.n_active
        values.append(f.value.clone() / 2)
        if start <= best < start + n:
            position, slot = (x[best - start] for x in np.nonzero(f.value.numpy() > 0))
            place = (len(values) - 1, int(position), int(slot))
        start += n
    answers = []
    for change in (0.02, -0.02):
        features = []
        for layer, f in enumerate(one.replacement.features):
            value = values[layer].clone()
            if layer == place[0]:
                value[place[1], place[2]] += change * f.value[place[1], place[2]]
            features.append(f.__class__(f.latent, value, f.read, f.read_bias, f.write))
        made = one.replacement.__class__(
            features, one.replacement.error, one.replacement.constant, one.replacement.skip
        )
        moved = one._replace(replacement=made)
        answers.append(real(moved, [np.empty(0, dtype=np.int64)], removed=True)[0])
    assert found[best] == pytest.approx((answers[0] - answers[1]) / 0.04, rel=0.05)


def test_no_steps_are_refused() -> None:
    with pytest.raises(InputError, match="steps is 0"):
        live_strengths(ask_of("scgpt"), 0)

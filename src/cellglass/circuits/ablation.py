"""What a group of features does to an answer in the real model: the answer without it, beside random groups like it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from cellglass.circuits.asked import Asked
from cellglass.circuits.choice import nodes_of, on_masks, random_like, units
from cellglass.circuits.editing import Filling, Written, frozen_answers, real_answers
from cellglass.circuits.propagation import effects
from cellglass.errors import InputError
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]


class Ablation(NamedTuple):
    """An answer with and without a group of features.

    Attributes
    ----------
    answer : float
        Of the real model, with all features.
    live, frozen : float
        What the answer loses without the group: in the real model, and in the frozen one.
    edges : float
        The sum of the members' edges into the answer: what `frozen` is, where other features keep their activations
        and nothing stands for the group.
    random, random_sd : float
        What it loses, in the real model, without as many features of the same layers and of like norm; NaN without any.
    active : int
        Members that are active in the cell.
    """

    answer: float
    live: float
    frozen: float
    edges: float
    random: float
    random_sd: float
    active: int


def ablate_group(
    asked: Asked,
    members: Iterable[tuple[int, int]],
    *,
    filling: Filling = Filling(),  # noqa: B008 (frozen)
    draws: int = 5,
    seed: int = 0,
) -> Ablation:
    """Return what an answer loses without a group of features at all tokens.

    Parameters
    ----------
    asked
        The cell, and what is asked.
    members
        Layer and number of each feature, as of `cellglass.circuits.groups.Group`.
    filling
        What stands in their place.
    draws
        Random groups.
    seed

    Raises
    ------
    InputError
        Where none of them is active in the cell.
    """
    made = units(asked.replacement, "whole")
    place = {pair: i for i, pair in enumerate(zip(made.layer.tolist(), made.latent.tolist(), strict=True))}
    chosen = np.array(sorted({place[pair] for pair in members if pair in place}), dtype=np.int64)
    if not len(chosen):
        raise InputError(f"no feature of the group is active in cell {asked.cell.obs.index[0]!r}; choose another cell")
    rng = generator(seed, "random groups")
    circuits = [np.empty(0, dtype=np.int64), chosen, *(random_like(made, chosen, rng) for _ in range(draws))]
    masks = on_masks(made, asked.replacement, circuits)
    live, frozen = (
        answer(asked, Written(asked.frozen, asked.replacement, filling, *masks, removed=True))
        for answer in (real_answers, frozen_answers)
    )
    direct = made.fold(nodes_of(effects(asked.frozen, asked.replacement, asked.answers.targets), asked.replacement))
    drawn = live[0] - live[2:]
    return Ablation(
        float(live[0]), float(live[0] - live[1]), float(frozen[0] - frozen[1]), float(direct[chosen].sum()),
        float(drawn.mean()) if draws else float("nan"), float(drawn.std(ddof=1)) if draws > 1 else float("nan"),
        len(chosen),
    )  # fmt: skip

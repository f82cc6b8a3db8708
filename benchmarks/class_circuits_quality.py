"""How good class circuits are in cells that did not make them: what they keep of an answer, and of what tells classes.

Used by ``class_circuits.py``. Shares of a class's answer are those of `class_faithfulness`. Beside them stands what is
kept of the *contrast*: with A(circuit, cells) the mean answer of the real model when of all features those of the
circuit are kept,

    contrast kept = (A(circuit, class) - A(circuit, other)) / (A(all, class) - A(all, other))

which no feature can change that does the same in both classes, such as those at the prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from class_circuits_report import AT_MEAN, BARE, BY, OFF

from cellglass.cells import Cells
from cellglass.circuits.asked import Asked, ask
from cellglass.circuits.choice import Units, on_masks, random_like, units
from cellglass.circuits.classes.cells import ordered_cells
from cellglass.circuits.classes.circuit import ClassCircuit
from cellglass.circuits.classes.faithfulness import class_faithfulness
from cellglass.circuits.editing import Filling, Written, mean_activations, real_answers
from cellglass.circuits.transcoders import Transcoders
from cellglass.models.cell2sentence.model import Cell2SentenceModel
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]
Pairs = Sequence[tuple[int, int]]

MEAN_CELLS = 10
"""Of each of two labels, over which the means of features are taken."""


class Figure(NamedTuple):
    """A figure of a circuit, by what ranks it, what stands for the others, and its size."""

    what: str
    by: str
    filled: str
    size: int
    value: float


def fillings(model: Cell2SentenceModel, learnt: Cells, made: Transcoders, circuit: ClassCircuit) -> dict[str, Filling]:
    """Return both fillings: off, and at the mean over cells of both labels that the model knows."""
    about = circuit.about
    label = learnt.obs[about["labels"]].astype(str).to_numpy()
    rows = [np.flatnonzero(label == value)[:MEAN_CELLS] for value in (about["class"], about["other"])]
    some = learnt[np.sort(np.concatenate(rows))]
    means = mean_activations(model, some, made.stand_ins, about["target"], about["against"])
    return {OFF: Filling(), AT_MEAN: Filling(means)}


def faithful(
    circuit: ClassCircuit, model: Cell2SentenceModel, left: Cells, made: Transcoders,
    *, n_cells: int, sizes: Sequence[int], draws: int, folder: Path,
) -> Iterator[Figure]:  # fmt: skip
    """Yield the shares of the class's answer that its circuit keeps, in cells that did not make it; all others off."""
    for by in BY:
        table = class_faithfulness(
            circuit, model, left, made, n_cells=n_cells, sizes=sizes, by=by, draws=draws, folder=folder
        )
        for row in table.to_dict("records"):
            for name in ("share", "sd", "random", "random_sd", "own", "span"):
                if name in row:
                    what = f"{row['test']}, {row['run']}: {name}"
                    yield Figure(what, by, OFF, int(row["size"]), float(row[name]))


def contrasts(
    circuit: ClassCircuit, model: Cell2SentenceModel, left: Cells, made: Transcoders, given: dict[str, Filling],
    *, n_cells: int, sizes: Sequence[int], draws: int,
) -> Iterator[Figure]:  # fmt: skip
    """Yield what a circuit keeps of the contrast, beside random circuits: the same features in every cell."""
    sides = [
        [ask(model, cell, made.stand_ins, circuit.about["target"], circuit.about["against"]) for cell in some]
        for some in unseen(circuit, left, n_cells)
    ]
    every = pooled([one for side in sides for one in side])
    place = {pair: i for i, pair in enumerate(zip(every.layer.tolist(), every.latent.tolist(), strict=True))}
    wanted: dict[tuple[str, int, int], Array] = {}
    for by in BY:
        ranked = circuit.features(by)
        for size in (n for n in sizes if n <= len(ranked)):
            own = np.array([place[pair] for pair in ranked[:size] if pair in place], dtype=np.int64)
            rng = generator(0, "random class circuits", by, size)
            for draw, some in enumerate([own, *(random_like(every, own, rng) for _ in range(draws))]):
                wanted[by, size, draw] = some
    for filled, filling in given.items():
        means = [np.mean([answers(one, every, [*wanted.values()], filling) for one in side], axis=0) for side in sides]
        everything, nothing, *rest = means[0] - means[1]
        yield Figure("contrast", "", filled, 0, float(everything))
        yield Figure("contrast kept", "no feature", filled, 0, float(nothing / everything))
        bare = [np.mean([answers(one, every, [], replace(filling, error=False))[1] for one in side]) for side in sides]
        yield Figure("contrast kept", BARE, filled, 0, float((bare[0] - bare[1]) / everything))
        shares = {key: float(value / everything) for key, value in zip(wanted, rest, strict=True)}
        for by, size in dict.fromkeys((by, size) for by, size, _ in wanted):
            random = [shares[by, size, draw] for draw in range(1, draws + 1)]
            yield Figure("contrast kept", by, filled, size, shares[by, size, 0])
            yield Figure("contrast kept, random", by, filled, size, float(np.mean(random)))
            yield Figure("contrast kept, random, most", by, filled, size, float(np.max(random)))


def unseen(circuit: ClassCircuit, left: Cells, n: int) -> list[list[Cells]]:
    """Return n cells of the class and of the other label that did not make the circuit, in their order."""
    about = circuit.about
    made_it = {name for some in about["cell_names"] for name in some} | set(about["left_out"])
    found = []
    for label in (about["class"], about["other"]):
        order = ordered_cells(left, about["labels"], label, about["batch"], about["seed"])
        some = [i for i in order.tolist() if str(left.obs.index[i]) not in made_it]
        found.append([left[i : i + 1] for i in some[:n]])
    return found


def pooled(asked: Sequence[Asked]) -> Units:
    """Return whole features that are active in any of these cells, with the root mean square of their norms."""
    square: dict[tuple[int, int], float] = {}
    for one in asked:
        made = units(one.replacement, "whole")
        for layer, latent, norm in zip(made.layer.tolist(), made.latent.tolist(), made.norm.tolist(), strict=True):
            square[layer, latent] = square.get((layer, latent), 0.0) + norm**2 / len(asked)
    pairs = sorted(square)
    layer, latent = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    norm = np.sqrt([square[pair] for pair in pairs])
    return Units("whole", layer, latent, np.arange(len(pairs)), norm)


def answers(one: Asked, every: Units, circuits: Sequence[Array], filling: Filling) -> Array:
    """Return the real model's answers on a cell with all features, with none, and with each circuit's alone."""
    made = units(one.replacement, "whole")
    place = {pair: i for i, pair in enumerate(zip(made.layer.tolist(), made.latent.tolist(), strict=True))}
    of_cell = np.array([place.get(pair, -1) for pair in zip(every.layer.tolist(), every.latent.tolist(), strict=True)])
    own = [of_cell[some] for some in circuits]
    masks = [np.empty(0, dtype=np.int64), *(some[some >= 0] for some in own)]
    kept = real_answers(one, Written(one.frozen, one.replacement, filling, *on_masks(made, one.replacement, masks)))
    nothing = on_masks(made, one.replacement, masks[:1])
    whole = real_answers(one, Written(one.frozen, one.replacement, filling, *nothing, removed=True))
    return np.concatenate([whole, kept])

r"""How faithful a class circuit is: its features kept in the real model, on cells that did not make it.

Of a cell, the circuit of size n are those of the n first features of the class that are active in it, at all tokens;
share kept and share lost are those of `cellglass.circuits.faithfulness`, beside random features of the same layers and
of like norm, and beside as many of the cell's own strongest features: what a circuit of this cell alone keeps.

Shares are of what features do to the answer in these cells, which may be little of it, and the same in every class:
then they swing from cell to cell, and say nothing of what tells the class from another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellglass.cells.cells import Cells
from cellglass.circuits.asked import Asked, ask
from cellglass.circuits.choice import nodes_of, ranked_units, units
from cellglass.circuits.classes.cells import ordered_cells
from cellglass.circuits.classes.circuit import ClassCircuit
from cellglass.circuits.editing import Filling
from cellglass.circuits.faithfulness import circuit_curve, mean_curve
from cellglass.circuits.propagation import effects
from cellglass.circuits.transcoders import Transcoders
from cellglass.errors import InputError
from cellglass.files import atomic_path
from cellglass.models.base import CellModel
from cellglass.progress import Progress, silent
from cellglass.seeds import derive

Array = np.ndarray[Any, Any]

SIZES = (10, 30, 100)
COLUMNS = ("test", "run", "size", "active", "share", "sd", "random", "random_sd", "own", "span", "n")


def class_faithfulness(
    circuit: ClassCircuit,
    model: CellModel,
    cells: Cells,
    transcoders: Transcoders,
    *,
    n_cells: int = 5,
    sizes: Sequence[int] = SIZES,
    by: str = "effect",
    filling: Filling = Filling(),  # noqa: B008 (frozen)
    draws: int = 5,
    seed: int = 0,
    folder: Path | str | None = None,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Return what share of the answer a class circuit keeps in other cells of its label.

    Parameters
    ----------
    circuit
    model, cells, transcoders
        Those that it was made from.
    n_cells
        Cells of the label that did not make the circuit; donors take turns, where it has some.
    sizes
        Features of the class that are kept; sizes beyond the number of its features are left out, and where all are,
        its features are kept together.
    by
        What ranks them: the size of their mean ``effect``, ``influence`` or ``difference`` from the other label.
    filling
        What stands for what is not kept.
    draws
        Random circuits for each size.
    seed
    folder
        Where each cell's curve is kept, so that a run that was killed goes on.
    progress
        Told the cells that are done.

    Returns
    -------
    pandas.DataFrame
        One row for each test (``kept``, ``lost``), run (``live``, ``frozen``) and size: ``active``, how many of these
        features are active in a cell; ``share`` of the circuit, ``sd`` over cells; ``random`` of random features, with
        ``random_sd``; ``own`` of as many of the cell's own features, by total effect; ``span``, the mean answer with
        all features less that with none: where it is small, shares say little; ``n`` cells. Cells count by what their
        features do, as in `mean_curve`. Sizes that not every cell has are left out.

    Raises
    ------
    InputError
        No cell of the label is left, or none that can be asked.
    """
    about = circuit.about
    net = transcoders.check(model)
    if about["fingerprint"] != transcoders.fingerprint:
        raise InputError("the class circuit is of another model; give the one that it was made from")
    made_it = {name for some in about["cell_names"] for name in some} | set(about["left_out"])
    order = ordered_cells(cells, about["labels"], about["class"], about["batch"], about["seed"])
    others = [i for i in order.tolist() if str(cells.obs.index[i]) not in made_it]
    if not others or n_cells < 1:
        raise InputError(
            f"no cell of {about['class']!r} is left that did not make the circuit ({len(order)} have the label, "
            f"{n_cells} are wanted); make it of fewer cells"
        )
    settings = derive(seed, *map(str, (sizes, by, draws, filling if filling.means is None else filling.means)))
    curves, reason = [], ""
    for number, i in enumerate(others[:n_cells]):
        file = None if folder is None else Path(folder) / f"curve-{i:09d}-{settings}.csv"
        if file is not None and file.exists():
            curves.append(pd.read_csv(file, float_precision="round_trip"))
        else:
            try:
                one = ask(net, cells[i : i + 1], transcoders.stand_ins, about["target"], about["against"])
                curves.append(_curve(one, circuit.features(by), sizes, filling, draws, derive(seed, "class cell", i)))
            except InputError as error:
                reason = str(error)
            else:
                if file is not None:
                    with atomic_path(file) as temporary:
                        curves[-1].to_csv(temporary, index=False, float_format="%.17g")
        progress("test on cells", number + 1, min(n_cells, len(others)))
    if not curves:
        raise InputError(f"none of {min(n_cells, len(others))} cells can be tested; of the last: {reason}")
    table = mean_curve(curves)
    return table[[name for name in COLUMNS if name in table]]


def _curve(
    one: Asked, features: Sequence[tuple[int, int]], sizes: Sequence[int], filling: Filling, draws: int, seed: int
) -> pd.DataFrame:
    """Return one cell's curve: of the class's features, of random ones and of its own."""
    made = units(one.replacement, "whole")
    place = {pair: i for i, pair in enumerate(zip(made.layer.tolist(), made.latent.tolist(), strict=True))}
    total = nodes_of(effects(one.frozen, one.replacement, one.answers.targets, total=True), one.replacement)
    order = ranked_units(made, total)
    if filling.layers is not None:
        features = [pair for pair in features if pair[0] in filling.layers]
        order = order[np.isin(made.layer[order], list(filling.layers))]
    ranked = np.array([place.get(pair, -1) for pair in features], dtype=np.int64)
    sizes = [size for size in sizes if 0 < size <= len(features)] or [len(features)]
    first = {size: ranked[:size][ranked[:size] >= 0] for size in sizes}
    chosen = {size: some for size, some in first.items() if len(some)}
    if not chosen:
        raise InputError(f"none of the {max(sizes)} features is active in cell {one.cell.obs.index[0]!r}")
    curve = circuit_curve(one, made, chosen, filling=filling, draws=draws, seed=seed)
    own = circuit_curve(
        one, made, {size: order[: len(some)] for size, some in chosen.items()}, filling=filling, draws=0
    )
    active = {size: len(some) for size, some in chosen.items()}
    return curve.assign(own=own["share"], active=[active[size] for size in curve["size"]])

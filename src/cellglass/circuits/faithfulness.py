r"""How faithful a circuit is: how much of the model's answer it keeps alone, and how much goes when it is taken out.

    share kept = (answer(circuit) - answer(nothing)) / (answer(all) - answer(nothing))
    share lost = (answer(all) - answer(all but the circuit)) / (answer(all) - answer(nothing))

at several sizes, with the area under the curve in the logarithm of the size,

    area = integral of share d log(size) / (log(largest) - log(smallest))                              trapezoids

each beside random circuits with as many units of each layer and of like norm (``choice.py``). `All` and `nothing` are
the model with every feature as it is, and with every one replaced; errors stay or go in all alike, as `Filling` says.
The second column of answers is the frozen model's: what it has more is what frozen patterns, norms and head hide.
Ends after Marks et al. 2024 (arXiv 2403.19647), whose features are those of sparse autoencoders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cellglass.circuits.asked import Asked
from cellglass.circuits.choice import Units, on_masks, random_like
from cellglass.circuits.editing import Filling, Written, frozen_answers, real_answers
from cellglass.errors import InputError
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

SIZES = (10, 30, 100, 300, 1000)
_LEAST = 1e-6
"""Of the answer: below this much between the ends there is nothing to have a share of."""


def faithfulness_curve(
    asked: Asked,
    made: Units,
    order: Array,
    *,
    sizes: Sequence[int] = SIZES,
    filling: Filling = Filling(),  # noqa: B008 (frozen)
    draws: int = 5,
    apart: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the curve of the circuits that `order` begins with, for one cell.

    Parameters
    ----------
    asked
        The cell, and what is asked.
    made
        The units that circuits are made of.
    order
        Units by falling strength; see `choice.ranked_units`. Where `filling` is of some layers, units of these.
    sizes
        Units of each circuit; sizes beyond the length of `order` are left out.
    filling
        What stands for what is not kept.
    draws
        Random circuits for each size.
    apart
        Draw as many others that share nothing with the circuit; see `choice.random_like`.
    seed

    Returns
    -------
    pandas.DataFrame
        One row for each test (``kept``, ``lost``), run (``live``, ``frozen``) and size: ``share`` of the circuit;
        ``random``, ``random_sd``, ``random_low`` and ``random_high`` of the random ones (mean, sd, least and most);
        ``norm``, the norm of a random circuit over the circuit's own; ``shared``, the part of a random circuit that is
        the circuit's: where that is large the random share is too, and says less; with `apart` also ``apart`` and
        ``norm_apart``, of random circuits that share nothing with it; ``span``, answer(all) - answer(nothing). In
        ``attrs``: ``answer`` (the model's own), and by run ``all`` and ``nothing``.

    Raises
    ------
    InputError
        Where the answer is the same with all features and with none.
    """
    if filling.layers is not None and not np.isin(made.layer[order], list(filling.layers)).all():
        raise InputError(
            "the order has units of layers that stay; leave them out: order[np.isin(layer[order], layers)]"
        )
    found = [size for size in sizes if 0 < size <= len(order)]
    if not found:
        raise InputError(f"there are {len(order)} units on this cell; give a size of at most as many")
    circuits = {size: order[:size] for size in found}
    return circuit_curve(asked, made, circuits, filling=filling, draws=draws, apart=apart, seed=seed)


def circuit_curve(
    asked: Asked,
    made: Units,
    circuits: Mapping[int, Array],
    *,
    filling: Filling = Filling(),  # noqa: B008 (frozen)
    draws: int = 5,
    apart: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the curve of circuits that are given by the size that they are told under; see `faithfulness_curve`."""
    found, chosen = list(circuits), list(circuits.values())
    rng = generator(seed, "random circuits", made.level)
    drawn = [[random_like(made, one, rng) for _ in range(draws)] for one in chosen]
    like = pd.DataFrame({"norm": [_norm(made, one, some) for one, some in zip(chosen, drawn, strict=True)],
                         "shared": [_shared(one, some) for one, some in zip(chosen, drawn, strict=True)]})  # fmt: skip
    others: list[list[Array]] = [[] for _ in chosen]
    if apart:
        others = [[random_like(made, one, rng, apart=True) for _ in range(draws)] for one in chosen]
        like["norm_apart"] = [_norm(made, one, some) for one, some in zip(chosen, others, strict=True)]
    both = [*chosen, *(one for some in (*drawn, *others) for one in some)]
    tables: list[pd.DataFrame] = []
    attrs: dict[Any, Any] = {"answer": float(asked.answers.found[0])}
    for run, answer in (("live", real_answers), ("frozen", frozen_answers)):
        full, nothing = _ends(asked, made, filling, answer)
        if abs(full - nothing) <= _LEAST * max(1.0, abs(full)):
            raise InputError(
                f"the answer is {full:.3g} with all features and with none: these transcoders carry nothing of it"
            )
        attrs |= {f"{run} all": full, f"{run} nothing": nothing}
        for test in ("kept", "lost"):
            masks = on_masks(made, asked.replacement, both)
            values = answer(asked, Written(asked.frozen, asked.replacement, filling, *masks, test == "lost"))
            share = (values - nothing if test == "kept" else full - values) / (full - nothing)
            tables.append(_table(test, run, found, share, like).assign(span=full - nothing))
    table = pd.concat(tables, ignore_index=True)
    table.attrs = attrs
    return table


def _ends(
    asked: Asked, made: Units, filling: Filling, answer: Callable[[Asked, Written], Array]
) -> tuple[float, float]:
    """Return the answers with every feature as it is, and with every one replaced."""
    masks = on_masks(made, asked.replacement, [np.empty(0, dtype=np.int64)])
    found = [
        float(answer(asked, Written(asked.frozen, asked.replacement, filling, *masks, removed))[0])
        for removed in (True, False)
    ]
    return found[0], found[1]


def _table(test: str, run: str, sizes: Sequence[int], share: Array, like: pd.DataFrame) -> pd.DataFrame:
    own, random = share[: len(sizes)], share[len(sizes) :].reshape(len(sizes), -1)
    table = pd.DataFrame({"test": test, "run": run, "size": sizes, "share": own})
    if "norm_apart" in like:
        random, others = np.split(random.reshape(2 * len(sizes), -1), 2)
    if random.shape[1]:
        table["random"], table["random_sd"] = random.mean(1), random.std(1, ddof=min(1, random.shape[1] - 1))
        table["random_low"], table["random_high"] = random.min(1), random.max(1)
        table[list(like.columns)] = like
        if "norm_apart" in like:
            table["apart"] = others.mean(1)
    return table


def _norm(made: Units, chosen: Array, drawn: Sequence[Array]) -> float:
    """Return the root mean square of the norms of drawn circuits over that of the chosen one; NaN of none."""
    own = float((made.norm[chosen] ** 2).sum())
    if not drawn or not own:
        return float("nan")
    return float(np.sqrt(np.mean([(made.norm[one] ** 2).sum() / own for one in drawn])))


def _shared(chosen: Array, drawn: Sequence[Array]) -> float:
    return float(np.mean([np.isin(one, chosen).mean() for one in drawn])) if drawn else float("nan")


def areas(curve: pd.DataFrame) -> pd.DataFrame:
    """Return the area under each curve, of the circuit and of the random ones; index test and run."""
    columns = [name for name in ("share", "random") if name in curve]
    rows = {}
    for key, one in curve.groupby(["test", "run"], sort=False):
        rows[key] = [area(one["size"].to_numpy(), one[name].to_numpy()) for name in columns]
    index = pd.MultiIndex.from_tuples(list(rows), names=["test", "run"])
    return pd.DataFrame(list(rows.values()), index=index, columns=columns)


def area(sizes: Array, shares: Array) -> float:
    """Return the mean share over the logarithm of the size, by trapezoids; of one size its share."""
    if len(sizes) == 1:
        return float(shares[0])
    x = np.log(np.asarray(sizes, dtype=float))
    return float(np.trapezoid(shares, x) / (x[-1] - x[0]))


def mean_curve(curves: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the share of all cells together, by test, run and size.

    Cells count by the size of their ``span``, so that shares are of the sum of what features do in all of them: a plain
    mean would be led by the cells in which they do least. ``sd`` is that of the shares, ``n`` the number of cells.
    Sizes that not every cell has are left out, since they would be of other cells.
    """
    if not curves:
        raise InputError("there are no curves to take the mean of; give at least one")
    joined = pd.concat(curves, ignore_index=True)
    keys = ["test", "run", "size"]
    by, weight = [joined[key] for key in keys], joined["span"].abs()
    sums = joined.drop(columns=keys).mul(weight, axis=0).groupby(by, sort=False).sum()
    table = sums.div(weight.groupby(by, sort=False).sum(), axis=0)
    grouped = joined.groupby(keys, sort=False)
    table["span"], table["sd"], table["n"] = grouped["span"].mean(), grouped["share"].std(), grouped.size()
    return table[table["n"] == len(curves)].reset_index()

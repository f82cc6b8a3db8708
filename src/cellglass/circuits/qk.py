r"""Why a head looks where it looks: one score split over pairs of a part of the query's state and one of the key's.

    score = slope scaling sum over i, j of (W_Q part_i)^T R (W_K part_j)

with R the turn between the two positions, parts as of `stream_parts` behind the norm with its scale frozen, and on
either side one more part, the bias that the norm and the map add whatever the state is. All pairs add up to the score
that the softmax is given. slope is 1; of a soft cap (Gemma 2), the one step that is not bilinear, it is the capped
score over the raw one, on this input. (Dunefsky et al. 2024 trace one side; pairs as Kamath et al. 2025,
transformer-circuits.pub.) A softmax sees differences alone: what adds the same to the scores of all keys moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from cellglass.circuits.features import Replacement
from cellglass.circuits.linear_map import Attend, Frozen
from cellglass.circuits.stream import at, stream_parts
from cellglass.errors import InputError

Tensor = torch.Tensor
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ScorePairs:
    """One score as a sum over pairs.

    Attributes
    ----------
    query, key : pandas.DataFrame
        The parts of either side, as of `stream_parts`; the last row is the bias.
    weights : numpy.ndarray, (n, m)
        What each pair adds, after the slope.
    slope : float
        Of a soft cap; 1 without one.
    share : float
        What of its attention the query's token gives to the key's.
    """

    query: pd.DataFrame
    key: pd.DataFrame
    weights: Array
    slope: float
    share: float

    @property
    def score(self) -> float:
        """The score that the softmax is given."""
        return float(self.weights.sum())

    def table(self, most: int | None = 100) -> pd.DataFrame:
        """Return the pairs of largest weight: the columns of either side, ``query_...`` and ``key_...``, and weight."""
        order = np.argsort(-np.abs(self.weights), axis=None, kind="stable")[:most]
        i, j = np.unravel_index(order, self.weights.shape)
        sides = [
            one.iloc[rows].add_prefix(name).reset_index(drop=True)
            for one, rows, name in ((self.query, i, "query_"), (self.key, j, "key_"))
        ]
        return pd.concat([*sides, pd.DataFrame({"weight": self.weights.ravel()[order]})], axis=1)

    def of_query(self) -> pd.DataFrame:
        """Return what each part of the query adds with the key as it is, largest first."""
        return _sorted(self.query.assign(weight=self.weights.sum(1)))

    def of_key(self) -> pd.DataFrame:
        """Return what each part of the key adds with the query as it is, largest first."""
        return _sorted(self.key.assign(weight=self.weights.sum(0)))


@torch.no_grad()
def score_pairs(
    frozen: Frozen, replacement: Replacement | None, layer: int, head: int, query: int, key: int
) -> ScorePairs:
    """Return one score as a sum over pairs of parts.

    Parameters
    ----------
    frozen
        The transformer on one input, frozen with its scores.
    replacement
        What stands in the place of its MLPs; None leaves them whole.
    layer, head
        Of the attention.
    query, key
        The token that looks, and the one that is looked at.

    Raises
    ------
    InputError
        A layer, head or token that is not there, a key that the query does not see, or scores that were not kept.
    """
    place, step = _attention(frozen, layer)
    made = step.heads.looking()
    if not 0 <= head < made.n_heads:
        raise InputError(f"there is no head {head}; layer {layer} has heads 0 to {made.n_heads - 1}")
    tables, sides = [], []
    for side, token in (("query", query), ("key", key)):
        parts = stream_parts(frozen, replacement, place, token)
        given, constant = parts.vectors, made.bias(head, token, side)
        if step.before is not None:
            given = at(step.before, token).linear(given)
            if step.before.bias is not None:
                constant = constant + made.one(step.before.bias[None], head, token, side)[0]
        tables.append(parts.with_bias(side))
        sides.append(torch.cat([made.one(given, head, token, side), constant[None]]))
    if made.seen is not None and not bool(made.seen[query, key]):
        raise InputError(f"token {query} does not see token {key} in layer {layer}")
    raw = sides[0] @ sides[1].T * made.scaling
    slope = 1.0
    if made.cap is not None and float(raw.sum()) != 0:
        slope = float(made.cap * torch.tanh(raw.sum() / made.cap) / raw.sum())
    share = float(step.heads.pattern[head, query, key])
    return ScorePairs(tables[0], tables[1], (raw * slope).cpu().numpy(), slope, share)


def _attention(frozen: Frozen, layer: int) -> tuple[int, Attend]:
    for place, step in enumerate(frozen.steps):
        if isinstance(step, Attend) and step.layer == layer:
            return place, step
    raise InputError(f"there is no layer {layer}; the model has layers 0 to {frozen.n_layers - 1}")


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values("weight", key=np.abs, ascending=False, kind="stable", ignore_index=True)

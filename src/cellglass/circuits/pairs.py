r"""Pairs of features, an earlier one that writes what a later one reads, along the residual stream alone.

    of the model    w_ij = w_dec_i . N^T w_enc_j             N: weights and centring of norms, their scales left out
    of one cell     sum over tokens, where j is active, of z_i (w_dec_i . N_t^T w_enc_j)     N_t: with frozen scales

(Dunefsky et al. 2024, arXiv 2406.11944.) Nothing passes attention. A pair is there if what i writes is on the stream
that j reads: never within a layer, nor into an MLP that is parallel to the writing one. A cross-layer feature's writing
to all MLPs before j's is added up.

There are too many pairs for a table of all, so that the largest are kept while blocks of them are worked out; sums over
cells hold four numbers for each pair that was active together in any of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from cellglass.circuits.features import Features, Replacement
from cellglass.circuits.linear_map import Attend, Frozen, Mlp, Norm, Rescale, Step, back_through
from cellglass.circuits.stream import down

Tensor = torch.Tensor
Array = np.ndarray[Any, Any]

_PAIR = ["layer", "feature", "to_layer", "to_feature"]


@torch.no_grad()
def feature_pairs(frozen: Frozen, replacement: Replacement, *, most: int = 10_000, block: int = 1024) -> pd.DataFrame:
    """Return the pairs of largest weight among all, whatever the input is.

    Parameters
    ----------
    frozen, replacement
        The model and its transcoders on any cell: the scales, patterns and activations that are its own are not used.
    most
        How many pairs.
    block
        How many reading features are taken at once; ``block`` times the features of a layer numbers are held.

    Returns
    -------
    pandas.DataFrame
        ``layer``, ``feature`` of the earlier one, ``to_layer``, ``to_feature`` of the later one, and ``weight``;
        largest first, by size.
    """
    plain = _without_scales(frozen)
    kept = [np.empty((4, 0), dtype=np.int64)], [np.empty(0)]
    for to_layer, reading in enumerate(replacement.features):
        for first in range(0, len(reading.read), block):
            rows = reading.read[first : first + block]
            falls = list(_falls(plain, to_layer, rows[None]))
            for layer, writing in enumerate(replacement.features[:to_layer]):
                found = [g[0] @ writing.write[at].T for at, g in falls if at in writing.write]
                if not found:
                    continue
                weights = torch.stack(found).sum(0)  # (block, m)
                of = weights.abs().flatten().topk(min(most, weights.numel())).indices
                to, source = of // weights.shape[1], of % weights.shape[1]
                names = [torch.full_like(of, layer), source, torch.full_like(of, to_layer), to + first]
                kept[0].append(torch.stack(names).cpu().numpy())
                kept[1].append(weights.flatten()[of].cpu().numpy())
            kept = _largest(*kept, most)
    (names_of,), (weight,) = _largest(*kept, most)
    return pd.DataFrame(dict(zip(_PAIR, names_of, strict=True))).assign(weight=weight)


def cell_pairs(frozen: Frozen, replacement: Replacement, *, most: int | None = 10_000) -> pd.DataFrame:
    """Return the pairs of largest effect on one cell.

    Parameters
    ----------
    frozen, replacement
        The model on the cell, and what stands in the place of its MLPs.
    most
        How many pairs; None is all of them.

    Returns
    -------
    pandas.DataFrame
        ``layer``, ``feature``, ``to_layer``, ``to_feature``, ``effect`` in units of the later feature's activation,
        summed over the tokens at which both are active, and ``tokens``, how many these are; largest first, by size.
    """
    table = PairSums().add(frozen, replacement).table(most)
    return table.rename(columns={"mean": "effect"})[[*_PAIR, "effect", "tokens"]]


@dataclass
class PairSums:
    """Pairs averaged over cells, one cell at a time.

    Attributes
    ----------
    n_cells : int
        That were added.
    """

    n_cells: int = 0
    _keys: dict[tuple[int, int, int], Array] = field(default_factory=dict)
    _sums: dict[tuple[int, int, int], Array] = field(default_factory=dict)

    @torch.no_grad()
    def add(self, frozen: Frozen, replacement: Replacement) -> PairSums:
        """Add one cell; the transcoders are the same for all."""
        self.n_cells += 1
        for to_layer, reading in enumerate(replacement.features):
            falls = list(_falls(frozen, to_layer, reading.read[reading.latent]))  # (t, k, d) each
            for layer, writing in enumerate(replacement.features[:to_layer]):
                found = [
                    torch.einsum("tbd,tkd->tkb", g, writing.write[at][writing.latent])
                    for at, g in falls
                    if at in writing.write
                ]
                if found:
                    effect = torch.stack(found).sum(0) * writing.value[..., None]
                    self._merge(layer, to_layer, *_of_cell(effect, writing, reading), len(reading.read))
        return self

    def table(self, most: int | None = 10_000) -> pd.DataFrame:
        """Return the pairs of largest mean effect.

        Returns
        -------
        pandas.DataFrame
            ``layer``, ``feature``, ``to_layer``, ``to_feature``; ``mean`` and ``sd`` over all cells, those in which a
            pair is not active together counting 0; ``cells`` and ``tokens`` in which it is; largest first, by size.
        """
        found = []
        for (layer, to_layer, width), keys in self._keys.items():
            total, squares, cells, tokens = self._sums[layer, to_layer, width]
            mean = total / self.n_cells
            sd = np.sqrt(np.maximum(squares / self.n_cells - mean**2, 0))
            columns = [np.full(len(keys), layer), keys // width, np.full(len(keys), to_layer), keys % width]
            one = pd.DataFrame(dict(zip(_PAIR, columns, strict=True)))
            found.append(one.assign(mean=mean, sd=sd, cells=cells.astype(int), tokens=tokens.astype(int)))
        if not found:
            return pd.DataFrame(columns=[*_PAIR, "mean", "sd", "cells", "tokens"])
        table = pd.concat(found, ignore_index=True)
        order = np.argsort(-np.abs(table["mean"].to_numpy()), kind="stable")[:most]
        return table.iloc[order].reset_index(drop=True)

    def _merge(self, layer: int, to_layer: int, keys: Array, effect: Array, tokens: Array, width: int) -> None:
        sums = np.stack([effect, effect**2, np.ones(len(keys)), tokens])
        place = (layer, to_layer, width)
        if place in self._keys:
            keys = np.concatenate([self._keys[place], keys])
            sums = np.concatenate([self._sums[place], sums], axis=1)
        self._keys[place], self._sums[place] = _summed(keys, sums)


def _of_cell(effect: Tensor, writing: Features, reading: Features) -> tuple[Array, Array, Array]:
    """Return, of effects (t, k, k'), key, sum over tokens and number of tokens of each pair that is active together."""
    on = (writing.value > 0)[:, :, None] & (reading.value > 0)[:, None]
    keys = writing.latent[:, :, None] * len(reading.read) + reading.latent[:, None]
    values = effect[on].double().cpu().numpy()
    found, sums = _summed(keys[on].cpu().numpy(), np.stack([values, np.ones(len(values))]))
    return found, sums[0], sums[1]


def _summed(keys: Array, sums: Array) -> tuple[Array, Array]:
    """Return the keys, each once, and the sums of the columns of `sums`, (r, n), that have them."""
    found, place = np.unique(keys, return_inverse=True)
    return found, np.stack([np.bincount(place, weights=row, minlength=len(found)) for row in sums])


def _falls(frozen: Frozen, layer: int, rows: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield each earlier MLP and the gradient of what `rows`, (t, B, d), read with respect to what it writes."""
    g = back_through(frozen.mlp(layer).before, rows)
    for _, step, behind in down(frozen, g, frozen.reads(layer)):
        if isinstance(step, Mlp):
            yield step.layer, behind


def _without_scales(frozen: Frozen) -> Frozen:
    """Return the model at one token with all scales 1."""

    def plain(norm: Norm | None) -> Norm | None:
        return None if norm is None else replace(norm, scale=torch.ones_like(norm.scale[:1]))

    steps: list[Step] = []
    for step in frozen.steps:
        if isinstance(step, Rescale):
            steps.append(Rescale(replace(step.norm, scale=torch.ones_like(step.norm.scale[:1]))))
        elif isinstance(step, Attend):
            steps.append(step)
        else:
            steps.append(replace(step, before=plain(step.before)))
    return replace(frozen, steps=steps)


def _largest(names: list[Array], weights: list[Array], most: int) -> tuple[list[Array], list[Array]]:
    """Return the largest of some blocks of pairs, as one block."""
    name, weight = np.concatenate(names, axis=1), np.concatenate(weights)
    order = np.argsort(-np.abs(weight), kind="stable")[:most]
    order = order[weight[order] != 0]
    return [name[:, order]], [weight[order]]

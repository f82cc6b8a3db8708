"""What turns one group of cells into another: the mean difference at a site, and the concepts that carry it.

For groups A and B, with activations x and codes f of a dictionary with directions D:

    difference = mean over B of x - mean over A of x
    shift_c    = mean over B of f_c - mean over A of f_c
    carried(S) = 1 - |difference - sum over c in S of shift_c D_c|^2 / |difference|^2

All latents together carry what the dictionary explains of the difference; what is left is its error. The fewest
concepts are picked greedily: at each step the one that raises ``carried`` most, until enough is carried or none
raises it. Picked and scored on other cells: the difference that is to be carried may be that of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cellglass.activations.rows import Ints, Rows
from cellglass.dictionaries.base import Dictionary
from cellglass.errors import InputError
from cellglass.interventions.edits import Edit, check_site, edit
from cellglass.moments import Moments

Array = np.ndarray[Any, Any]

_READ = 4096


class Contrast(NamedTuple):
    """Means of two groups of cells, or averages of such means.

    Attributes
    ----------
    difference : numpy.ndarray of float64, (d,)
    shift : numpy.ndarray of float64, (n_latents,)
    size : numpy.ndarray of float64, (n_latents,)
        Mean activation over both groups, each counted alike, times the length of the latent's direction.
    """

    difference: Array
    shift: Array
    size: Array

    def edits(self, latents: Sequence[int]) -> list[Edit]:
        """Return the edit that adds its shift to each of `latents`."""
        return [edit("add", latents, self.shift[list(latents)].tolist())]


def contrast_of(dictionary: Dictionary, rows: Rows, a: Ints, b: Ints) -> Contrast:
    """Return what differs between the cells at rows `a` and those at rows `b`.

    Raises
    ------
    InputError
        If a group is empty or the dictionary is a transcoder.
    """
    check_site(dictionary)
    if not len(a) or not len(b):
        raise InputError(f"a contrast needs cells on both sides; there are {len(a)} and {len(b)}")
    (x_a, f_a), (x_b, f_b) = (_means(dictionary, rows, part) for part in (a, b))
    return Contrast(x_b - x_a, f_b - f_a, (f_a + f_b) / 2 * lengths(dictionary))


def average(contrasts: Sequence[Contrast]) -> Contrast:
    """Return the mean of several contrasts, each counted alike, such as one of each cell type."""
    if not contrasts:
        raise InputError("there are no contrasts to average; give at least one")
    return Contrast(*(np.mean(parts, axis=0) for parts in zip(*contrasts, strict=True)))


def lengths(dictionary: Dictionary) -> Array:
    """Return the length of each latent's direction, float64 (n_latents,)."""
    found: Array = dictionary.directions.double().norm(dim=1).numpy()
    return found


def carried(dictionary: Dictionary, found: Contrast, latents: Sequence[int], of: Array | None = None) -> float:
    """Return ``carried`` of the module's docstring: 1 for all of it, below 0 where the shifts lead away.

    Parameters
    ----------
    dictionary : Dictionary
    found : Contrast
        Has the shifts.
    latents : sequence of int
    of : numpy.ndarray, (d,), optional
        The difference that is to be carried, such as that of held-out cells; by default the contrast's own.
    """
    wanted = found.difference if of is None else of
    parts = _parts(dictionary, found)[list(latents)].sum(axis=0)
    return 1 - float(np.square(wanted - parts).sum() / np.square(wanted).sum())


def fewest(dictionary: Dictionary, found: Contrast, among: Sequence[int], share: float) -> list[int]:
    """Return the fewest latents of `among` that carry `share` of the difference, as greedily picked, best first.

    All that raise it where they carry less together.

    Raises
    ------
    InputError
        If `share` does not lie between 0 and 1, or no latent carries anything.
    """
    if not 0 < share <= 1:
        raise InputError(f"share is {share:g}; it must lie above 0 and be at most 1")
    parts, left = _parts(dictionary, found), found.difference.copy()
    whole, pool, picked = float(left @ left), list(among), []
    while pool and float(left @ left) > (1 - share) * whole:
        own = parts[pool]
        gain = 2 * own @ left - np.square(own).sum(axis=1)  # how much |left|^2 falls
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            break
        picked.append(pool.pop(best))
        left -= parts[picked[-1]]
    if not picked:
        raise InputError("no concept carries any of the difference between the groups; name concepts, or other groups")
    return picked


def _parts(dictionary: Dictionary, found: Contrast) -> Array:
    """Return what each latent's shift moves, (n_latents, d)."""
    moved: Array = found.shift[:, None] * dictionary.directions.double().numpy()
    return moved


def _means(dictionary: Dictionary, rows: Rows, chosen: Ints) -> tuple[Array, Array]:
    """Return the mean activation (d,) and the mean codes (n_latents,) of rows, read piece by piece."""
    site, codes = Moments(rows.width), np.zeros(dictionary.n_latents)
    for start in range(0, len(chosen), _READ):
        x = rows.read(chosen[start : start + _READ])
        site.add(x)
        codes += np.asarray(dictionary.encode(x).to_csr().sum(axis=0, dtype=np.float64)).ravel()
    return site.mean.numpy(), codes / len(chosen)

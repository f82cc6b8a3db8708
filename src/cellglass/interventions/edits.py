"""Edits of concepts at their site, which keep what the dictionary does not explain.

With codes f of activations x, and D the rows of the decoder in the units of the site,

    x' = x + decode(f') - decode(f) = x + sum over edited latents c of (f'_c - f_c) D_c
    f'_c = max(0, f_c + dose (t_c - f_c))

where the target t_c of an edit with amount v is v (set), v f_c (scale), f_c + v (add) or 0 (ablate). Latents that are
not named, and the error of the dictionary, stay as they are; what changes nothing gives back the same bits. Codes are
never below 0, so that a concept that is absent cannot be taken away.

A dictionary's encoder does not invert its decoder: encoding x' again need not give f'.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from cellglass.dictionaries.base import Dictionary
from cellglass.errors import InputError, listed
from cellglass.vocabulary import EDITS


class Edit(NamedTuple):
    """A change of the activations of some latents.

    Attributes
    ----------
    how : {"set", "scale", "add", "ablate"}
        See the module's docstring.
    latents : tuple of int
        Each once.
    amounts : tuple of float
        One for each latent; not read by ``ablate``.
    """

    how: str
    latents: tuple[int, ...]
    amounts: tuple[float, ...]


def edit(how: str, latents: Iterable[int], amount: float | Iterable[float] = 0.0) -> Edit:
    """Return an edit of `latents`; one amount counts for all of them.

    Raises
    ------
    InputError
        For an unknown edit, no latents, amounts that are not finite or as many as latents, or a negative ``set`` or
        ``scale``.
    """
    chosen = tuple(int(latent) for latent in latents)
    amounts = (float(amount),) * len(chosen) if isinstance(amount, int | float) else tuple(map(float, amount))
    if how not in EDITS:
        raise InputError(f"there is no edit {how!r}; there are: {', '.join(EDITS)}")
    if not chosen:
        raise InputError(f"{how}: no concept is named; name at least one")
    if len(amounts) != len(chosen):
        raise InputError(f"{how}: {len(amounts)} amounts for {len(chosen)} concepts; give one, or one for each")
    if not all(map(math.isfinite, amounts)) or (how in ("set", "scale") and min(amounts) < 0):
        raise InputError(f"{how}: amounts are {listed(amounts)}; they must be finite, and 0 or more to set or scale")
    return Edit(how, chosen, amounts)


def change(dictionary: Dictionary, x: torch.Tensor, edits: Sequence[Edit], dose: float = 1.0) -> torch.Tensor:
    """Return x' - x, see the module's docstring.

    Parameters
    ----------
    dictionary : Dictionary
        Of the site that `x` is read at.
    x : torch.Tensor, float32 (n, d)
        A few thousand rows at a time: n x (edited latents) numbers are made.
    edits : sequence of Edit
    dose : float
        Share of the way to the target.

    Returns
    -------
    torch.Tensor, float32 (n, d)

    Raises
    ------
    InputError
        For a latent that is not there or is edited twice, or a transcoder, which writes another site.
    """
    latents = _checked(dictionary, edits)
    if not latents:
        return torch.zeros_like(x)
    with torch.no_grad():
        codes = dictionary.encode(x).to_csr()[:, latents]
        f = torch.from_numpy(codes.toarray()).to(x.dtype)  # (n, edited)
        target = torch.cat([_target(one, f[:, part]) for one, part in _parts(edits)], dim=1)
        moved = (f + dose * (target - f)).clamp(min=0)
        return (moved - f) @ dictionary.directions[latents].to(x.dtype)


def intervene(dictionary: Dictionary, x: torch.Tensor, edits: Sequence[Edit], dose: float = 1.0) -> torch.Tensor:
    """Return activations x' after `edits`; arguments as of `change`."""
    return x + change(dictionary, x, edits, dose)


def check_site(dictionary: Dictionary) -> None:
    """Raise InputError where a dictionary does not write the site that it reads."""
    if dictionary.d_in != dictionary.d_out or getattr(dictionary, "is_transcoder", False):
        raise InputError("a transcoder writes another site than it reads; edit concepts of an autoencoder")


def _checked(dictionary: Dictionary, edits: Sequence[Edit]) -> list[int]:
    check_site(dictionary)
    latents = [latent for one in edits for latent in one.latents]
    unknown = [latent for latent in latents if not 0 <= latent < dictionary.n_latents]
    if unknown:
        raise InputError(f"there is no latent {unknown[0]}; they run from 0 to {dictionary.n_latents - 1}")
    twice = sorted({latent for latent in latents if latents.count(latent) > 1})
    if twice:
        raise InputError(f"latents {listed(twice)} are edited twice; name each once")
    return latents


def _parts(edits: Sequence[Edit]) -> list[tuple[Edit, slice]]:
    parts, start = [], 0
    for one in edits:
        parts.append((one, slice(start, start + len(one.latents))))
        start += len(one.latents)
    return parts


def _target(one: Edit, f: torch.Tensor) -> torch.Tensor:
    amounts = torch.tensor(one.amounts, dtype=f.dtype)
    if one.how == "set":
        return amounts.expand_as(f)
    if one.how == "scale":
        return amounts * f
    return f + amounts if one.how == "add" else torch.zeros_like(f)

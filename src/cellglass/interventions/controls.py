"""Ways to move activations: by concepts, and the controls that stand beside them.

    concepts         the edits
    random concepts  as many other latents of like size take the edits' place, rescaled to their length in each cell
    random           a random direction, as long in each cell as what the edits move it by
    difference       the mean difference of the site between the groups, the same for all cells
    pca              that difference within the first principal components of the site
    none             nothing

The size of a latent is its mean activation times the length of its direction. A draw goes through the edited latents
in a random order; each gives its place to one of the `NEAR` latents nearest in size that has not been drawn: another
one, which may itself be among the edited ones. Its amount is such that the length that it moves stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from cellglass.dictionaries.base import Dictionary
from cellglass.interventions.contrast import Contrast, lengths
from cellglass.interventions.edits import Edit, change
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]
Mover = Callable[[torch.Tensor, float], torch.Tensor]
"""From activations (n, d) and a dose to what is added to them, (n, d)."""

NEAR = 10


class Way(NamedTuple):
    """One way to move activations.

    Attributes
    ----------
    name : str
        One of `cellglass.vocabulary.STEERED`.
    draw : int
        Number among several draws.
    move : callable
    """

    name: str
    draw: int
    move: Mover


def ways(
    dictionary: Dictionary,
    edits: Sequence[Edit],
    found: Contrast | None,
    components: Array | None,
    *,
    draws: int,
    seed: int,
) -> Iterator[Way]:
    """Yield the edits and their controls.

    Parameters
    ----------
    dictionary : Dictionary
    edits : sequence of Edit
    found : Contrast or None
        Without one there is neither difference nor PCA, and other concepts are drawn whatever their size.
    components : numpy.ndarray, (k, d) or None
        The first principal components of the site, each of length 1.
    draws : int
        Of random concepts and of random directions.
    seed : int
    """
    size = None if found is None else found.size

    def concepts(x: torch.Tensor, dose: float) -> torch.Tensor:
        return change(dictionary, x, edits, dose)

    yield Way("concepts", 0, concepts)
    for draw in range(draws):
        others = other_latents(dictionary, edits, size, generator(seed, "random concepts", draw))
        yield Way("random concepts", draw, _as_long(concepts, _edited(dictionary, others)))
    for draw in range(draws):
        direction = torch.from_numpy(generator(seed, "random directions", draw).standard_normal(dictionary.d_in))
        yield Way("random", draw, _as_long(concepts, _along(direction)))
    if found is not None:
        yield Way("difference", 0, _steady(found.difference))
        if components is not None:
            yield Way("pca", 0, _steady(found.difference @ components.T @ components))
    yield Way("none", 0, lambda x, _dose: torch.zeros_like(x))


def other_latents(
    dictionary: Dictionary, edits: Sequence[Edit], size: Array | None, rng: np.random.Generator
) -> list[Edit]:
    """Return the same edits of other latents of like size; see the module's docstring."""
    long = lengths(dictionary)
    size = np.ones(dictionary.n_latents) if size is None else size
    alive = np.flatnonzero((size > 0) & (long > 0))
    edited = [latent for one in edits for latent in one.latents]
    free, place = set(alive.tolist()), dict[int, int]()
    for latent in rng.permutation(edited).tolist():
        pool = np.array(sorted(free - {latent}) or [latent])
        tied = rng.permutation(len(pool))
        near = pool[tied][np.argsort(np.abs(size[pool[tied]] - size[latent]), kind="stable")[:NEAR]]
        place[latent] = int(rng.choice(near))
        free.discard(place[latent])
    return [_moved(one, place, long) for one in edits]


def _moved(one: Edit, place: dict[int, int], long: Array) -> Edit:
    others = tuple(place[latent] for latent in one.latents)
    if one.how == "scale":  # a factor has no length
        return Edit(one.how, others, one.amounts)
    factors = [long[a] / long[b] for a, b in zip(one.latents, others, strict=True)]
    return Edit(one.how, others, tuple(float(v * k) for v, k in zip(one.amounts, factors, strict=True)))


def _edited(dictionary: Dictionary, edits: Sequence[Edit]) -> Mover:
    return lambda x, dose: change(dictionary, x, edits, dose)


def _along(direction: torch.Tensor) -> Mover:
    return lambda x, _dose: direction.to(x.dtype).expand_as(x)


def _steady(difference: Array) -> Mover:
    step = torch.from_numpy(difference)
    return lambda x, dose: dose * step.to(x.dtype).expand_as(x)


def _as_long(first: Mover, other: Mover) -> Mover:
    """Return `other`, as long in each cell as `first`; nothing where `other` moves nothing."""

    def move(x: torch.Tensor, dose: float) -> torch.Tensor:
        wanted, own = first(x, dose).norm(dim=1, keepdim=True), other(x, dose)
        moved: torch.Tensor = torch.nn.functional.normalize(own, dim=1) * wanted
        return moved

    return move

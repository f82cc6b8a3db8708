"""Stability: whether dictionaries that differ only in their seed hold the same latents.

Each pair of seeds is matched twice, one to one: by the cosine of decoder directions, and by the correlation of
activations over the same cells (see ``matching.py`` and ``coactivation.py``). The first asks for the same place in the
site's space, the second for the same cells. Latents that are active in none of the cells, or have no direction, are
left out.

The null of cosines shuffles each dictionary's directions: in a narrow or lopsided space any directions agree to a
degree. That of correlations moves each latent's activations to random cells. Fits no dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cellglass.evaluation.coactivation import correlations, shuffled_cells
from cellglass.evaluation.consensus import THRESHOLD, consensus_shares, live_latents
from cellglass.evaluation.matching import THRESHOLDS, Agreement, agreement, cosines, shuffled_directions
from cellglass.evaluation.metric import Metric
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]
Place = tuple[int, int]


class Latents(NamedTuple):
    """The latents of one dictionary.

    Attributes
    ----------
    directions : numpy.ndarray, shape (n_latents, d)
        Decoder directions.
    codes : scipy.sparse.csc_matrix, shape (n_cells, n_latents)
        Activations; the same cells for all dictionaries that are compared.
    """

    directions: Array
    codes: sp.csc_matrix

    def live(self) -> Latents:
        """Return the latents that are active in some cell and have a direction."""
        kept = live_latents(self.codes)
        kept = kept[np.linalg.norm(self.directions[kept], axis=1) > 0]
        return Latents(self.directions[kept], self.codes[:, kept])


_DIRECTIONS = (
    "of the decoder directions of {basis} between two seeds, without latents that are active in no sampled cell; mean "
    "and spread over all pairs of seeds. Null: shuffled dictionaries, whose coordinates on each "
    "principal axis of the directions are exchanged among latents. n: pairs of seeds."
)
_ACTIVATIONS = (
    "of the activations of {basis} over the same cells between two seeds, without latents that are active in none of "
    "them; mean and spread over all pairs of seeds. Null: each latent's activations moved to random cells. "
    "n: pairs of seeds."
)
_CONSENSUS = (
    "Share of the latents of {basis} whose one-to-one partner, by activations over the same cells, correlates with at "
    "least {threshold} in more than half of the other seeds' dictionaries; spread with each seed's dictionary in turn "
    "as the first. Null: each latent's activations moved to random cells. n: latents."
)


def stability_metrics(group: Sequence[Latents], seed: int, *, basis: str) -> list[Metric]:
    """Return the records ``stability.BASIS`` and ``stability.BASIS.*``; none for fewer than two dictionaries.

    ``stability.BASIS`` is the mean cosine of matched directions, ``.max_cosine`` that with the best partner,
    ``.above_0.7`` and ``.above_0.9`` the shares of matched pairs; ``.coactivation``, ``.coactivation.max`` and
    ``.coactivation.above_*`` the same for correlations of activations; ``.consensus`` the share of latents that most
    other seeds find.

    Parameters
    ----------
    group : sequence of Latents
        One dictionary a seed.
    seed : int
        Of the nulls.
    basis : str
        Name of the basis.
    """
    if len(group) < 2:
        return []
    rng = generator(seed, "stability", basis)
    latents = [one.live() for one in group]
    places = list(combinations(range(len(latents)), 2))
    pairs = [(latents[i], latents[j]) for i, j in places]
    name, text = f"stability.{basis}", _DIRECTIONS.format(basis=basis)
    mixed = [shuffled_directions(one.directions, rng) for one in latents]
    same = [agreement(cosines(a.directions, b.directions)) for a, b in pairs]
    null = [agreement(cosines(mixed[i], mixed[j])) for i, j in places]
    metrics = list(_records(name, "max_cosine", "cosine", text, same, null))
    moved = [shuffled_cells(one.codes, rng) for one in latents]
    same = [agreement(correlations(a.codes, b.codes)) for a, b in pairs]
    null = [agreement(correlations(moved[i], moved[j])) for i, j in places]
    text = _ACTIVATIONS.format(basis=basis)
    metrics += _records(f"{name}.coactivation", "max", "correlation", text, same, null)
    sizes = [one.codes.shape[1] for one in latents]
    metrics.append(_consensus(basis, sizes, dict(zip(places, same, strict=True)), dict(zip(places, null, strict=True))))
    return metrics


def _records(
    name: str, best: str, what: str, text: str, found: Sequence[Agreement], null: Sequence[Agreement]
) -> Iterator[Metric]:
    """Yield the four records of one way to match; `best` names the one for the best partner."""
    one_to_one = "matched one to one (Hungarian algorithm)"
    words = {
        name: f"Mean {what}, {one_to_one},",
        f"{name}.{best}": f"Mean {what} with the best partner, both ways,",
        **{f"{name}.above_{cut}": f"Share of pairs, {one_to_one}, with at least {cut} {what}" for cut in THRESHOLDS},
    }
    values, by_chance = (
        np.array([[one.matched, one.best, *map(one.above, THRESHOLDS)] for one in each]) for each in (found, null)
    )
    for i, (metric, definition) in enumerate(words.items()):
        yield Metric(
            metric=metric,
            value=float(values[:, i].mean()),
            spread=float(values[:, i].std(ddof=1)) if len(values) > 1 else None,
            null=float(by_chance[:, i].mean()),
            n=len(values),
            definition=f"{definition} {text}",
        )


def _consensus(
    basis: str, sizes: Sequence[int], found: Mapping[Place, Agreement], null: Mapping[Place, Agreement]
) -> Metric:
    shares, by_chance = (
        consensus_shares({place: one.pairs for place, one in each.items()}, sizes) for each in (found, null)
    )
    return Metric(
        metric=f"stability.{basis}.consensus",
        value=shares[0],
        spread=float(np.std(shares, ddof=1)),
        null=float(np.mean(by_chance)),
        n=sizes[0],
        definition=_CONSENSUS.format(basis=basis, threshold=THRESHOLD),
    )

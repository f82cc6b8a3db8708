"""Consensus: latents that come back in other halves of the cells, and residual latents for what those leave.

A latent is active in a row where its pre-activation is above a threshold of its own, whatever the other latents do, so
the number of active latents differs from cell to cell:

    f_j = p_j [p_j > θ_j],        p = (u - b) Eᵀ + e

The first `n_core` latents are linear readouts of what many fits on halves of the cells have in common (``consensus/``);
p_j is 0 in the mean of the cells in which the concept is off, and a constant of its own in the mean of the others. Of
these the first `n_concepts` have a reproducibility of at least 0.8: they are the concepts. What follows is residual:
groups that come back less often, and latents of a BatchTopK sparse autoencoder trained on what the core leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from cellglass.dictionaries.kind import DictionaryKind
from cellglass.dictionaries.kinds.thresholds import Thresholded
from cellglass.dictionaries.sparse import SparseConfig, SparseDictionary
from cellglass.dictionaries.sparse_ops.selection import Above, Rule
from cellglass.errors import InputError

REPRODUCIBLE = 0.8
"""Reproducibility from which on a latent is a concept."""
STATISTICS = ("reproducibility", "cluster_correlation", "agreement")


@dataclass(frozen=True)
class ConsensusConfig(SparseConfig):
    """A consensus dictionary: at most `n_latents` latents, of which about `k` are active in a row.

    Attributes
    ----------
    n_core : int
        Latents that stand for groups of candidates; found by the fit.
    n_concepts : int
        How many of them are reproducible; found by the fit.
    pairs : int
        Pairs of halves of the cells that candidates are fitted to.
    with_residual : bool
        Whether latents are trained for what the core leaves. Without them the dictionary has the core alone.
    """

    kind: ClassVar[str] = "consensus"

    n_core: int = 0
    n_concepts: int = 0
    pairs: int = 16
    with_residual: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.d_out is not None or self.skip:
            raise InputError("a consensus dictionary writes the site that it reads; leave out d_out and skip")
        if self.pairs < 1:
            raise InputError(f"pairs is {self.pairs}; it must be at least 1")
        if not 0 <= self.n_concepts <= self.n_core <= self.n_latents:
            raise InputError(
                f"there are {self.n_concepts} concepts among {self.n_core} core latents of {self.n_latents}; each must "
                "be at most the next"
            )


class Consensus(Thresholded):
    """A consensus dictionary.

    Attributes
    ----------
    threshold : torch.Tensor, shape (m,)
        θ.
    reproducibility : torch.Tensor, shape (m,)
        Share of the pairs of halves of the cells in both of which a candidate is found that the latent stands for.
    cluster_correlation : torch.Tensor, shape (m,)
        Correlation of the latent's activation with the best cluster, of any number of clusters, of a half; mean over
        halves.
    agreement : torch.Tensor, shape (m,)
        F1 of "the latent is on" for the cells in which its consensus activation is on; NaN of residual latents that no
        candidate stands behind.
    """

    kind: ClassVar[str] = "consensus"
    config_class: ClassVar[type[SparseConfig]] = ConsensusConfig
    not_learned: ClassVar[frozenset[str]] = SparseDictionary.not_learned | {"threshold", *STATISTICS}
    config: ConsensusConfig

    reproducibility: torch.Tensor
    cluster_correlation: torch.Tensor
    agreement: torch.Tensor

    @classmethod
    def shapes(cls, config: SparseConfig) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight and stored statistic."""
        return {**super().shapes(config), **dict.fromkeys(("threshold", *STATISTICS), (config.n_latents,))}

    def begin(self, u: torch.Tensor, target: torch.Tensor, seed: int) -> None:
        """Refuse to be trained as it is: what comes back is not found by gradient."""
        raise InputError('a consensus dictionary is not trained by gradient alone; call fit("consensus", x)')

    def rules(self) -> Sequence[Rule]:
        """Keep what is above its threshold."""
        return [Above(self.bar())]

    @property
    def n_findings(self) -> int:
        """How many latents, from the first on, are concepts; the others are residual."""
        return self.config.n_concepts

    @property
    def own_thresholds(self) -> torch.Tensor:
        """θ: below it a concept is off."""
        return self.bar()


def _learn(*args: object, **options: object) -> Consensus:
    from cellglass.dictionaries.consensus.fit import fit_consensus

    return fit_consensus(*args, **options)  # type: ignore[arg-type]  # handed on as they came


ENTRY = DictionaryKind(
    Consensus,
    "trained",
    lambda width, _rows, m, k: ConsensusConfig(width, m, k),
    once=True,
    more=(64, 4),
    learn=_learn,
    selection="threshold",
    exchanged_as="jumprelu",
)

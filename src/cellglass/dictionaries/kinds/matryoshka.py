"""Nested (Matryoshka) TopK autoencoder: every prefix of the latents is an autoencoder in its own right.

Kusupati et al. 2022 (arXiv 2205.13147) nest representations, Bussmann et al. 2025 (arXiv 2503.17547) sparse
autoencoders: the loss is the sum of the errors of several prefixes, so that the first latents stay general and are
not split by later ones. Here each prefix also has its own k and selects *within itself*: with k = 1 the first
prefixes divide the cells among latents, as a clustering would, which keeps cell types whole; later prefixes, with
more latents active at once, add what is shared and what varies within a type. Encoding selects the k largest of all
latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch

from cellglass.dictionaries.kind import DictionaryKind
from cellglass.dictionaries.kinds.topk import TopK, TopKConfig
from cellglass.dictionaries.sparse import SparseConfig
from cellglass.dictionaries.sparse_ops.selection import LargestOfRow, Rule
from cellglass.errors import InputError


@dataclass(frozen=True)
class MatryoshkaConfig(SparseConfig):
    """A nested TopK dictionary.

    Attributes
    ----------
    prefixes : tuple of int
        Sizes of the prefixes, growing; the last is `n_latents`.
    prefix_k : tuple of int
        Latents that may be active in each prefix when it reconstructs by itself; the last is `k`.
    """

    kind: ClassVar[str] = "matryoshka"

    prefixes: tuple[int, ...] = ()
    prefix_k: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_prefixes(self.prefixes, self.n_latents)
        if len(self.prefixes) != len(self.prefix_k):
            raise InputError(
                f"there are {len(self.prefixes)} prefixes and {len(self.prefix_k)} prefix_k; give one k for each prefix"
            )
        if self.prefix_k[-1] != self.k:
            raise InputError(f"the last prefix has k {self.prefix_k[-1]}; it holds all latents, so it must be {self.k}")
        for prefix, k in zip(self.prefixes, self.prefix_k, strict=True):
            if not 1 <= k <= prefix:
                raise InputError(
                    f"prefix_k is {k} for the prefix of {prefix} latents; it must lie between 1 and {prefix}"
                )


def check_prefixes(prefixes: tuple[int, ...], n_latents: int) -> None:
    """Raise InputError unless `prefixes` grow to `n_latents`."""
    if not prefixes or prefixes[0] < 1 or any(a >= b for a, b in pairwise(prefixes)):
        raise InputError(f"prefixes are {prefixes}; give sizes that grow from at least 1")
    if prefixes[-1] != n_latents:
        raise InputError(f"the last prefix is {prefixes[-1]}; it must be all {n_latents} latents")


class Matryoshka(TopK):
    """A nested TopK dictionary."""

    kind: ClassVar[str] = "matryoshka"
    config_class: ClassVar[type[SparseConfig]] = MatryoshkaConfig
    config: MatryoshkaConfig

    def training_rules(self, n_rows: int) -> Sequence[Rule]:
        """Keep the k largest of each prefix, each prefix for itself."""
        return [LargestOfRow(k, 0, size) for size, k in zip(self.config.prefixes, self.config.prefix_k, strict=True)]

    def first_rules(self) -> Sequence[Rule]:
        """Choose as in training."""
        return self.training_rules(0)

    def prefix(self, number: int) -> TopK:
        """Return prefix `number` (0 is the smallest) as a TopK dictionary in its own right."""
        size, k = self.config.prefixes[number], self.config.prefix_k[number]
        part = TopK(TopKConfig(self.d_in, size, k, d_out=self.config.d_out, skip=self.config.skip))
        weights = self.state_dict()
        for name in ("encoder", "encoder_bias", "decoder"):
            weights[name] = weights[name][:size]
        part.load_state_dict({name: torch.clone(value) for name, value in weights.items()})
        return part.freeze()


_CLUSTERS = (5, 10, 20, 40)
_MANY, _BLOCK = 512, 128


def default_levels(n_latents: int, k: int) -> list[tuple[int, int]]:
    """Return the prefixes and their k: 5, 10, 20 and 40 latents with one active, where they are at most half; all.

    From 512 latents on also a prefix of 128 with 12 active in between.
    """
    levels = [(prefix, 1) for prefix in _CLUSTERS if 2 * prefix <= n_latents]
    if n_latents >= _MANY:
        levels.append((_BLOCK, min(12, k)))
    return [*levels, (n_latents, k)]


def _default(width: int, _rows: int, n_latents: int, k: int) -> MatryoshkaConfig:
    prefixes, prefix_k = zip(*default_levels(n_latents, k), strict=True)
    return MatryoshkaConfig(width, n_latents, k, prefixes, prefix_k)


ENTRY = DictionaryKind(Matryoshka, "trained", _default, selection="topk")

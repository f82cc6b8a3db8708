"""How concepts are attributed to genes: every setting, with its default, its meaning and what it cannot be."""

from __future__ import annotations

from dataclasses import dataclass

from cellglass.attribution.registry import METHODS
from cellglass.errors import InputError
from cellglass.vocabulary import ATTRIBUTION_BY_DEFAULT

READOUTS = ("activation", "preactivation")


@dataclass(frozen=True)
class AttributionConfig:
    """How the genes behind each concept are found."""

    methods: tuple[str, ...] = ATTRIBUTION_BY_DEFAULT
    """Any of ``path``, ``swap``, ``knockout``, ``de`` (differential expression, for comparison), ``gradient``,
    ``shapley``, ``correlation`` (for comparison too), and of the methods that other packages bring."""
    prototypes: int = 20
    """Cells taken for each concept; never more than half of its active cells, so that null partners remain."""
    partners: int = 5
    """Partners of each prototype, and as many null partners."""
    match: tuple[str, ...] = ()
    """Columns of `obs` in which a partner must equal its prototype (donor, batch)."""
    genes: int | None = None
    """Swaps and knock-outs are run for at most this many genes of a concept, those that ``screen`` puts first; other
    genes have no row. By default for all; a run of the pipeline takes 50 by default where the model's first layer is
    not linear, since each change is a run of the model then."""
    budget: float | None = None
    """At most this share of the runs that swaps and knock-outs of all genes would take, 0 to 1, is spent on a concept,
    on the genes that ``screen`` puts first. By default all; a run of the pipeline takes 0.1 where the model's first
    layer is not linear."""
    screen: str | None = None
    """What puts genes in order where not all are tried: ``gradient``, the gradient times the difference of a pair (one
    backward pass a prototype), or ``difference``, by how much log1p counts differ, which is taken too where there is no
    gradient. By default ``difference`` for Geneformer and Cell2Sentence, and ``gradient`` for all others."""
    checked: int = 2
    """Of this many concepts a run of the pipeline tries all genes in a few pairs, to see what ``screen`` finds."""
    steps: int = 32
    """Steps of the path integral."""
    token_steps: int = 3
    """The same where the path runs through a transformer's tokens: Gauss-Legendre points."""
    orders: int = 8
    """Orders in which Shapley values swap the genes of a pair; each is run forwards and backwards."""
    choose: str = "top"
    """Prototypes: ``top``, the cells that activate the concept most, or ``quantiles``, evenly over the ranks of its
    active cells."""
    null: str = "matched"
    """Null partners, from the cells in which the concept is on and that are no prototypes: ``matched``, as far from the
    prototype and as deep as real partners, or ``random``, a seeded draw from all active ones."""
    on: tuple[str, ...] = READOUTS
    """What swaps and knock-outs read: ``activation`` (after the dictionary's selection), ``preactivation`` (before it),
    or both."""
    path_on: tuple[str, ...] = ("activation",)
    """What paths read, and other methods by gradients: ``activation`` (the positive part of the pre-activation: the
    selection has no gradient), ``preactivation``, or both."""
    max_candidates: int = 50_000
    """Of more cells than this, a seeded sample of this size is searched for partners."""
    max_cells: int = 5_000
    """Cells a side in differential expression; of more, a seeded sample."""
    residual: bool = False
    """Whether a run attributes residual latents too, which are no findings; each costs as much as a concept."""
    match_depth: bool = True
    """Bring a partner to its prototype's depth before a path starts."""

    def __post_init__(self) -> None:
        for name in self.methods:
            METHODS.check(name, "attribution.methods")
        for name in ("on", "path_on"):
            for value in getattr(self, name):
                if value not in READOUTS:
                    raise InputError(f"attribution.{name} has {value!r}; it can hold {', '.join(READOUTS)}")
        for name, known in (("methods", METHODS), ("on", READOUTS), ("path_on", READOUTS)):
            if not getattr(self, name):
                raise InputError(f"attribution.{name} is empty; it can hold {', '.join(known)}")
        chosen = {"choose": ("top", "quantiles"), "null": ("matched", "random"), "screen": ("gradient", "difference")}
        for name, choices in chosen.items():
            value = getattr(self, name)
            if value not in choices and (name, value) != ("screen", None):
                raise InputError(f"attribution.{name} is {value!r}; it can be {' or '.join(choices)}")
        if self.budget is not None and not 0 < self.budget <= 1:
            raise InputError(f"attribution.budget is {self.budget}; it is a share of runs, above 0 and at most 1")
        bounds = {
            "prototypes": 2,
            "partners": 1,
            "genes": 1,
            "checked": 0,
            "steps": 1,
            "token_steps": 1,
            "orders": 1,
            "max_candidates": 1,
            "max_cells": 2,
        }
        for name, bound in bounds.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise InputError(f"attribution.{name} is {value}; it must be at least {bound}")

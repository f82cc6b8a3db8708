"""How gene sets are tested: one small dataclass that configuration files, `enrich` and every test read."""

from __future__ import annotations

from dataclasses import dataclass

from cellglass.enrichment.registry import TESTS
from cellglass.errors import InputError
from cellglass.vocabulary import TESTS as BUILT_IN

NONE = "none"
"""In place of gene sets: an atlas without pathways."""
DEFAULT = ("bundled",)

_LEAST = {"min_size": 1, "max_size": 1, "permutations": 10, "top_n": 1, "null_draws": 0}


@dataclass(frozen=True)
class EnrichmentConfig:
    """What the genes mean."""

    gene_sets: tuple[str, ...] | None = None
    """Named sources (``bundled``, ``hallmark``, ``reactome``, ``go-bp``) and GMT files, or ``none``; by default the
    bundled sets, as far as they fit the genes."""
    tests: tuple[str, ...] = tuple(BUILT_IN)
    """Any of ``gsea``, ``ulm``, ``ora``, and tests of other packages."""
    min_size: int = 5
    """Smallest number of measured genes of a set that is tested."""
    max_size: int = 500
    """Largest number."""
    permutations: int = 1000
    """Random sets of each size in the null of GSEA."""
    top_n: int = 50
    """Longest list of top genes in ORA."""
    null_draws: int | None = None
    """Matched random rankings for each concept; by default what each test says. 0: no null rates and no null_q."""
    alpha: float = 0.05
    """Level of the rates of annotation; terms with p below it are kept, beside the best of each concept."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"enrichment.{name} is {value}; it must be at least {least}")
        if self.min_size > self.max_size:
            raise InputError(
                f"enrichment.min_size is {self.min_size} and max_size {self.max_size}; "
                "the smallest set can be at most as large as the largest"
            )
        if not 0 < self.alpha <= 1:
            raise InputError(f"enrichment.alpha is {self.alpha}; it must be above 0 and at most 1")
        if self.gene_sets == ():
            raise InputError("enrichment.gene_sets is empty; name a source such as bundled, a GMT file, or none")
        if self.gene_sets is not None and NONE in self.gene_sets and len(self.gene_sets) > 1:
            raise InputError(f"enrichment.gene_sets is {', '.join(self.gene_sets)}; {NONE} stands alone")
        if not self.tests:
            raise InputError(f"enrichment.tests is empty; it can hold {', '.join(TESTS)}")
        for name in self.tests:
            TESTS.check(name, "enrichment.tests")
            if self.tests.count(name) > 1:
                raise InputError(f"enrichment.tests has {name!r} twice; name each test once")

    @property
    def source_names(self) -> tuple[str, ...]:
        """The sources that are tested, as far as they fit."""
        if self.gene_sets is None:
            return DEFAULT
        return () if self.gene_sets == (NONE,) else self.gene_sets

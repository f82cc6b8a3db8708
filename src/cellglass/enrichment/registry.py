"""The tests of gene sets: ours, one file each, and those of other packages (entry points ``cellglass.tests``)."""

from __future__ import annotations

from cellglass import vocabulary
from cellglass.enrichment.base import GeneSetTest
from cellglass.registry import Registry

TESTS: Registry[GeneSetTest] = Registry("gene-set test", "cellglass.tests", GeneSetTest, vocabulary.TESTS)


def both_ends(test: str) -> bool:
    """Say whether a test finds depletion too; one that is not known here is taken to."""
    return test not in TESTS or not TESTS[test].one_sided

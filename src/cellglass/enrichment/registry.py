"""The tests of gene sets: ours, one file each, and those of other packages (entry points ``cellglass.tests``)."""

from __future__ import annotations

from cellglass import vocabulary
from cellglass.enrichment.base import GeneSetTest
from cellglass.registry import Registry

TESTS: Registry[GeneSetTest] = Registry("gene-set test", "cellglass.tests", GeneSetTest, vocabulary.TESTS)

"""From genes to pathways: gene sets, tests of them, what random genes get, and names for concepts.

`load_source` and `read_gmt` give `GeneSets`; `enrich` runs every test of an `EnrichmentConfig`, with its null;
`machine_names` names concepts. A test is a `GeneSetTest` that gives `SetStatistics`; `TESTS` holds them by name.

Each name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.enrichment.base import GeneSetTest, SetStatistics
    from cellglass.enrichment.config import EnrichmentConfig
    from cellglass.enrichment.genesets import GeneSets, read_gmt, restrict, write_gmt
    from cellglass.enrichment.names import machine_names
    from cellglass.enrichment.registry import TESTS
    from cellglass.enrichment.run import EnrichmentResult, enrich
    from cellglass.enrichment.sources import SOURCES, describe_sources, load_source

__all__ = [
    "SOURCES",
    "TESTS",
    "EnrichmentConfig",
    "EnrichmentResult",
    "GeneSetTest",
    "GeneSets",
    "SetStatistics",
    "describe_sources",
    "enrich",
    "load_source",
    "machine_names",
    "read_gmt",
    "restrict",
    "write_gmt",
]

_WHERE = {
    "SOURCES": "cellglass.enrichment.sources",
    "TESTS": "cellglass.enrichment.registry",
    "EnrichmentConfig": "cellglass.enrichment.config",
    "EnrichmentResult": "cellglass.enrichment.run",
    "GeneSetTest": "cellglass.enrichment.base",
    "GeneSets": "cellglass.enrichment.genesets",
    "SetStatistics": "cellglass.enrichment.base",
    "describe_sources": "cellglass.enrichment.sources",
    "enrich": "cellglass.enrichment.run",
    "load_source": "cellglass.enrichment.sources",
    "machine_names": "cellglass.enrichment.names",
    "read_gmt": "cellglass.enrichment.genesets",
    "restrict": "cellglass.enrichment.genesets",
    "write_gmt": "cellglass.enrichment.genesets",
}
__getattr__, __dir__ = lazily(__name__, _WHERE)

"""From genes to pathways: gene sets, three tests of them, what random genes get, and names for concepts.

`load_source` and `read_gmt` give `GeneSets`, `enrich` runs every test and its null, `machine_names` names concepts.
"""

from cellglass.enrichment.genesets import GeneSets, read_gmt, restrict, write_gmt
from cellglass.enrichment.names import machine_names
from cellglass.enrichment.run import EnrichmentResult, enrich
from cellglass.enrichment.sources import SOURCES, describe_sources, load_source

__all__ = [
    "SOURCES",
    "EnrichmentResult",
    "GeneSets",
    "describe_sources",
    "enrich",
    "load_source",
    "machine_names",
    "read_gmt",
    "restrict",
    "write_gmt",
]

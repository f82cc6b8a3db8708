"""Names that people write and read, each once: models, dictionaries, methods, tests, readouts, baselines.

Registries say which file stands behind a name, configuration and command line offer the names, the atlas stores them,
and the page's build writes them to its own sources. Imports nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

MODELS: Mapping[str, str] = {
    "scvi": "cellglass.models.scvi.kind:ENTRY",
    "scgpt": "cellglass.models.scgpt.kind:ENTRY",
    "geneformer": "cellglass.models.geneformer.kind:ENTRY",
    "cell2sentence": "cellglass.models.cell2sentence.kind:ENTRY",
    "embedding": "cellglass.models.kind_others:EMBEDDING",
    "module": "cellglass.models.kind_others:MODULE",
}

ATTRIBUTION: Mapping[str, str] = {
    "path": "cellglass.attribution.methods.path:ENTRY",
    "swap": "cellglass.attribution.methods.swap:ENTRY",
    "knockout": "cellglass.attribution.methods.knockout:ENTRY",
    "de": "cellglass.attribution.methods.de:ENTRY",
}

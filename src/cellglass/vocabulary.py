"""Names that people write and read, each once: models, dictionaries, methods, tests, readouts, baselines.

Registries say which file stands behind a name, configuration and command line offer the names, the atlas stores them,
and the page's build writes them to its own sources (``web/vocabulary.py``, which reads this file by its path). Imports
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

TITLES: Mapping[str, str] = {
    # models
    "scvi": "scVI",
    "scgpt": "scGPT",
    "geneformer": "Geneformer",
    "cell2sentence": "Cell2Sentence",
    "embedding": "an embedding",
    "module": "a PyTorch module",
    # methods of attribution, and what they are read on
    "path": "Path",
    "swap": "Swap",
    "shapley": "Shapley",
    "gradient": "Gradient",
    "knockout": "Knock-out",
    "de": "Expression",
    "correlation": "Correlation",
    "activation": "activation",
    "preactivation": "pre-activation",
    "expression": "expression",
    # tests of gene sets
    "gsea": "GSEA",
    "ulm": "ULM",
    "ora": "ORA",
    # kinds of dictionaries
    "consensus": "consensus dictionary",
    "matryoshka": "Matryoshka sparse autoencoder",
    "matryoshka_batchtopk": "Matryoshka BatchTopK sparse autoencoder",
    "topk": "TopK sparse autoencoder",
    "batchtopk": "BatchTopK sparse autoencoder",
    "jumprelu": "JumpReLU sparse autoencoder",
    "gated": "gated sparse autoencoder",
    "archetypal": "archetypal sparse autoencoder",
    "crosslayer": "cross-layer transcoder",
    # bases: concepts, and what they are compared with
    "concepts": "concepts",
    "site": "the whole site",
    "counts": "PCA of the counts, no model",
    "neurons": "neurons",
    "clusters": "k-means clusters",
    "pca": "PCA",
    "ica": "ICA",
    "nmf": "NMF",
    "random": "random directions",
    "null": "null",
}
"""Every name as people read it. Where several stand together, they do so in this order; a name that is not here, as of
another package's method, stands for itself and comes after them."""

BRIEFS: Mapping[str, str] = {"knockout": "KO", "de": "DE"}
"""Titles for the heads of narrow columns, where they differ."""

SAYS: Mapping[str, str] = {
    "path": (
        "Walking from a cell without the concept to one that has it, the share of the rise that each gene accounts for "
        "(integrated gradients)."
    ),
    "swap": (
        "The share of the concept’s activation that is lost when this one gene takes the count of a similar cell "
        "without the concept."
    ),
    "shapley": (
        "The share of the rise that each gene accounts for when genes are swapped one after the other, averaged over "
        "many orders (Shapley values)."
    ),
    "gradient": (
        "How steeply the concept rises with this gene in a cell that has it, times the difference to a similar cell "
        "without it: one step in place of a path."
    ),
    "knockout": "The share of the concept’s activation that is lost when this one gene’s count is set to zero.",
    "de": (
        "Differential expression between cells with and without the concept, as a comparison: it does not ask the "
        "model. Ranked by its t statistic."
    ),
    "correlation": (
        "Correlation over cells of this gene’s expression with the concept’s activation, as a comparison: it does not "
        "ask the model."
    ),
}
"""What a method of attribution measures."""

SIGNIFICANT = 0.05
"""Below this a q-value is called significant, everywhere."""

FOLLOWS_DEPTH = 0.5
"""Correlation with log total counts, of either sign, from which on a concept is said to follow sequencing depth."""

READOUTS = ("activation", "preactivation", "expression")
"""What effects are read on; what is read on ``expression`` does not ask the model."""

BASES = ("concepts", "site", "counts", "neurons", "clusters", "pca", "ica", "nmf", "random")
"""What metrics are of: ``probe.LABEL.BASIS``, ``alignment.LABEL.VALUE.BASIS``, ``stability.BASIS``."""

CONTROLS = ("untrained", "shuffled")
"""What can be explained in place of a model, to see what says something of it."""

EDITS = ("set", "scale", "add", "ablate")
"""What can be done to the activation of a concept at its site."""

STEERED: Mapping[str, str] = {
    "concepts": "concepts",
    "random concepts": "random concepts",
    "random": "random directions",
    "difference": "mean difference of the site",
    "pca": "mean difference in principal components",
    "expression": "mean difference of expression",
    "none": "no change",
}
"""Ways to predict what turns some cells into others: concepts, and the controls beside them."""

STATUSES = ("open", "agreed", "doubtful", "artefact")
"""Status of a note."""
CONFIDENCES = ("a guess", "weak", "fair", "strong", "certain")
"""Confidence of a note, from 1."""
ITEMS: Mapping[str, tuple[str, str]] = {
    "concept": ("concept", "concepts"),
    "neuron": ("neuron", "neurons"),
    "random": ("random direction", "random directions"),
}
"""Kinds of items of a blind review, one and several."""


def in_order(name: str) -> tuple[int, str]:
    """Return what sorts names by their place in `TITLES`, and those without a title after them and by name."""
    known = list(TITLES)
    return (known.index(name) if name in TITLES else len(known)), name


MODELS: Mapping[str, str] = {
    "scvi": "cellglass.models.scvi.kind:ENTRY",
    "scgpt": "cellglass.models.scgpt.kind:ENTRY",
    "geneformer": "cellglass.models.geneformer.kind:ENTRY",
    "cell2sentence": "cellglass.models.cell2sentence.kind:ENTRY",
    "embedding": "cellglass.models.kind_others:EMBEDDING",
    "module": "cellglass.models.kind_others:MODULE",
}

DICTIONARIES: Mapping[str, str] = {
    name: f"cellglass.dictionaries.kinds.{name}:ENTRY"
    for name in (
        "consensus",
        "matryoshka",
        "matryoshka_batchtopk",
        "topk",
        "batchtopk",
        "jumprelu",
        "gated",
        "archetypal",
    )
}
JOINT: Mapping[str, str] = {"crosslayer": "cellglass.dictionaries.kinds.crosslayer:ENTRY"}
BASELINES: Mapping[str, str] = {
    name: f"cellglass.dictionaries.baselines.{name}:ENTRY"
    for name in ("neurons", "clusters", "pca", "ica", "nmf", "random")
}

TESTS: Mapping[str, str] = {
    "gsea": "cellglass.enrichment.gsea:ENTRY",
    "ulm": "cellglass.enrichment.ulm:ENTRY",
    "ora": "cellglass.enrichment.ora:ENTRY",
}

ATTRIBUTION: Mapping[str, str] = {
    "path": "cellglass.attribution.methods.path:ENTRY",
    "swap": "cellglass.attribution.methods.swap:ENTRY",
    "shapley": "cellglass.attribution.methods.shapley:ENTRY",
    "gradient": "cellglass.attribution.methods.gradient:ENTRY",
    "knockout": "cellglass.attribution.methods.knockout:ENTRY",
    "de": "cellglass.attribution.methods.de:ENTRY",
    "correlation": "cellglass.attribution.methods.correlation:ENTRY",
}
ATTRIBUTION_BY_DEFAULT = ("path", "swap", "knockout", "de")
"""The methods that a run asks where nothing else is said."""

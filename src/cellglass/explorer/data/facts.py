"""The files that the page reads first: manifest, the columns of concepts, the layout, labels and names of cells.

What one concept is made of stands in ``cards.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cellglass.atlas import schema, summary
from cellglass.atlas.audit import Parts, facts_of
from cellglass.atlas.evidence import comes_back, label_evidence, named_gene, residual
from cellglass.atlas.read import describe
from cellglass.atlas.verdicts import verdicts
from cellglass.evaluation.audit import audit
from cellglass.explorer.data.donors import donor_label
from cellglass.explorer.data.json import dumps, short, shorts
from cellglass.explorer.data.search_index import GENE_SHARD, TERM_SHARD, SearchIndex
from cellglass.explorer.data.source import Source
from cellglass.vocabulary import TITLES, in_order

Array = np.ndarray[Any, Any]

SCHEMA = 1
CELLS = 10_000
"""Names of cells in one file."""
CARD_SHARD = 4
"""Latent numbers in one file of cards: made together, since they stand together in the tables."""


def manifest(
    source: Source,
    index: SearchIndex,
    *,
    live: bool,
    coactive_cells: int,
    circuits: list[str],
    bases: list[dict[str, Any]],
    all_genes: bool,
    heatmaps: list[int],
) -> bytes:
    """Return ``manifest.json``: what the atlas is, and what the tree has of it.

    ``bases`` are labels of the model's own, such as its clusters; ``all_genes`` says whether ``all-genes/`` is there;
    ``heatmaps`` are the labels that have one.
    """
    var = source.var
    xy = bounds(source)
    counted = source.counted
    alive = int((source.activations.sizes > 0).sum())
    findings = int(((source.activations.sizes > 0) & ~residual(var)).sum())
    header = about(source)
    return dumps(
        {
            "schema": SCHEMA,
            "live": live,
            "title": f"{findings:,} concepts of {header['model']}, site {header['site']}, in {source.n_cells:,} cells",
            "atlas": header,
            "n_cells": source.n_cells,
            "n_concepts": len(var),
            "n_alive": alive,
            "n_findings": findings,
            "n_genes": len(index.genes.ids),
            "n_expression": 0 if counted is None else len(counted),
            "n_terms": len(index.terms.names),
            "has_expression": counted is not None,
            "has_pairs": bool(len(source.pairs)) and counted is not None,
            "reproducibility": reproducibility(source),
            "coverage": coverage(source),
            "gene_sets": summary.gene_sets(source.uns),
            "labels": labels(source),
            "heatmaps": heatmaps,
            "donors": donor_label(source),
            "metrics": metrics(source),
            "verdicts": verdicts(source.atlas.evaluation.reset_index().to_dict("records"), source.codes),
            "audit": audited(source),
            "methods": [list(pair) for pair in index.genes.methods],
            "tests": index.terms.tests,
            "rankings": index.terms.rankings,
            "titles": titles(index),
            "xy_bounds": shorts(xy, 6),
            "cell_shard": CELLS,
            "card_shard": CARD_SHARD,
            "gene_shard": GENE_SHARD,
            "term_shard": TERM_SHARD,
            "coactive_cells": coactive_cells,
            "concept_columns": "data/concepts.json",
            "bases": bases,
            "all_genes": all_genes,
            "circuits": circuits,
        }
    )


def titles(index: SearchIndex) -> dict[str, str]:
    """Return how people read the names of the methods and tests that the atlas has; an unknown one is its own title."""
    names = [*(name for pair in index.genes.methods for name in pair), *index.terms.tests, *index.terms.rankings]
    return {name: TITLES.get(name, name) for name in sorted(set(names), key=in_order)}


def about(source: Source) -> dict[str, Any]:
    """Return where the atlas comes from."""
    uns, manifest = source.uns, source.atlas.manifest
    model, site = uns.get(schema.UNS_MODEL), uns.get(schema.UNS_SITE)
    name = model.get("kind", model.get("name", "")) if isinstance(model, dict) else model
    where = site.get("name", "") if isinstance(site, dict) else site
    return {
        "model": str(name or ""),
        "model_detail": describe(model),
        "site": str(where or ""),
        "site_detail": describe(site),
        "granularity": str(site.get("granularity", "cell")) if isinstance(site, dict) else "cell",
        "dictionary": describe(uns.get(schema.UNS_DICTIONARY)),
        "cells": str(uns.get(schema.UNS_CELLS, "")),
        "seed": manifest.get("seed"),
        "created": manifest.get("created"),
        "version": manifest.get("cellglass_version"),
        "schema_version": manifest.get("schema_version"),
        "versions": {str(key): str(value) for key, value in manifest.get("versions", {}).items()},
    }


def reproducibility(source: Source) -> dict[str, Any] | None:
    """Return by which rule a concept counts as one that comes back, and how many do; None where nothing is known."""
    rule = summary.rule_of(source.uns)
    if rule is None or "reproducibility" not in source.var:
        return None
    return {name: short(value) if isinstance(value, float) else value for name, value in rule.items()} | {
        "concepts": int((comes_back(source.var, rule) & (source.activations.sizes > 0)).sum())
    }


def audited(source: Source) -> list[dict[str, Any]]:
    """Return what an audit of the atlas finds."""
    parts = Parts(source.var, source.uns, source.cells_table())
    return [finding._asdict() for finding in audit(facts_of(source.atlas, parts=parts))]


def coverage(source: Source) -> dict[str, Any] | None:
    """Return how the genes of the cells meet the model's, as `cellglass.atlas.summary.coverage` with short numbers."""
    found = summary.coverage(source.uns)
    return None if found is None else {name: short(value) for name, value in found.items()}


def metrics(source: Source) -> list[dict[str, Any]]:
    """Return the records of evaluation.json with short numbers."""
    numbers = ("value", "spread", "null", "n")
    return [
        {"metric": str(name), **{key: short(row[key]) for key in numbers}, "definition": str(row["definition"])}
        for name, row in source.atlas.evaluation.iterrows()
    ]


def labels(source: Source) -> list[dict[str, Any]]:
    """Return name, kind, values and file of each label."""
    found = []
    for place, (name, column) in enumerate(source.labels.items()):
        values = (
            [str(value) for value in column.cat.categories] if isinstance(column.dtype, pd.CategoricalDtype) else None
        )
        kind = "number" if values is None else "category"
        size = "float32" if values is None else "uint8" if len(values) < 256 else "uint16"
        found.append({"name": name, "kind": kind, "values": values, "file": f"data/labels/{place}.bin", "type": size})
    return found


def label(source: Source, place: int) -> bytes:
    """Return the codes of a label (0: none, i + 1: value i), or its numbers (NaN: none)."""
    name, column = list(source.labels.items())[place]
    if name not in source.codes:
        return column.to_numpy(dtype="<f4").tobytes()
    return source.codes[name].astype("u1" if len(column.cat.categories) < 256 else "<u2").tobytes()


def bounds(source: Source) -> list[float]:
    """Return where 0 and 65535 of the drawn x, and then of y, lie in the layout: a square around all cells."""
    xy = source.layout
    if not len(xy):
        return [0.0, 1.0, 0.0, 1.0]
    low, high = xy.min(axis=0).astype(np.float64), xy.max(axis=0).astype(np.float64)
    half = (float((high - low).max()) or 1.0) / 2
    (x, y) = (low + high) / 2
    return [x - half, x + half, y - half, y + half]


def layout(source: Source) -> bytes:
    """Return x and y of each cell, uint16: of one scale, so that shapes keep their proportions."""
    if not len(source.layout):
        return b""
    return quantised(source.layout).astype("<u2").tobytes()


def quantised(xy: Array) -> Array:
    """Return x and y as integers 0..65535, each centred, with one scale for both, so that shapes keep proportions."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    span = float((high - low).max()) or 1.0
    unit = (xy - (low + high) / 2) / span + 0.5
    found: Array = np.clip(np.rint(unit * 65535), 0, 65535).astype(np.uint16)
    return found


def cell_names(source: Source, shard: int) -> bytes:
    """Return the names of `CELLS` cells."""
    return dumps(source.cell_names(shard * CELLS, min((shard + 1) * CELLS, source.n_cells)))


def concepts(source: Source, index: SearchIndex) -> bytes:
    """Return what is known of each concept, a list for each column; null for a column that the atlas lacks."""
    var = source.var

    def texts(name: str) -> list[str]:
        return ["" if value is None or value != value else str(value) for value in var[name].tolist()]

    def numbers(name: str) -> list[float | int | None] | None:
        return shorts(var[name], 5) if name in var else None

    gene, label = named_gene(var), label_evidence(var, source.label_sizes)

    return dumps(
        {
            "latent": source.latents.tolist(),
            "name": [str(name) for name in var.index],
            "density": numbers("density"),
            "mean": numbers("mean_activation"),
            "max": numbers("max_activation"),
            "label": texts("best_label"),
            "f1": numbers("best_label_f1"),
            "label_of": label["column"].tolist(),
            "label_every": label["every"].tolist(),
            **{f"label_{name}": shorts(label[name], 5) for name in ("null", "q", "threshold", "n")},
            "term": texts("best_term"),
            "term_q": shorts(index.term_q, 5),
            "term_statistic": numbers("best_term_statistic"),
            "gene": ["" if symbol != symbol else str(symbol) for symbol in gene["gene"].tolist()],
            "gene_score": shorts(gene["score"], 5),
            "gene_q": shorts(gene["q"], 5),
            "named_by": texts("name_by"),
            "reproducibility": numbers("reproducibility"),
            "residual": residual(var).tolist(),
            "beyond_clusters": [summary.beyond_clusters(r) for r in var["cluster_correlation"]]
            if "cluster_correlation" in var
            else None,
            "depth_correlation": numbers("depth_correlation"),
            "threshold": numbers("threshold"),
            "identity": numbers("gene_identity"),
            "n_active": source.activations.sizes.tolist(),
        }
    )

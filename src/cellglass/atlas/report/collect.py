"""Gathers from an atlas what the page shows, as plain values for JSON.

Computes nothing that the atlas does not hold, except a sample of its cells, ranks of genes, and first rows of tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from cellglass.atlas.read import Atlas, describe
from cellglass.atlas.report.pack import pack, quantise_activations, quantise_layout, short
from cellglass.progress import Progress
from cellglass.seeds import generator
from cellglass.vocabulary import TESTS

MAX_ENTRIES = 2_500_000
"""Activations that the page carries at most: 3 to 5 bytes each."""
MAX_VALUES = 64
TOP_GENES = 15
TOP_TERMS = 8
TOP_TOKENS = 5
COMPARED = 6
TOGETHER = 16
"""Concepts whose tables are read at once, since a row group holds several."""
ON_ORDER = ("activation", "preactivation", "expression")
METHOD_ORDER = ("path", "swap", "knockout", "de")

Array = np.ndarray[Any, Any]


class Index:
    """Numbers strings in the order of their first use, so that each is stored once."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """Return the number of `text`."""
        return self.of.setdefault(str(text), len(self.of))

    @property
    def texts(self) -> list[str]:
        """The strings by number."""
        return list(self.of)


def collect(atlas: Atlas, max_cells: int, progress: Progress) -> dict[str, Any]:
    """Return everything that the page shows."""
    table = atlas.concepts
    shown = sample_cells(atlas, max_cells)
    x, y = quantise_layout(np.asarray(table.obsm["X_umap"])[shown])
    symbols, terms = Index(), Index()
    concepts = []
    for start in range(0, table.n_vars, TOGETHER):
        positions = range(start, min(start + TOGETHER, table.n_vars))
        latents = [int(latent) for latent in table.var["latent"].iloc[list(positions)]]
        drivers = by_concept(atlas.gene_rows({"concept": latents}))
        meanings = by_concept(atlas.pathway_rows({"concept": latents}))
        fires = by_concept(atlas.token_rows({"concept": latents}))
        for position, latent in zip(positions, latents, strict=True):
            row = concept(table, position)
            row["genes"], row["compared"] = genes(drivers(latent), symbols)
            row["pathways"] = pathways(meanings(latent), terms)
            if "identity" in row:
                row["tokens"] = tokens(fires(latent))
            concepts.append(row)
        progress("report: concepts", positions.stop, table.n_vars)
    return {
        "atlas": header(atlas, len(shown)),
        "metrics": metrics(atlas),
        "labels": labels(table.obs, shown),
        "x": pack(x),
        "y": pack(y),
        "activations": activations(table.X, shown),
        "concepts": concepts,
        "symbols": symbols.texts,
        "terms": terms.texts,
    }


def sample_cells(atlas: Atlas, max_cells: int) -> Array:
    """Return positions of the cells that the page draws: all, or a random sample (seeded) that keeps their order."""
    table = atlas.concepts
    n = int(table.n_obs)
    per_cell = max(1.0, table.X.nnz / max(n, 1))
    keep = min(n, max_cells, max(1, int(MAX_ENTRIES / per_cell)))
    if keep == n:
        return np.arange(n)
    rng = generator(int(atlas.manifest.get("seed") or 0), "report", "cells")
    return np.sort(rng.choice(n, size=keep, replace=False))


def header(atlas: Atlas, shown: int) -> dict[str, Any]:
    """Return what the page says of the atlas as a whole."""
    facts = atlas.summary()
    uns = atlas.concepts.uns
    model = uns.get("model")
    name = model.get("kind", model.get("name", "")) if isinstance(model, dict) else model
    counts = atlas.expression
    return {
        "model": str(name or ""),
        "model_detail": describe(model),
        "site": describe(uns.get("site")),
        "dictionary": describe(uns.get("dictionary")),
        "source": str(uns.get("cells", "")),
        "cells": facts["cells"],
        "shown": shown,
        "genes": None if counts is None else int(counts.n_vars),
        "concepts": facts["concepts"],
        "alive": facts["alive"],
        "consensus": consensus(facts["consensus"], uns.get("consensus")),
        "seed": facts["seed"],
        "created": facts["created"],
        "version": facts["cellglass_version"],
        "schema": facts["schema_version"],
        "versions": {str(key): str(value) for key, value in atlas.manifest.get("versions", {}).items()},
    }


def consensus(number: int | None, uns: Any) -> dict[str, Any] | None:
    """Return how many concepts are found again in most other seeds and what that means; None where one seed ran."""
    if number is None or not isinstance(uns, dict):
        return None
    rule = {"others": int(uns["others"]), "needed": int(uns["needed"]), "threshold": short(uns["threshold"])}
    return {"concepts": number, **rule}


def metrics(atlas: Atlas) -> list[dict[str, Any]]:
    """Return the metric records with short numbers."""
    return [
        {
            "metric": str(name),
            "value": short(row["value"]),
            "spread": short(row["spread"]),
            "null": short(row["null"]),
            "n": short(row["n"]),
            "definition": str(row["definition"]),
        }
        for name, row in atlas.evaluation.iterrows()
    ]


def labels(obs: pd.DataFrame, shown: Array) -> list[dict[str, Any]]:
    """Return the columns of categories that can colour the cells, as values and packed codes (0: no value)."""
    found = []
    for name in obs:
        column = obs[name]
        if pd.api.types.is_bool_dtype(column):
            column = column.astype(str).astype("category")
        if not isinstance(column.dtype, pd.CategoricalDtype) or not 1 < len(column.cat.categories) <= MAX_VALUES:
            continue
        codes = column.cat.codes.to_numpy()[shown].astype(np.int64) + 1
        values = [str(value) for value in column.cat.categories]
        found.append({"name": str(name), "values": values, "codes": pack(codes)})
    return found


def activations(matrix: Any, shown: Array) -> dict[str, Any]:
    """Return, concept after concept, the drawn cells that are active and how much: 1..255 of the concept's largest."""
    position = np.full(matrix.shape[0], -1, dtype=np.int64)
    position[shown] = np.arange(len(shown))
    starts, cells, values = [0], [], []
    for column in range(matrix.shape[1]):
        part = slice(matrix.indptr[column], matrix.indptr[column + 1])
        rows, data = position[matrix.indices[part]], matrix.data[part]
        top = float(data.max()) if len(data) else 0.0
        inside = (rows >= 0) & (data > 0)
        cells.append(rows[inside])
        values.append(quantise_activations(data[inside], top))
        starts.append(starts[-1] + int(inside.sum()))
    return {
        "starts": starts,
        "cells": pack(np.concatenate([*cells, np.zeros(0, dtype=np.int64)])),
        "values": pack(np.concatenate([*values, np.zeros(0, dtype=np.uint8)])),
    }


def by_concept(table: pd.DataFrame) -> Callable[[int], pd.DataFrame]:
    """Return a function that gives the rows of one concept, in their order."""
    rows = table.groupby("concept").indices
    return lambda latent: table.iloc[rows.get(latent, [])].reset_index(drop=True)


def concept(table: Any, position: int) -> dict[str, Any]:
    """Return one concept's facts."""
    row = table.var.iloc[position]
    facts = {
        "name": str(table.var_names[position]),
        "latent": int(row["latent"]),
        "density": short(row["density"]),
        "mean": short(row["mean_activation"]),
        "max": short(row["max_activation"]),
        "label": str(row["best_label"]),
        "f1": short(row["best_label_f1"], 3),
        "term": str(row["best_term"]),
        "gene": str(row["top_gene"]),
        "by": str(row["name_by"]),
    }
    if "consensus" in row:
        facts |= {"found": int(row["found_in"]), "agrees": short(row["stability"]), "again": bool(row["consensus"])}
    if "gene_identity" in row:
        facts["identity"] = short(row["gene_identity"], 3)
    return facts


def tokens(table: pd.DataFrame) -> list[list[Any]]:
    """Return the first genes on whose tokens a concept is active: symbol, part of all its activation."""
    first = table.iloc[:TOP_TOKENS]
    names = first["symbol"] if "symbol" in first else first["gene"]
    return [[str(name), short(part, 3)] for name, part in zip(names, first["part"], strict=True)]


def genes(table: pd.DataFrame, symbols: Index) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Return each method's first genes, and the ranks that all methods give to the genes that any of them ranks high.

    A gene's row is [symbol, effect, standard error, score, q, n]; a rank counts from 1 among that method's genes.
    """
    name = (table["symbol"] if "symbol" in table else table["gene"]).astype("category").cat
    texts, code = name.categories, name.codes.to_numpy()
    blocks: list[dict[str, Any]] = []
    orders: dict[str, Array] = {}
    for method, on, rows in sorted(_groups(table, "method", "on"), key=_place):
        first = table.iloc[rows[:TOP_GENES]]
        numbers = zip(*(first[key].tolist() for key in ("effect", "se", "score", "q")), strict=True)
        listed = [
            [symbols(texts[gene]), *(short(value, 3) for value in row), n]
            for gene, row, n in zip(code[rows[:TOP_GENES]], numbers, first["n"].tolist(), strict=True)
        ]
        blocks.append({"method": method, "on": on, "rows": listed, "total": len(rows)})
        orders.setdefault(method, code[rows])
    if len(orders) < 2:
        return blocks, None
    ranks = np.zeros((len(texts), len(orders)), dtype=np.int64)  # 0: this method did not measure the gene
    for column, order in enumerate(orders.values()):
        ranks[order[::-1], column] = np.arange(len(order), 0, -1)  # of a symbol that stands twice, the better place
    chosen = np.flatnonzero(((ranks > 0) & (ranks <= COMPARED)).any(axis=1))
    worth = np.log(np.where(ranks[chosen] > 0, ranks[chosen], len(texts))).mean(axis=1)
    compared = [
        [symbols(texts[gene]), *(int(rank) or None for rank in ranks[gene])]
        for gene in chosen[np.argsort(worth, kind="stable")][: 2 * COMPARED]
    ]
    return blocks, {"methods": list(orders), "rows": compared}


def pathways(table: pd.DataFrame, terms: Index) -> list[dict[str, Any]]:
    """Return, for each test and ranking, the enriched terms of the smallest q; depleted ones say what it is not.

    A term's row is [term, source, statistic, q, null q, number of genes, leading edge].
    """
    blocks = []
    table = table[table["statistic"] > 0].reset_index(drop=True)
    columns = ("term", "source", "statistic", "q", "null_q", "n_genes", "leading_edge")
    for test, ranking, rows in sorted(_groups(table, "test", "ranking"), key=_test_place):
        first = table.iloc[rows[:TOP_TERMS]]
        listed = [
            [terms(term), terms(source), *(short(value, 3) for value in numbers), n, "; ".join(edge.split(";")[:10])]
            for term, source, *numbers, n, edge in zip(*(first[key].tolist() for key in columns), strict=True)
        ]
        blocks.append({"test": test, "ranking": ranking, "rows": listed, "total": len(rows)})
    return blocks


def _groups(table: pd.DataFrame, first: str, second: str) -> list[tuple[str, str, Array]]:
    indices: dict[Any, Any] = table.groupby([first, second], observed=True).indices
    return [(str(one), str(two), rows) for (one, two), rows in indices.items()]


def _place(item: tuple[str, str, Array]) -> tuple[int, int, str, str]:
    method, on, _ = item
    return _at(METHOD_ORDER, method), _at(ON_ORDER, on), method, on


def _test_place(item: tuple[str, str, Array]) -> tuple[int, int, str, str]:
    test, ranking, _ = item
    return _at(tuple(TESTS), test), _at(METHOD_ORDER, ranking), test, ranking


def _at(order: tuple[str, ...], value: str) -> int:
    return order.index(value) if value in order else len(order)

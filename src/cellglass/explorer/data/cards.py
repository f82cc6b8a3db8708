"""A concept's card: its genes, gene sets, cells, neighbours, prototypes and tokens, as plain values for JSON.

Genes and gene sets are numbers of ``genes.json`` and ``terms.json``. What a prototype's genes became stands in
``counterfactual.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cellglass.enrichment.registry import both_ends
from cellglass.explorer.data.cells import composition, histogram
from cellglass.explorer.data.facts import CARD_SHARD
from cellglass.explorer.data.json import dumps, shorts
from cellglass.explorer.data.neighbours import Neighbours
from cellglass.explorer.data.rows import Rows
from cellglass.explorer.data.search_index import SearchIndex
from cellglass.explorer.data.source import Source
from cellglass.vocabulary import in_order

Array = np.ndarray[Any, Any]

TOP_GENES = 50
TOP_TERMS = 20
TOP_EDGE = 50
TOP_TOKENS = 50
TOP_PAIRS = 300
COMPARED = 10
"""Genes of each method whose ranks by all methods are shown, at most four times as many in all."""


class Cards:
    """Makes the cards of concepts."""

    def __init__(self, source: Source, index: SearchIndex, neighbours: Neighbours):
        self.source, self.index, self.neighbours = source, index, neighbours

    def shard(self, number: int) -> bytes:
        """Return the cards of the concepts whose latent numbers are in a shard, by latent number."""
        source, first = self.source, number * CARD_SHARD
        latents = [latent for latent in range(first, first + CARD_SHARD) if latent in source.position]
        wanted = {"concept": latents}
        drivers, meanings = Rows(source.atlas.gene_rows(wanted)), Rows(source.atlas.pathway_rows(wanted))
        fires = Rows(source.atlas.token_rows(wanted)) if "gene_identity" in source.var else None
        found = {}
        positions = [source.position[latent] for latent in latents]
        for latent, position, column in zip(latents, positions, source.activations.several(positions), strict=True):
            listed, compared = genes(drivers, drivers.where("concept", latent), self.index)
            card = {
                "genes": listed,
                "absent": absent(drivers, drivers.where("concept", latent), self.index),
                "compare": compared,
                "pathways": pathways(meanings, meanings.where("concept", latent), self.index),
                "labels": composition(source, column),
                "histogram": histogram(source, column),
                "nearest": self.neighbours.nearest(position),
                "coactive": self.neighbours.coactive(position),
                "pairs": pairs(source, latent),
            }
            if fires is not None:
                card["tokens"] = tokens(fires, fires.where("concept", latent), self.index)
            found[str(latent)] = card
        return dumps(found)


def genes(table: Rows, at: Array, index: SearchIndex) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return each method's first genes, and the ranks that methods give to the genes that any of them ranks high.

    Parameters
    ----------
    table : Rows
        Rows of genes.parquet, the largest score first.
    at : numpy.ndarray
        Which of them are those of the concept.

    Returns
    -------
    dict
        ``METHOD/ON`` -> rows [gene, effect, standard error, score, q, n].
    dict or None
        ``methods``, each once, on the first thing that it was measured on; ``rows`` [gene, rank by each method or
        null], ranks from 1. None where fewer than two methods measured the concept.
    """
    numbers = table.mapped("gene", index.numbers)
    groups = dict(table.groups(at, "method", "on"))
    listed: dict[str, Any] = {}
    orders: dict[str, Array] = {}
    for method, on in index.genes.methods:
        if (method, on) not in groups:
            continue
        places = groups[method, on]
        gene, first = numbers[table["gene"][places]], places[:TOP_GENES]
        columns = (shorts(table[name][first]) for name in ("effect", "se", "score", "q"))
        rows = zip(gene[:TOP_GENES].tolist(), *columns, table["n"][first].tolist(), strict=True)
        listed[f"{method}/{on}"] = [list(row) for row in rows]
        orders.setdefault(method, gene)
    return listed, compare(orders) if len(orders) > 1 else None


def absent(table: Rows, at: Array, index: SearchIndex) -> dict[str, Any]:
    """Return each method's last genes, with scores below 0: they drive the concept by their absence, the most first.

    Rows are as in `genes`, under ``METHOD/ON``; a method without such genes has no entry.
    """
    numbers, listed = table.mapped("gene", index.numbers), {}
    groups = dict(table.groups(at, "method", "on"))
    for pair in index.genes.methods:
        places = groups.get(pair, np.empty(0, dtype=np.int64))
        last = places[table["score"][places] < 0][::-1][:TOP_GENES]
        if len(last):
            columns = (shorts(table[name][last]) for name in ("effect", "se", "score", "q"))
            rows = zip(numbers[table["gene"][last]].tolist(), *columns, table["n"][last].tolist(), strict=True)
            listed["/".join(pair)] = [list(row) for row in rows]
    return listed


def compare(orders: dict[str, Array]) -> dict[str, Any]:
    """Return the ranks of the first `COMPARED` genes of every method by all methods, the best mean log rank first."""
    every = np.unique(np.concatenate(list(orders.values())))
    ranks = np.zeros((len(every), len(orders)), dtype=np.int64)  # 0: this method did not measure the gene
    for column, found in enumerate(orders.values()):
        ranks[np.searchsorted(every, found[::-1]), column] = np.arange(len(found), 0, -1)
    chosen = np.flatnonzero(((ranks > 0) & (ranks <= COMPARED)).any(axis=1))
    worth = np.log(np.where(ranks[chosen] > 0, ranks[chosen], len(every))).mean(axis=1)
    first = chosen[np.argsort(worth, kind="stable")][: 4 * COMPARED]
    rows = [
        [gene, *(rank or None for rank in row)]
        for gene, row in zip(every[first].tolist(), ranks[first].tolist(), strict=True)
    ]
    return {"methods": list(orders), "rows": rows}


def pathways(table: Rows, at: Array, index: SearchIndex) -> list[dict[str, Any]]:
    """Return, for each source, test and ranking, the gene sets of the smallest null q: enriched (``terms``), depleted.

    A row is [term, statistic, q, null q, number of genes, leading edge]; the leading edge has the number of a gene, or
    its symbol where no gene has it. ``tested`` counts gene sets, ``enriched`` and ``n_depleted`` those of each kind;
    by a test that looks at the top of a ranking alone none is depleted.
    """
    blocks = []
    for (origin, test, ranking), places in sorted(
        table.groups(at, "source", "test", "ranking"),
        key=lambda group: (in_order(group[0][1]), in_order(group[0][2]), group[0][0]),
    ):
        by = np.nan_to_num(table["null_q"][places], nan=2.0)
        places = places[np.lexsort((table["q"][places], by))]
        statistic = table["statistic"][places]
        enriched, depleted = places[statistic > 0], places[(statistic < 0) & both_ends(test)]
        counts = {"tested": len(places), "enriched": len(enriched), "n_depleted": len(depleted)}
        found = {
            "terms": term_rows(table, enriched, origin, index),
            "depleted": term_rows(table, depleted, origin, index),
        }
        blocks.append({"source": origin, "test": test, "ranking": ranking, **counts, **found})
    return blocks


def term_rows(table: Rows, places: Array, origin: str, index: SearchIndex) -> list[list[Any]]:
    """Return the rows of the first gene sets; see `pathways`."""
    first = places[:TOP_TERMS]
    terms = [index.terms.number[origin, table.text("term", place)] for place in first]
    edges = [edge(table.text("leading_edge", place), index) for place in first]
    columns = (shorts(table[name][first]) for name in ("statistic", "q", "null_q"))
    return [list(row) for row in zip(terms, *columns, table["n_genes"][first].tolist(), edges, strict=True)]


def edge(text: str, index: SearchIndex) -> list[int | str]:
    """Return the genes of a leading edge: symbols joined by ``;``."""
    symbols = [symbol for symbol in text.split(";") if symbol]
    return [index.symbol.get(symbol, symbol) for symbol in symbols[:TOP_EDGE]]


def pairs(source: Source, latent: int) -> list[list[Any]]:
    """Return [prototype, partner, kind, difference] of the pairs, real ones first, in the order of the file."""
    table = source.pair_rows
    at = table.where("concept", latent)
    kinds = [table.text("kind", place) for place in at]
    first = np.argsort([kind != "real" for kind in kinds], kind="stable")[:TOP_PAIRS].astype(np.int64)
    at = at[first]
    columns = (table["prototype"][at].tolist(), table["partner"][at].tolist(), [kinds[place] for place in first])
    return [list(row) for row in zip(*columns, shorts(table["difference"][at]), strict=True)]


def tokens(table: Rows, at: Array, index: SearchIndex) -> list[list[Any]]:
    """Return [gene, part, active, mean, n] of the genes on whose tokens it is active, the largest part first."""
    first = at[:TOP_TOKENS]
    gene = table.mapped("gene", index.numbers)[table["gene"][first]]
    columns = (shorts(table[name][first]) for name in ("part", "active", "mean"))
    return [list(row) for row in zip(gene.tolist(), *columns, table["n"][first].tolist(), strict=True)]

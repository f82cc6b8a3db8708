"""A concept's card: its genes, gene sets, cells, neighbours, prototypes and tokens, as plain values for JSON.

Genes and gene sets are numbers of ``genes.json`` and ``terms.json``. What a prototype's genes became stands in
``counterfactual.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cellglass.atlas.evidence import surest
from cellglass.enrichment.registry import both_ends
from cellglass.explorer.data.cells import composition, histogram, strongest
from cellglass.explorer.data.facts import CARD_SHARD
from cellglass.explorer.data.json import dumps, shorts
from cellglass.explorer.data.neighbours import Neighbours
from cellglass.explorer.data.rows import Rows
from cellglass.explorer.data.search_index import SearchIndex
from cellglass.explorer.data.source import Source
from cellglass.vocabulary import in_order

Array = np.ndarray[Any, Any]

TOP_GENES = 50
TOP_LOST = 20
"""Genes of each method whose absence drives the concept: those of the most negative scores."""
TOP_TERMS = 20
"""Gene sets of each test, enriched ones, and as many depleted ones."""
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
                "compare": compared,
                "pathways": pathways(meanings, meanings.where("concept", latent), self.index),
                "labels": composition(source, column),
                "histogram": histogram(source, column),
                "strongest": strongest(source, column),
                "nearest": self.neighbours.nearest(position),
                "coactive": self.neighbours.coactive(position),
                "pairs": pairs(source, latent),
            }
            if fires is not None:
                card["tokens"] = tokens(fires, fires.where("concept", latent), self.index)
            found[str(latent)] = card
        return dumps(found)


def genes(table: Rows, at: Array, index: SearchIndex) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return each method's first and last genes, and the ranks of the genes that any method ranks high.

    Parameters
    ----------
    table : Rows
        Rows of genes.parquet, the largest score first.
    at : numpy.ndarray
        Which of them are those of the concept.

    Returns
    -------
    dict
        ``METHOD/ON`` -> rows [gene, effect, standard error, score, q, n]: the largest scores first, then those below 0
        (genes whose absence drives the concept), the most negative first.
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
        gene, score = numbers[table["gene"][places]], table["score"][places]
        chosen = np.concatenate([np.flatnonzero(~(score < 0))[:TOP_GENES], np.flatnonzero(score < 0)[::-1][:TOP_LOST]])
        first = places[chosen]
        columns = (shorts(table[name][first]) for name in ("effect", "se", "score", "q"))
        rows = zip(gene[chosen].tolist(), *columns, table["n"][first].tolist(), strict=True)
        listed[f"{method}/{on}"] = [list(row) for row in rows]
        orders.setdefault(method, gene)
    return listed, compare(orders) if len(orders) > 1 else None


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
    """Return, for each source, test and ranking, the surest enriched and depleted gene sets.

    A row is [term, statistic, q, null q, number of genes, leading edge]; a depleted set has a statistic below 0. The
    order is that of `surest`, by which a concept is named too; a test that looks at the top of a ranking
    alone finds no depletion. The leading edge has the number of a gene, or its symbol where no gene has it. ``kept``,
    ``enriched`` and ``depleted`` count the gene sets of the table. Of the test and ranking that open first the source
    with the first row stands first, from which the concept is named.
    """
    blocks: list[dict[str, Any]] = []
    order: list[tuple[float, float]] = []
    worse = surest(table["q"], table["null_q"])
    strength = np.abs(table["statistic"])
    for (origin, test, ranking), places in sorted(
        table.groups(at, "source", "test", "ranking"),
        key=lambda group: (in_order(group[0][1]), in_order(group[0][2]), group[0][0]),
    ):
        if not both_ends(test):
            places = places[table["statistic"][places] > 0]
        texts = np.array([table.text("term", place) for place in places], dtype=object)
        places = places[np.lexsort([texts.astype(str), -strength[places], worse[places]])] if len(places) else places
        sign = np.sign(table["statistic"][places])
        first = places[np.sort(np.concatenate([np.flatnonzero(sign == one)[:TOP_TERMS] for one in (1, -1)]))]
        terms = [index.terms.number[origin, table.text("term", place)] for place in first]
        edges = [edge(table.text("leading_edge", place), index) for place in first]
        columns = (shorts(table[name][first]) for name in ("statistic", "q", "null_q"))
        rows = [list(row) for row in zip(terms, *columns, table["n_genes"][first].tolist(), edges, strict=True)]
        counts = {"kept": len(places), "enriched": int((sign > 0).sum()), "depleted": int((sign < 0).sum())}
        blocks.append({"source": origin, "test": test, "ranking": ranking, **counts, "terms": rows})
        order.append(
            (float(np.nan_to_num(worse[first[0]], nan=2.0)), -strength[first[0]]) if len(first) else (3.0, 0.0)
        )
    opening = [at for at, one in enumerate(blocks) if all(one[key] == blocks[0][key] for key in ("test", "ranking"))]
    if opening:
        blocks.insert(0, blocks.pop(min(opening, key=lambda at: order[at])))
    return blocks


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

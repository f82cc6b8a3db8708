"""The index that search reads: numbers of genes and gene sets, and from each of them to the concepts that it drives.

Names are numbered here once; cards and indices speak of the numbers. The tables are passed over in batches, and of each
gene or gene set only the first concepts are kept, so that memory does not grow with the tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from cellglass.atlas import schema
from cellglass.enrichment.registry import both_ends
from cellglass.explorer.data.cached import cached
from cellglass.explorer.data.json import dumps, shorts
from cellglass.explorer.data.source import Source
from cellglass.explorer.data.top_k import TopK
from cellglass.vocabulary import in_order

Array = np.ndarray[Any, Any]

GENE_SHARD, TERM_SHARD = 32, 32
"""Genes, and gene sets, in one file of the index."""
KEPT = 50
"""Concepts that are listed for a gene and a method, or for a gene set, a test and a ranking."""
ALIASES = ("alias", "aliases", "alias_symbol", "gene_alias", "synonyms", "gene_synonyms")
"""Columns of the counted genes that are looked for other names of a gene, the first one that is there."""
_ENSEMBL = re.compile(r"ENS[A-Z]*G[0-9]{6,}(\.[0-9]+)?")


def is_finding(statistic: Any, test: Any) -> Any:
    """Say which rows of pathways can be findings: enriched, or depleted by a test that sees both ends of a ranking."""
    ends = {name: both_ends(str(name)) for name in test.cat.categories}
    return (statistic > 0) | ((statistic < 0) & test.map(ends).astype(bool))


class Genes(NamedTuple):
    """The genes by number, first those that are counted, and the (method, on) that measured them, the best first."""

    ids: list[str]
    symbols: list[str]
    number: dict[str, int]
    methods: list[tuple[str, str]]


class Terms(NamedTuple):
    """The gene sets by number as (source, term), and the tests and rankings that there are."""

    names: list[tuple[str, str]]
    number: dict[tuple[str, str], int]
    tests: list[str]
    rankings: list[str]


class SearchIndex:
    """Numbers of genes and gene sets, and the concepts of each."""

    def __init__(self, source: Source):
        self.source = source

    @cached
    def genes(self) -> Genes:
        """Return the genes: those of expression.zarr in its order, then what else the tables name."""
        counted, tables = self.source.counted, self.source.atlas.tables
        symbols: dict[str, str] = {}
        if counted is not None:
            texts = counted.get("symbol", counted.index)
            symbols = {str(gene): str(text) for gene, text in zip(counted.index, texts, strict=True)}
        more: dict[str, str] = {}
        pairs: set[tuple[str, str]] = set()
        for name in (schema.GENES, schema.TOKENS):
            for batch in tables.batches(name, ["method", "on", "gene", "symbol"]):
                if name == schema.GENES:
                    pairs |= set(batch[["method", "on"]].drop_duplicates().itertuples(index=False, name=None))
                new = [gene for gene in batch["gene"].cat.categories if gene not in symbols and gene not in more]
                if new:
                    rows = batch[batch["gene"].isin(new)].drop_duplicates("gene")
                    texts = rows["symbol"] if "symbol" in rows else rows["gene"]
                    more |= {str(gene): str(text) for gene, text in zip(rows["gene"], texts, strict=True)}
        symbols |= {gene: more[gene] for gene in sorted(more)}
        ids = list(symbols)
        methods = sorted(pairs, key=lambda pair: (in_order(pair[0]), in_order(pair[1])))
        return Genes(ids, list(symbols.values()), {gene: i for i, gene in enumerate(ids)}, methods)

    @cached
    def symbol(self) -> dict[str, int]:
        """Return the gene that each symbol means: of several, the first."""
        numbers: dict[str, int] = {}
        for number, symbol in enumerate(self.genes.symbols):
            numbers.setdefault(symbol, number)
        return numbers

    @cached
    def _scanned(self) -> tuple[Terms, Array]:
        """Return the gene sets, and the q-value of the one that names each concept, found in one pass."""
        source = self.source
        best = source.var["best_term"].astype(object).to_numpy()
        q = np.full(len(best), np.nan)
        names: set[tuple[str, str]] = set()
        tests: set[str] = set()
        rankings: dict[str, None] = {}
        columns = ["concept", "source", "term", "test", "ranking", "statistic", "q", "null_q"]
        for batch in source.atlas.tables.batches(schema.PATHWAYS, columns):
            names |= set(batch[["source", "term"]].drop_duplicates().itertuples(index=False, name=None))
            tests |= set(batch["test"].unique())
            rankings |= dict.fromkeys(batch["ranking"].unique())
            first = next(iter(rankings))  # the one that concepts are named by
            rows = batch[(batch["statistic"] > 0) & (batch["ranking"] == first)]
            position = self.positions(rows["concept"].to_numpy())
            rows, position = rows[position >= 0], position[position >= 0]
            inside = rows["term"].astype(object).to_numpy() == best[position]
            worse = np.maximum(rows["q"].to_numpy(), rows["null_q"].to_numpy())  # unknown where one of them is
            np.fmin.at(q, position[inside], worse[inside].astype(np.float64))
        ordered = sorted((str(source), str(term)) for source, term in names)
        terms = Terms(
            ordered,
            {pair: number for number, pair in enumerate(ordered)},
            sorted(map(str, tests), key=in_order),
            sorted(map(str, rankings), key=in_order),
        )
        return terms, q

    @property
    def terms(self) -> Terms:
        """The gene sets that were tested."""
        return self._scanned[0]

    @property
    def term_q(self) -> Array:
        """For each concept the q-value of the gene set that names it, or its null_q where that is larger; or NaN.

        It is what the table of concepts states; of an atlas that was written before it did, that of the table of gene
        sets.
        """
        var = self.source.var
        return var["best_term_q"].to_numpy() if "best_term_q" in var else self._scanned[1]

    def positions(self, latents: Array) -> Array:
        """Return the position of each latent number among the concepts, -1 for what is none."""
        known = self.source.latents
        by = np.argsort(known)
        place = np.clip(np.searchsorted(known[by], latents), 0, max(len(known) - 1, 0))
        return np.where(known[by][place] == latents, by[place], -1) if len(known) else np.full(len(latents), -1)

    def numbers(self, ids: Iterable[str]) -> Array:
        """Return the number of each gene."""
        return np.asarray([self.genes.number[str(gene)] for gene in ids], dtype=np.int64)

    @cached
    def by_gene(self) -> dict[str, Array]:
        """Return for each gene and method the concepts that it drives most, as columns sorted by gene.

        A score below 0 is one of a gene that drives the concept by its absence.
        """
        genes = self.genes
        found = TopK("group", ("rank", "latent"), KEPT)
        columns = ["concept", "method", "on", "gene", "score", "q"]
        for batch in self.source.atlas.tables.batches(schema.GENES, columns):
            rows = batch[(batch["score"] != 0) & (self.positions(batch["concept"].to_numpy()) >= 0)]
            method = _pair_codes(rows["method"], rows["on"], genes.methods)
            number = self.numbers(rows["gene"].cat.categories)[rows["gene"].cat.codes.to_numpy()]
            score = rows["score"].to_numpy()
            found.add(
                group=number * len(genes.methods) + method,
                rank=-np.abs(score),
                latent=rows["concept"].to_numpy(),
                key=number,
                method=method,
                score=score,
                q=rows["q"].to_numpy(),
            )
        return found.table()

    @cached
    def by_term(self) -> dict[str, Array]:
        """Return for each gene set, test and ranking the concepts of the smallest null_q, then q, as columns by term.

        A statistic below 0 is one of a concept in whose ranking the set is depleted.
        """
        terms = self.terms
        found = TopK("group", ("by", "q", "rank", "latent"), KEPT)
        columns, first = ["concept", "source", "term", "test", "ranking", "statistic", "q", "null_q"], 0
        for batch in self.source.atlas.tables.batches(schema.PATHWAYS, columns):
            chosen = is_finding(batch["statistic"], batch["test"]) & (self.positions(batch["concept"].to_numpy()) >= 0)
            rows, place = batch[chosen], first + np.flatnonzero(chosen)
            first += len(batch)
            term = _pair_codes(rows["source"], rows["term"], terms.names)
            test, ranking = _codes(rows["test"], terms.tests), _codes(rows["ranking"], terms.rankings)
            statistic = rows["statistic"].to_numpy()
            found.add(
                group=(term * len(terms.tests) + test) * len(terms.rankings) + ranking,
                by=np.nan_to_num(rows["null_q"].to_numpy(), nan=2.0),
                q=rows["q"].to_numpy(),
                rank=-np.abs(statistic),
                latent=rows["concept"].to_numpy(),
                key=term,
                test=test,
                ranking=ranking,
                statistic=statistic,
                null_q=rows["null_q"].to_numpy(),
                place=place,
            )
        return found.table()

    @cached
    def members(self) -> list[list[int]]:
        """Return, for each gene set, the counted genes of its leading edges, those of most edges first.

        The atlas keeps no members of gene sets. The edges are those of the concepts that `by_term` keeps.
        """
        table, n_counted = self.by_term, 0 if self.source.counted is None else len(self.source.counted)
        seen: list[dict[int, int]] = [{} for _ in self.terms.names]
        if not len(table["key"]) or not n_counted:
            return [[] for _ in seen]
        order = np.argsort(table["place"])
        places, keys = table["place"][order], table["key"][order]
        begin = first = 0
        for batch in self.source.atlas.tables.batches(schema.PATHWAYS, ["leading_edge"]):
            end = int(np.searchsorted(places, first + len(batch)))
            texts = batch["leading_edge"].astype(object).iloc[places[begin:end] - first]
            for key, text in zip(keys[begin:end].tolist(), texts, strict=True):
                for symbol in dict.fromkeys(str(text or "").split(";")):
                    gene = self.symbol.get(symbol, n_counted)
                    if gene < n_counted:
                        seen[key][gene] = seen[key].get(gene, 0) + 1
            begin, first = end, first + len(batch)
        return [sorted(counts, key=lambda gene, of=counts: (-of[gene], gene)) for counts in seen]  # type: ignore[misc]

    def gene_file(self) -> bytes:
        """Return ``genes.json``: id and symbol of each gene, its Ensembl id where ids are such, its other names."""
        ids, symbols, _, _ = self.genes
        matches = [_ENSEMBL.fullmatch(gene) is not None for gene in ids]
        ensembl = [gene if is_one else "" for gene, is_one in zip(ids, matches, strict=True)] if any(matches) else None
        return dumps({"id": ids, "symbol": symbols, "ensembl": ensembl, "alias": self.aliases()})

    def aliases(self) -> list[list[str]] | None:
        """Return the other names of each gene, where the table of counted genes has a column of them; else None."""
        counted = self.source.counted
        name = next((name for name in ALIASES if counted is not None and name in counted), None)
        if counted is None or name is None:
            return None
        texts = counted[name].astype(object)
        known = texts.where(texts.notna(), "").tolist()
        found = [[part for part in (one.strip() for one in re.split(r"[;,|]", str(text))) if part] for text in known]
        return found + [[] for _ in self.genes.ids[len(found) :]]

    def term_file(self) -> bytes:
        """Return ``terms.json``: source and name of each gene set, and those of its genes that are known (`members`).

        ``genes_from`` says that they are of leading edges, so the set has more.
        """
        rows = zip(self.terms.names, self.members, strict=True)
        return dumps(
            [
                {"source": source, "term": term, "genes": genes, "genes_from": "leading edges"}
                for (source, term), genes in rows
            ]
        )

    def gene_shard(self, shard: int) -> bytes:
        """Return, for each of `GENE_SHARD` genes, [latent, method, score, q] of its concepts.

        The method is a place in the manifest's list of them.
        """
        return _shard(self.by_gene, shard * GENE_SHARD, GENE_SHARD, ("method",), ("score", "q"))

    def term_shard(self, shard: int) -> bytes:
        """Return, for each of `TERM_SHARD` gene sets, [latent, test, ranking, statistic, q, null q] of its concepts.

        Test and ranking are places in the manifest's lists of them.
        """
        return _shard(self.by_term, shard * TERM_SHARD, TERM_SHARD, ("test", "ranking"), ("statistic", "q", "null_q"))


def _codes(column: Any, values: list[Any]) -> Array:
    """Return the place of each value of a column of categories in `values`."""
    place = {value: number for number, value in enumerate(values)}
    places = [place.get(value, -1) for value in column.cat.categories]
    found: Array = np.asarray(places, dtype=np.int64)[column.cat.codes.to_numpy()]
    return found


def _pair_codes(one: Any, other: Any, pairs: list[tuple[str, str]]) -> Array:
    """Return the place of each pair of values of two columns of categories in `pairs`."""
    place = {pair: number for number, pair in enumerate(pairs)}
    width = max(len(other.cat.categories), 1)
    both = one.cat.codes.to_numpy().astype(np.int64) * width + other.cat.codes.to_numpy()
    found, inverse = np.unique(both, return_inverse=True)
    firsts, seconds = one.cat.categories, other.cat.categories
    numbers = [place[str(firsts[code // width]), str(seconds[code % width])] for code in found.tolist()]
    found_numbers: Array = np.asarray(numbers, dtype=np.int64)[inverse]
    return found_numbers


def _shard(table: dict[str, Array], first: int, size: int, numbers: tuple[str, ...], values: tuple[str, ...]) -> bytes:
    begin, end = np.searchsorted(table["key"], [first, first + size])
    if begin == end:
        return dumps({})
    plain = [table[name][begin:end].tolist() for name in ("latent", *numbers)]
    rows = zip(*plain, *(shorts(table[name][begin:end]) for name in values), strict=True)
    found: dict[str, list[list[Any]]] = {}
    for key, row in zip(table["key"][begin:end].tolist(), rows, strict=True):
        found.setdefault(str(key), []).append(list(row))
    return dumps(found)

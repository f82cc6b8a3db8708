"""The files of the tree that a report holds, so that one file stays small however large the atlas is.

Each kind of file has a bound: a number of entries, or bytes of the report. Small atlases are held whole. Where there is
no room for all of a kind, its files are shortened to what a reader sees first; where that is not enough, those of the
clearest concepts are held. What is left out is said in the manifest, so that the page can say it too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from cellglass.atlas.evidence import leading_order
from cellglass.explorer.data.drawn import Drawn
from cellglass.explorer.data.facts import CARD_SHARD, CELLS
from cellglass.explorer.data.json import dumps
from cellglass.explorer.data.parts import PARTS, pack, unpack
from cellglass.explorer.data.search_index import GENE_SHARD, TERM_SHARD
from cellglass.explorer.data.tree import Tree

MAX_COUNTS, MAX_ANSWERS = 1_000_000, 600_000
"""Counts of genes that are not zero, and answers of neurons, zero or not, in the drawn cells."""
LABEL_ROOM = 2 << 20


class Excerpt:
    """The files of a report.

    Parameters
    ----------
    tree : Tree
    max_cells : int
        Cells that are drawn at most; see `Drawn`.

    Attributes
    ----------
    left_out : list of str
        What the report does not hold, complete once all files were made.
    """

    def __init__(self, tree: Tree, max_cells: int):
        self.tree, self.drawn = tree, Drawn(tree.source, max_cells)
        self.left_out: list[str] = []
        n, shown = tree.source.n_cells, len(self.drawn.cells)
        if not self.drawn.all:
            self.left_out.append(
                f"{n - shown:,} of {n:,} cells: maps draw a random sample of {shown:,}; cards count all cells"
            )
        var = tree.source.var
        self._clearest = leading_order(var).tolist()

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield the path of each file and the file as `pack` has it, the manifest last."""
        source = self.tree.source
        latents = [int(source.latents[place]) for place in self._clearest]
        yield "data/drawn.bin", pack(self.drawn.cells.astype("<u4").tobytes())
        labels = dict(self._labels())
        yield from labels.items()
        for place, content in self.drawn.columns(source.activations.each(range(len(source.latents)))):
            yield f"data/activations/{source.latents[place]}.bin", pack(content)
        there = [place for place in self.tree.heatmaps.shown if f"data/labels/{place}.bin" in labels]
        yield from self._held("heatmaps", dict.fromkeys(there, 1)).items()
        cards = self._held("cards", Counter(latent // CARD_SHARD for latent in latents))
        yield from cards.items()
        genes, terms = _listed(cards.values())
        every = [latent for latent in latents if latent in self.tree.all_genes.shown]
        yield from self._held("all-genes", dict.fromkeys(every, 1)).items()
        pairs = self._held("pairs", {latent: 1 for latent in latents if latent in self.tree.counterfactual.shown})
        yield from pairs.items()
        yield from self._names(pairs.values())
        yield from self._neurons()
        yield from self._expression(genes)
        index = self.tree.search_index
        listed = dict.fromkeys([*genes, *range(len(index.genes.ids))])
        yield from self._held("gene-concepts", Counter(gene // GENE_SHARD for gene in listed)).items()
        listed = dict.fromkeys([*terms, *range(len(index.terms.names))])
        yield from self._held("term-concepts", Counter(term // TERM_SHARD for term in listed)).items()
        circuits = self.tree.circuits
        for name in ("circuits", "circuit-files", "neuronpedia"):
            yield from self._held(name, dict.fromkeys(circuits.shown, 1)).items()
        yield from self._held("circuit-features", dict.fromkeys(circuits.features, 1)).items()
        for name in ("concepts", "genes", "terms", "neurons", "circuits", "cells-id"):
            yield f"data/{name}.json", pack(self.tree.get(f"data/{name}.json"))
        yield "data/xy.bin", pack(np.frombuffer(self.tree.get("data/xy.bin"), "<u4")[self.drawn.cells].tobytes())
        yield "data/manifest.json", pack(self._manifest(labels))

    def _manifest(self, labels: Mapping[str, str]) -> bytes:
        manifest = json.loads(self.tree.get("data/manifest.json"))
        held = {name: [label for label in manifest[name] if label["file"] in labels] for name in ("labels", "bases")}
        report = {"cells": len(self.drawn.cells), "left_out": self.left_out}
        return dumps(manifest | held | {"report": report})

    def _labels(self) -> Iterator[tuple[str, str]]:
        """Yield the files of labels, those of categories first, and of the model's own, as long as there is room."""
        manifest = json.loads(self.tree.get("data/manifest.json"))
        labels = [*sorted(manifest["labels"], key=lambda label: label["kind"]), *manifest["bases"]]
        room, missing = LABEL_ROOM, list[str]()
        for label in labels:
            values = np.frombuffer(self.tree.get(label["file"]), np.dtype(label["type"]).newbyteorder("<"))
            line = pack(values[self.drawn.cells].tobytes())
            room -= len(line)
            if room >= 0:
                yield label["file"], line
            else:
                missing.append(f"the label {label['name']}")
        self.left_out += missing

    def _held(self, name: str, things: Mapping[int, int]) -> dict[str, str]:
        """Return the files of a part: whole, or shortened where they would take too much, or as many as then fit.

        Parameters
        ----------
        name : str
            A name of `PARTS`.
        things : mapping of int to int
            The numbers of its files, the most wanted first, and how many concepts, genes or gene sets each is about.
        """
        part, lines = PARTS[name], dict[str, str]()
        for shorter in (None, *part.shorter):
            lines, room = {}, part.room
            for number in things:
                path = f"data/{name}/{number}.json"
                content = self.tree.get(path)
                line = pack(dumps(shorter.of(json.loads(content))) if shorter else content)
                room -= len(line)
                if room < 0:
                    break
                lines[path] = line
            if len(lines) == len(things):
                break
        if shorter:
            self.left_out.append(shorter.says)
        if missing := sum(list(things.values())[len(lines) :]):
            self.left_out.append(part.missing.format(missing))
        return lines

    def _names(self, pairs: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield the names of the cells that are drawn or stand in a pair; all others are empty."""
        named = np.zeros(self.tree.source.n_cells, dtype=bool)
        named[self.drawn.cells] = True
        for line in pairs:
            for one in json.loads(unpack(line)):
                named[[one["prototype"], *(other["partner"] for other in one["partners"])]] = True
        for shard in np.unique(np.flatnonzero(named) // CELLS).tolist():
            path = f"data/cells/{shard}.json"
            inside = named[shard * CELLS : (shard + 1) * CELLS].tolist()
            names = zip(json.loads(self.tree.get(path)), inside, strict=True)
            yield path, pack(dumps([name if kept else "" for name, kept in names]))

    def _neurons(self) -> Iterator[tuple[str, str]]:
        neurons = self.tree.neurons
        alike = [neurons.alike[place] for place in self._clearest] if neurons.n else []
        wanted = list(dict.fromkeys(rows[0][0] for rows in alike if rows))
        held = wanted[: max(1, MAX_ANSWERS // max(len(self.drawn.cells), 1))]
        if len(held) < len(wanted):
            self.left_out.append(f"the maps of {len(wanted) - len(held):,} of {len(wanted):,} neurons")
        for number, content in self.drawn.neurons(neurons, held):
            yield f"data/neurons/{number}.bin", pack(content)

    def _expression(self, genes: Iterable[int]) -> Iterator[tuple[str, str]]:
        """Yield the expression of genes, those that stand first on the cards as far as there is room."""
        counts = self.tree.source.expression
        if counts is None:
            return
        wanted = list(dict.fromkeys([*(gene for gene in genes if gene < len(counts)), *range(len(counts))]))
        held = self.drawn.first(counts, wanted, MAX_COUNTS)
        if len(held) < len(wanted):
            missing = f"the counts of {len(wanted) - len(held):,} of {len(wanted):,} genes, those that cards show last"
            self.left_out.append(missing)
        for gene, content in self.drawn.columns(self.tree.source.expressed(held)):
            yield f"data/expression/{gene}.bin", pack(content)
        every = [gene for gene in wanted if gene < len(counts)]
        yield from self._held("gene-groups", Counter(gene // GENE_SHARD for gene in every)).items()


def _listed(cards: Iterable[str]) -> tuple[list[int], list[int]]:
    """Return the genes and the gene sets of some files of cards, those that stand first on any card first."""
    genes: dict[int, int] = {}
    terms: dict[int, int] = {}
    for line in cards:
        for card in json.loads(unpack(line)).values():
            for rows in card["genes"].values():
                for lost in (False, True):  # those whose absence drives it come last, and are as worth drawing
                    for rank, row in enumerate(row for row in rows if ((row[3] or 0) < 0) == lost):
                        genes[row[0]] = min(rank, genes.get(row[0], rank))
            for block in card["pathways"]:
                for rank, row in enumerate(block["terms"]):
                    terms[row[0]] = min(rank, terms.get(row[0], rank))
                    for gene in row[5]:
                        if isinstance(gene, int):
                            genes.setdefault(gene, len(genes) + 1000)
    return sorted(genes, key=lambda gene: genes[gene]), sorted(terms, key=lambda term: terms[term])

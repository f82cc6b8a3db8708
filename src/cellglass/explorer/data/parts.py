"""The kinds of JSON files of which a report holds a part: how much room each has, and how its files are shortened.

A file stands in the report packed: gzip, then base64.
"""

from __future__ import annotations

import base64
import gzip
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

FIRST_CONCEPTS, FIRST_PROTOTYPES = 15, 3
"""Concepts of a gene or gene set, and prototypes of a concept, to which lists are shortened."""


class Shorter(NamedTuple):
    """A way to shorten the files of a part, and what is then left out, in words."""

    of: Callable[[Any], Any]
    says: str


class Part(NamedTuple):
    """A kind of JSON file: bytes of the report that it may take, ways to shorten it, and what is said of the rest."""

    room: int
    shorter: tuple[Shorter, ...]
    missing: str


def pack(content: bytes) -> str:
    """Return a file as the report holds it: gzip, then base64, so that no byte of it can be markup."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")


def unpack(text: str) -> bytes:
    """Return the file that `pack` packed."""
    return gzip.decompress(base64.b64decode(text))


def short_cards(cards: dict[str, Any], n_genes: int, n_terms: int, n_edge: int) -> dict[str, Any]:
    """Return cards with the first rows of their lists, and the real pairs of their first prototypes.

    ``n_pairs`` then says how many real pairs there are.
    """
    found = {}
    for latent, card in cards.items():
        real = [pair for pair in card["pairs"] if pair[2] == "real"]
        kept = set(list(dict.fromkeys(pair[0] for pair in real))[:FIRST_PROTOTYPES])
        blocks = [(block, _both_ways(block["terms"], 1, n_terms)) for block in card["pathways"]]
        found[latent] = card | {
            "genes": {key: _both_ways(rows, 3, n_genes) for key, rows in card["genes"].items()},
            "pathways": [block | {"terms": [[*row[:5], row[5][:n_edge]] for row in rows]} for block, rows in blocks],
            "pairs": [pair for pair in real if pair[0] in kept],
            "n_pairs": len(real),
        }
    return found


def _both_ways(rows: list[list[Any]], at: int, n: int) -> list[list[Any]]:
    """Return the first `n` rows whose number at place `at` is below 0, and the first `n` others, in their order."""
    seen: Counter[bool] = Counter()
    kept = []
    for row in rows:
        below = (row[at] or 0) < 0
        seen[below] += 1
        if seen[below] <= n:
            kept.append(row)
    return kept


def short_pairs(prototypes: list[Any]) -> list[Any]:
    """Return the first prototypes, each with its first partner."""
    return [one | {"partners": one["partners"][:1]} for one in prototypes[:FIRST_PROTOTYPES]]


def short_lists(lists: dict[str, list[list[Any]]], by: int) -> dict[str, list[list[Any]]]:
    """Return the first concepts of each gene or gene set for each of the values in the `by` columns after the first.

    The column after those is signed, and each direction counts by itself.
    """
    found: dict[str, list[list[Any]]] = {}
    for key, rows in lists.items():
        seen: Counter[tuple[Any, ...]] = Counter()
        found[key] = []
        for row in rows:
            group = (*row[1 : 1 + by], (row[1 + by] or 0) < 0)
            seen[group] += 1
            if seen[group] <= FIRST_CONCEPTS:
                found[key].append(row)
    return found


PARTS = {
    "heatmaps": Part(1 << 20, (), "the maps of concepts and values of {:,} labels"),
    "cards": Part(
        12 << 20,
        (
            Shorter(
                lambda cards: short_cards(cards, 15, 12, 50),
                "on cards, genes after the first 15 of each method and gene sets after the first 12 of each test",
            ),
            Shorter(
                lambda cards: short_cards(cards, 8, 5, 10),
                "on cards, genes after the first 8 of each method, gene sets after the first 5 of each test, and genes "
                "behind a gene set after the first 10",
            ),
        ),
        "the cards of {:,} concepts, those that match a label least",
    ),
    "pairs": Part(
        2 << 20,
        (
            Shorter(
                short_pairs,
                f"prototypes after the first {FIRST_PROTOTYPES} of each concept, and their further partners",
            ),
        ),
        "the prototypes and partners of {:,} concepts",
    ),
    "gene-concepts": Part(
        3 << 20,
        (
            Shorter(
                lambda lists: short_lists(lists, 1),
                f"in the search, concepts after the first {FIRST_CONCEPTS} of each gene and method",
            ),
        ),
        "in the search, the concepts of {:,} genes",
    ),
    "term-concepts": Part(
        1 << 20,
        (
            Shorter(
                lambda lists: short_lists(lists, 2),
                f"in the search, concepts after the first {FIRST_CONCEPTS} of each gene set, test and ranking",
            ),
        ),
        "in the search, the concepts of {:,} gene sets",
    ),
    "all-genes": Part(
        2 << 20, (), "the genes of {:,} concepts after those on their cards, also in files that are saved"
    ),
    "gene-groups": Part(1 << 20, (), "the expression by label of {:,} genes"),
    "circuits": Part(3 << 20, (), "{:,} circuits"),
    "circuit-files": Part(1 << 20, (), "the files of {:,} circuits to be saved"),
    "neuronpedia": Part(1 << 20, (), "the files of {:,} circuits for Neuronpedia"),
    "circuit-features": Part(1 << 20, (), "what {:,} features of circuits fire on"),
}

"""Short names for concepts, made by machine from best label, best term and top gene. Reads no file, tests nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cellglass.errors import InputError
from cellglass.vocabulary import SIGNIFICANT

LONGEST = 60
LABEL_F1 = 0.5
_MISSING = {"", "nan", "none", "<na>"}


def machine_names(
    best_label: Sequence[str | None],
    best_label_f1: Sequence[float],
    best_term: Sequence[str | None],
    best_term_q: Sequence[float],
    top_gene: Sequence[str | None],
    top_gene_q: Sequence[float],
    latent: Sequence[int],
    *,
    term_lost: Sequence[bool] | None = None,
    gene_lost: Sequence[bool] | None = None,
) -> list[str]:
    """Name each concept ``cLATENT label | term | gene``.

    The label is named only if the concept marks it with F1 >= 0.5, the term and the gene only if q < 0.05. A term
    that is depleted is named ``loss of TERM``, a gene whose absence drives the concept ``-GENE``. The latent's number
    makes every name unique, and unlike a gene or an obs column. Prefixes and numbers of the collections are left off
    terms (``HALLMARK_``, ``(GO:...)``, ``R-HSA-...``), and so are slashes and tabs; a long term, then a long label, is
    cut at an ellipsis so that no name is longer than 60 characters.

    Parameters
    ----------
    best_label, best_term, top_gene : sequences of str
        None, empty or NaN where there is none.
    best_label_f1, best_term_q, top_gene_q : sequences of float
        NaN where there is none.
    latent : sequence of int
        Number of each concept in its dictionary.
    term_lost, gene_lost : sequences of bool, optional
        Whether the term is depleted, and whether the gene drives the concept by its absence; by default neither.

    Raises
    ------
    InputError
        If the lengths differ or a latent comes twice.
    """
    nowhere = [False] * len(latent)
    lost = (nowhere if term_lost is None else term_lost, nowhere if gene_lost is None else gene_lost)
    columns = (best_label, best_label_f1, best_term, best_term_q, top_gene, top_gene_q, *lost)
    if any(len(column) != len(latent) for column in columns):
        raise InputError(
            f"names: columns of {[len(column) for column in columns]} values for {len(latent)} concepts; give one each"
        )
    if len(set(latent)) != len(latent):
        raise InputError("names: a latent comes twice; name each concept once")
    named = []
    for label, f1, term, q, gene, gene_q, less, without, number in zip(*columns, latent, strict=True):
        term, gene = _short(_clean(term)) if q < SIGNIFICANT else "", _clean(gene) if gene_q < SIGNIFICANT else ""
        term, gene = f"loss of {term}" if term and less else term, f"-{gene}" if gene and without else gene
        named.append(_join(f"c{number}", _clean(label) if f1 >= LABEL_F1 else "", term, gene))
    return named


def _join(number: str, label: str, term: str, gene: str) -> str:
    gene = _cut(gene, 20)
    label = _cut(label, 30 if term else 60)
    room = LONGEST - len(number) - 1 - sum(len(part) + 3 for part in (label, gene) if part)
    if term:
        term = _cut(term, room)
    elif label and room < -3:
        label = _cut(label, len(label) + room + 3)
    parts = [part for part in (label, term, gene) if part]
    return f"{number} {' | '.join(parts)}"[:LONGEST] if parts else number


def _clean(text: object) -> str:
    words = re.sub(r"[\s/\\|]+", " ", str(text)).strip()
    return "" if words.lower() in _MISSING else words


def _short(term: str) -> str:
    """Take from a term what only says where it comes from, and calm its capitals."""
    term = re.sub(r"\s*\(GO:\d+\)$|[_ ]Homo sapiens[_ ]R-HSA-\d+$|\s*R-HSA-\d+$", "", term)
    term = re.sub(r"^(HALLMARK|REACTOME|GOBP|KEGG|WP)_", "", term).replace("_", " ")
    return term.lower() if term.isupper() and " " in term else term


def _cut(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    return text[: max(length - 1, 1)].rstrip() + "…"
